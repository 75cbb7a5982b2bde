"""`umgclip annotate` on a cluster of Ray, whose nodes are processes of their own, found by RAY_ADDRESS; one is lost.

The data set is that of the local engine, to the byte.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from umgclip.io.atomic import sha256_file
from umgclip.model.clip import files
from umgclip.params import DataParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
PARAMS = {"workers": 1, "batch": 4, "min_concept_count": 1, "max_failed": 0.2, "label": {"threshold": 0.0}}
ENGINES = {"local": {"engine": "local"}, "ray": {"engine": "ray", "ray": {"workers": 2}}}
IMAGES = 120
WAIT_S = 600


class Cluster:
    """Two nodes, one processor each, on loopback."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # names of sockets have to be short
        own = {
            **os.environ,
            "RAY_TMPDIR": str(self._folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray listens on loopback alone
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "ray_cluster.py")],
                env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        said = json.loads(self._process.stdout.readline())
        self.environment = {**own, "RAY_ADDRESS": said["address"]}
        self._second = said["second"]

    def second(self) -> list[psutil.Process]:
        """What runs on the second node: its raylet first, its workers."""
        found = []
        for pid in self._second:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found

    def lose_second(self) -> None:
        """All its processes at once, as when the power goes."""
        kill(self.second())

    def places(self) -> set[str]:
        """Where anything of it listens."""
        found = set()
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found |= {one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN}
        return found

    def end(self) -> None:
        below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        kill(below)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def annotates(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()).startswith("ray::MapWorker")
    return False


def wait_for(is_so, what: str) -> None:
    until = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until, f"expected {what}"
        time.sleep(0.1)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.end()


class Home:
    """A working folder with data, a tiny base and params, as a project has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_demo(
            DataParams(train_scenes=IMAGES, benchmark_scenes=6, benchmark_singles=1, shard_samples=6), root / "data"
        )
        torch.manual_seed(0)
        base = root / "artifacts" / "base"
        base.mkdir(parents=True)
        config = files.tower_config(TOWER)
        files.save(base, files.build(config), config)

    def start(self, out: str, engine: str, environment: Mapping[str, str], *options: str) -> subprocess.Popen:
        """`umgclip annotate` with an engine."""
        params = self.root / f"{engine}.yaml"
        params.write_text(yaml.safe_dump({"annotate": {**PARAMS, **ENGINES[engine]}}))
        paths = ["--params", params.name, "--out", f"artifacts/{out}", "--metrics", f"{out}.json"]
        with self.log(out).open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "umgclip", "annotate", *paths, *options],
                cwd=self.root, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def run(self, out: str, engine: str, environment: Mapping[str, str], *options: str) -> None:
        assert self.start(out, engine, environment, *options).wait(WAIT_S) == 0, self.said(out)

    def log(self, out: str) -> Path:
        return self.root / f"{out}.log"

    def said(self, out: str) -> str:
        return self.log(out).read_text()[-3000:]

    def images(self, out: str) -> int:
        path = self.root / "artifacts" / f".{out}-progress.json"
        return int(json.loads(path.read_text())["images"]["done"]) if path.is_file() else 0

    def contents(self, out: str) -> dict[str, str]:
        folder = self.root / "artifacts" / out
        return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("cluster"))


def test_a_node_that_is_lost_costs_no_sample(home, cluster):
    home.run("local", "local", {**os.environ})
    run = home.start("cluster", "ray", cluster.environment)
    assert cluster.places() <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

    def in_the_middle() -> bool:
        return home.images("cluster") >= IMAGES // 4 and any(map(annotates, cluster.second()))

    wait_for(lambda: run.poll() is not None or in_the_middle(), "images and a worker on each node")
    assert run.poll() is None, home.said("cluster")
    done = home.images("cluster")
    cluster.lose_second()
    assert run.wait(WAIT_S) == 0, home.said("cluster")
    assert done < IMAGES
    assert home.images("cluster") == IMAGES + 2 * 7
    assert home.contents("cluster") == home.contents("local")
