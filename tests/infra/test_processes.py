"""Processes in the background: found again, ended with all their descendants, never mistaken for another one's."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.processes import Ledger, Record, Service, ServiceError, check_port, is_alive, kernel_start
from umgclip.errors import InputError

# a server outlives the command that starts it, so nobody waits for it; a later command finds it by its record
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
# a leader with a child in a session of its own, as a worker has flow runs; each says its pid
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "state")
    yield ledger
    ledger.stop_all()


def _family(tmp_path: Path) -> tuple[Service, Path]:
    says = tmp_path / "child"
    return Service(
        "family", (sys.executable, "-c", FAMILY, str(says)), ready=lambda: says.exists() and says.stat().st_size > 0
    ), says


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_later_command_finds_and_ends_what_an_earlier_one_started(ledger: Ledger, tmp_path: Path):
    service, says = _family(tmp_path)
    record = ledger.start(service, {})
    ledger.wait(service, record)
    child = int(says.read_text())

    later = Ledger(ledger.folder)
    assert later.running() == {"family": record}
    assert later.stop(record)

    assert _gone(record.pid)
    assert _gone(child)
    assert later.records() == {}
    assert not later.stop(record)


def test_what_outlives_a_killed_leader_is_ended_too(ledger: Ledger, tmp_path: Path):
    service, says = _family(tmp_path)
    record = ledger.start(service, {})
    ledger.wait(service, record)
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    child = int(says.read_text())
    assert not is_alive(record)
    assert not _gone(child)

    assert ledger.stop_all() == ["family"]

    assert _gone(child)


def test_a_process_that_got_the_same_pid_later_is_left_alone(ledger: Ledger):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = kernel_start(stranger.pid)
        assert started is not None
        earlier = Record("gone", stranger.pid, started + "0", None, signal.SIGTERM, 1.0)

        assert not is_alive(earlier)
        assert not ledger.stop(earlier)

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_one_that_ignores_the_signal_is_killed_after_its_grace(ledger: Ledger, tmp_path: Path):
    ready = tmp_path / "ready"
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignore}; open({str(ready)!r}, 'w').close(); time.sleep(60)"
    service = Service("deaf", (sys.executable, "-c", deaf), ready=ready.exists, grace_s=0.5)
    record = ledger.start(service, {})
    ledger.wait(service, record)

    started = time.monotonic()
    assert ledger.stop(record)

    assert _gone(record.pid)
    assert time.monotonic() - started < 20


def test_one_that_ends_while_starting_is_told_with_its_last_words(ledger: Ledger):
    service = Service(
        "short", (sys.executable, "-c", "print('no such file: x'); raise SystemExit(3)"), ready=lambda: False
    )

    with pytest.raises(ServiceError, match=r"(?s)short: ended .*(no such file: x|empty)"):
        ledger.wait(service, ledger.start(service, {}))


def test_one_that_never_answers_is_told_with_the_time_it_had(ledger: Ledger):
    service = Service("mute", (sys.executable, "-c", "import time; time.sleep(60)"), ready=lambda: False, ready_s=0.5)
    record = ledger.start(service, {})

    with pytest.raises(ServiceError, match="mute: expected an answer within 0 s, got none|within 1 s"):
        ledger.wait(service, record)


def test_variables_of_the_service_go_before_those_of_the_command(ledger: Ledger, tmp_path: Path):
    says = tmp_path / "says"
    text = f"import os; open({str(says)!r}, 'w').write(os.environ['A'] + os.environ['B'])"
    service = Service(
        "env", (sys.executable, "-c", text + "; import time; time.sleep(60)"), says.exists, environment={"B": "2"}
    )

    ledger.wait(service, ledger.start(service, {"A": "1", "B": "1"}))
    deadline = time.monotonic() + 10
    while not says.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert says.read_text() == "12"


def test_a_taken_port_names_holder_and_variable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = Service("mlflow", ("x",), ready=lambda: True, port=port)
        expected = (
            rf"mlflow: expected port {port} to be free, it is taken by .*\(pid {os.getpid()}\).*set UMGCLIP_MLFLOW_PORT"
        )

        with pytest.raises(InputError, match=expected):
            check_port(service, "UMGCLIP_MLFLOW_PORT")

    check_port(service, "UMGCLIP_MLFLOW_PORT")


def test_a_second_command_at_the_same_time_is_refused(ledger: Ledger):
    with (
        ledger.locked(),
        pytest.raises(InputError, match="another `make up` or `make down` is running"),
        ledger.locked(),
    ):
        pass


def test_a_damaged_list_is_no_traceback(ledger: Ledger):
    ledger.folder.mkdir(parents=True)
    file = ledger.folder / "processes.json"
    file.write_text("[{]")

    with pytest.raises(InputError, match=r"processes.json: expected a list of processes, got JSONDecodeError"):
        ledger.records()

    file.unlink()


TELL = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ))); import time; time.sleep(60)"


@pytest.mark.parametrize(("port", "mode"), [(1, 0o600), (None, 0o644)])
def test_files_of_a_server_are_its_owners_and_those_of_a_worker_as_the_umask_says(
    ledger: Ledger, tmp_path: Path, port: int | None, mode: int
):
    before = os.umask(0o022)
    written = tmp_path / "written"
    try:
        service = Service("x", (sys.executable, "-c", TELL, str(written)), ready=lambda: written.is_file(), port=port)
        ledger.wait(service, ledger.start(service, {}))
    finally:
        os.umask(before)

    assert stat.S_IMODE(written.stat().st_mode) == mode
    assert stat.S_IMODE(ledger.log("x").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as another account")
def test_another_account_gets_no_variables_that_could_hold_a_secret(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("LC_ALL", "C")
    service = Service("x", ("sleep", "60"), ready=lambda: True, user="nobody", cwd=Path("/"))

    record = ledger.start(service, {"OWN": "1"})

    variables = psutil.Process(record.pid).environ()
    assert {"OWN", "PATH", "LC_ALL"} <= set(variables)
    assert "MLFLOW_TRACKING_PASSWORD" not in variables
