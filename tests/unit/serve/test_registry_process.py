"""The process that asks the registry: its answers, errors and log lines come back, and a lost one is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from umgclip.errors import InputError, TrackingError
from umgclip.serve.registry_process import RegistryProcess
from umgclip.tracking import Store, store_from_env

MODEL = """
flavors:
  python_function: {loader_module: none, config: {template: "a photo of {}", box_share: 0.5}}
"""
ORPHANED = """
import os, sys
from pathlib import Path
from umgclip.serve.registry_process import RegistryProcess
from umgclip.tracking import store_from_env

if __name__ == "__main__":
    registry = RegistryProcess(store_from_env(Path(sys.argv[1])))
    print(registry._process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Store:
    """A store with one version of a model, the champion, whose files lie on this machine."""
    root = tmp_path_factory.mktemp("registry")
    (root / "mlflow.db").write_bytes(empty_store)
    files = root / "files of a model"
    (files / "code").mkdir(parents=True)
    (files / "MLmodel").write_text(MODEL, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        made = store_from_env(root)
    client = made.client()
    client.create_registered_model("umgclip")
    client.create_model_version("umgclip", files.as_uri())
    client.set_registered_model_alias("umgclip", "champion", "1")
    return made


@pytest.fixture(scope="module")
def process(store: Store) -> Iterator[RegistryProcess]:
    with RegistryProcess(store) as running:
        yield running


def test_an_alias_is_resolved_and_its_files_are_found_where_they_lie(
    process: RegistryProcess, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert process.resolve("umgclip", "champion") == "1"

    with caplog.at_level(logging.WARNING):
        folder, settings = process.download("umgclip", "1", tmp_path / "into")

    assert store.database is not None
    assert folder == store.database.parent / "files of a model" / "artifacts"
    assert settings == {"template": "a photo of {}", "box_share": 0.5}
    assert not (tmp_path / "into").exists()
    [line] = [record for record in caplog.records if record.name == "umgclip.register.download"]
    assert line.getMessage().startswith("umgclip v1 was registered with code that differs")


def test_errors_are_those_of_the_registry(process: RegistryProcess, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a registered model with alias 'best', found none"):
        process.resolve("umgclip", "best")
    with pytest.raises(InputError, match="expected a registered model with version '7', found none"):
        process.download("umgclip", "7", tmp_path)
    assert process.resolve("umgclip", "1") == "1"


def test_what_nobody_expects_is_logged_and_raised(process: RegistryProcess, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="TypeError"):
        process._ask("resolve", "one argument too few")
    assert "cannot resolve" in caplog.text
    assert "Traceback" in caplog.text


def test_a_lost_process_is_an_error_once(process: RegistryProcess) -> None:
    process._process.kill()
    with pytest.raises(TrackingError, match="the process that asks it ended; another one was started"):
        process.resolve("umgclip", "champion")
    assert process.resolve("umgclip", "champion") == "1"


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_process_ends_with_its_parent(store: Store) -> None:
    assert store.database is not None
    script = store.database.parent / "parent.py"
    script.write_text(ORPHANED, encoding="utf-8")
    command = [sys.executable, str(script), str(store.database.parent)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == -9
    until = time.monotonic() + 60
    while is_alive(int(done.stdout)):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_one_that_is_closed_while_it_is_asked_is_not_replaced(store: Store) -> None:
    """A server that ends closes it while the thread that follows the alias may wait for an answer."""
    before = set(multiprocessing.active_children())
    process = RegistryProcess(store)
    first = process._process.pid
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(process.resolve, "umgclip", "champion")
        while not process._lock.locked():
            time.sleep(0.001)
        process.close()
        with pytest.raises(TrackingError, match="told to stop"):
            asked.result()
    assert process._process.pid == first
    assert set(multiprocessing.active_children()) <= before
