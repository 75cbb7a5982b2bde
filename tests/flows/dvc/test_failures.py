"""Classification of failures: temporary ones are retried, failures of the stage itself are final."""

import pytest

from umgclip.errors import GateError, StorageError, TrackingError
from umgclip.flows.dvc.failures import StageFailed, Unavailable, explain, is_temporary
from umgclip.flows.dvc.process import CommandResult


def explained(*lines: str, code: int = 255):
    return explain("stage train", CommandResult(code, lines))


def dvc(code: int, *before: str):
    return explained(*before, f"ERROR: failed to reproduce 'train': failed to run: umgclip train, exited with {code}")


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_what_a_stage_says_is_final_and_keeps_its_exit_code(code):
    error = dvc(code, "umgclip validate: 1 of 45 rules fail")
    assert isinstance(error, StageFailed)
    assert error.exit_code == code
    assert not is_temporary(error)
    assert "1 of 45 rules fail" in str(error)


@pytest.mark.parametrize("code", [6, 8, 9, 130, 137, 143, -9])
def test_a_silent_server_a_lost_process_and_a_signal_may_pass(code):
    error = dvc(code, "umgclip train: interrupted; run it again to continue")
    assert isinstance(error, Unavailable)
    assert is_temporary(error)


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Unable to acquire lock. Most likely another DVC process is running",
        "ERROR: '/x/data' is busy, it is being blocked by:",
        "botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL",
        "requests.exceptions.ConnectionError: Max retries exceeded with url",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "An error occurred (SlowDown) when calling the PutObject operation",
    ],
)
def test_locks_and_networks_may_pass(line):
    assert is_temporary(explained(line))
    assert is_temporary(dvc(1, line))
    # a closed gate stays closed, whatever else was written
    assert not is_temporary(dvc(GateError.exit_code, line))


def test_dvc_killed_from_outside_may_pass():
    assert is_temporary(explained("Running stage 'train':", code=137))
    assert is_temporary(explained("Running stage 'train':", code=143))


def test_dvc_itself_saying_no_is_final():
    error = explained("ERROR: failed to parse 'dvc.yaml'")
    assert isinstance(error, StageFailed)
    assert error.exit_code == 1


def test_errors_of_servers_may_pass_and_others_may_not():
    assert is_temporary(TrackingError("x"))
    assert is_temporary(StorageError("x"))
    assert not is_temporary(GateError("x"))
    assert not is_temporary(ValueError("x"))
    assert not is_temporary(None)
