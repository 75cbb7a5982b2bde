"""`umgclip train` with several processes: started, killed, interrupted, resumed, refused."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from umgclip.errors import InputError, PeerError
from umgclip.io.atomic import sha256_file
from umgclip.io.tables import QUARANTINE, write_table
from umgclip.learning import world
from umgclip.learning.nodes import Seat
from umgclip.params import TrainParams
from umgclip.train import launch

ROOT = Path(__file__).parents[3]
PARAMS = """
train:
  steps: 14
  batch: 4
  checkpoint_every: 2
  precision: fp32
  device: cpu
  processes: {processes}
  loader: {{streams: 2}}
  lora: {{rank: 4, alpha: 8}}
"""
Train = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def train(base: Path, annotations: Path, tmp_path: Path) -> Train:
    """Start `umgclip train` in a folder, in a process group of its own."""
    write_table(tmp_path / "quarantine.parquet", [], QUARANTINE)

    def start(
        folder: str = "run",
        processes: int = 2,
        text: str = PARAMS,
        options: tuple[str, ...] = (),
        seat: Seat | None = None,
    ) -> subprocess.Popen[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "params.yaml").write_text(text.format(processes=processes))
        command = [
            sys.executable, "-m", "umgclip", "train", "--base", str(base), "--annotations", str(annotations),
            "--quarantine", str(tmp_path / "quarantine.parquet"), *options,
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment |= {} if seat is None else seat.variables()
        return subprocess.Popen(
            command, cwd=tmp_path / folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    return start


def finish(process: subprocess.Popen[str]) -> str:
    """Wait; gives stderr of a run that ended well."""
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return errors


def result(folder: Path) -> tuple[str, bytes]:
    adapter = folder / "artifacts" / "train" / "adapter" / "adapter_model.safetensors"
    return sha256_file(adapter), (folder / "plots" / "train.csv").read_bytes()


def wait_for_step(folder: Path, step: int) -> None:
    curves, deadline = folder / "artifacts" / ".train" / "curves.csv", time.monotonic() + 120
    while time.monotonic() < deadline:
        if curves.is_file() and curves.read_text().count("\n") > step + 2:
            return
        time.sleep(0.02)
    pytest.fail(f"step {step} did not come")


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split() if b"train" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for whoever reaps orphans."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.heavy
def test_two_processes_killed_at_any_step_end_as_if_they_had_not_been(train: Train, tmp_path: Path) -> None:
    finish(train("whole"))
    step, victim = os.urandom(2)
    killed = train()
    wait_for_step(tmp_path / "run", 2 + step % 9)
    os.kill(children(killed)[victim % 2], signal.SIGKILL)
    _, errors = killed.communicate(timeout=100)
    assert killed.returncode == PeerError.exit_code, errors
    assert "run it again to continue" in errors
    assert not (tmp_path / "run" / "artifacts" / "train").exists()
    assert "resumes after step" in finish(train())
    assert result(tmp_path / "run") == result(tmp_path / "whole")


@pytest.mark.heavy
def test_an_interrupted_run_ends_all_processes_and_goes_on_in_one(train: Train, tmp_path: Path) -> None:
    interrupted = train()
    wait_for_step(tmp_path / "run", 3)
    started = children(interrupted)
    os.killpg(interrupted.pid, signal.SIGINT)
    _, errors = interrupted.communicate(timeout=100)
    assert interrupted.returncode == 130, errors
    assert errors.count("interrupted; run it again to continue") == 1
    assert not [pid for pid in started if alive(pid)]
    assert "resumes after step" in finish(train(processes=1))
    assert result(tmp_path / "run")[1].count(b"\n") == 15


@pytest.mark.heavy
def test_a_refusal_comes_once_with_its_exit_code_and_can_be_overruled(train: Train, tmp_path: Path) -> None:
    killed = train()
    wait_for_step(tmp_path / "run", 3)
    started = children(killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not [pid for pid in started if alive(pid)], "they end with the one that started them"
    kept = (tmp_path / "run" / "artifacts" / ".train" / "curves.csv").read_bytes()
    other = PARAMS.replace("steps: 14", "steps: 4")
    refused = train(text=other)
    _, errors = refused.communicate(timeout=100)
    assert refused.returncode == InputError.exit_code
    assert errors.count("belongs to other params.train.steps (14, now 4)") == 1
    assert (tmp_path / "run" / "artifacts" / ".train" / "curves.csv").read_bytes() == kept
    assert "goes on" not in finish(train(text=other, options=("--discard-checkpoint",)))
    assert result(tmp_path / "run")[1].count(b"\n") == 5


@pytest.mark.heavy
def test_two_nodes_one_killed_end_as_two_processes_of_one_machine(train: Train, tmp_path: Path) -> None:
    finish(train("whole"))
    seats = [Seat(2, node, "127.0.0.1", free_port(), f"run-{attempt}") for attempt in (1, 2) for node in (0, 1)]
    seats[1], seats[3] = replace(seats[1], port=seats[0].port), replace(seats[3], port=seats[2].port)
    first, other = (train(f"node-{seat.node}", 1, seat=seat) for seat in seats[:2])
    wait_for_step(tmp_path / "node-0", 3)
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    _, errors = first.communicate(timeout=100)
    # the machine that is left says so, with the code of what may pass
    assert first.returncode == PeerError.exit_code, errors
    assert "process 0 of 2 lost the others" in errors
    first, other = (train(f"node-{seat.node}", 1, seat=seat) for seat in seats[2:])
    finish(other)
    assert "resumes after step" in finish(first)
    assert result(tmp_path / "node-0") == result(tmp_path / "whole")
    # the second machine has written nothing
    assert [path.name for path in (tmp_path / "node-1").iterdir()] == ["params.yaml"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert launch.processes(TrainParams()) == 1
    assert launch.processes(TrainParams(processes=3)) == 3
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert launch.processes(TrainParams()) == 4
    assert launch.processes(TrainParams(device="cpu")) == 1
    with pytest.raises(InputError, match=r"train.processes: expected at most 4, one per GPU, got 5"):
        launch.processes(TrainParams(processes=5))
    assert str(world.choose_device("auto", 3)) == "cuda:3"
    with pytest.raises(InputError, match=r"expected a GPU for each process, got 4 GPUs and process 4"):
        world.choose_device("cuda", 4)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "1")
    assert launch.processes(TrainParams(processes=3)) == 1, "torchrun has started them"
