"""A lock that allows one promotion at a time: a file on this machine, and for a server also a tag that others see.

MLflow has no compare-and-set, so two simultaneous promotions could both move the champion, each judged against a
version that is no longer the champion when the alias moves.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from umgclip.errors import TrackingError
from umgclip.io.atomic import explain_os_errors, sha256_json
from umgclip.tracking import Store, bounded, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient

CLAIM_TAG = "umgclip.promoting"
SETTLE_S = 1.0  # longer than a server takes to write a tag
_WAIT_S, _STALE_S, _POLL_S = 60.0, 120.0, 0.1


@contextmanager
def serialised(store: Store, name: str) -> Iterator[None]:
    """Block other promotions of a registered model while the block runs.

    Raises:
        TrackingError: another promotion did not end within a minute, or MLflow does not answer.
        OutputError: the lock file cannot be written.
    """
    with ExitStack() as held:
        held.enter_context(_file_lock(_lock_path(store, name), name))
        if store.database is None:
            held.enter_context(_claim(store, name))
        yield


def _lock_path(store: Store, name: str) -> Path:
    """Return the lock's path: next to a SQLite database for all its users, or for a server a file of this user."""
    if store.database is not None:
        return store.database.with_name(f"{store.database.name}.promotion-{name}.lock")
    return Path(tempfile.gettempdir()) / f"umgclip-{os.getuid()}-promotion-{sha256_json([store.uri, name])[:16]}.lock"


@contextmanager
def _file_lock(path: Path, name: str) -> Iterator[None]:
    with explain_os_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # as the umask says
    try:
        deadline = time.monotonic() + _WAIT_S
        while not _locked(handle):
            if time.monotonic() > deadline:
                raise TrackingError(
                    f"{name}: expected other promotions to end within {_WAIT_S:.0f} s, but one still holds {path}; "
                    "try again later"
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)  # this releases the lock, as does the end of the process


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _claim(store: Store, name: str) -> Iterator[None]:
    """Exclude other promotions by a tag that can only be read and written (Fischer's algorithm, Lamport, TOCS 1987).

    Write the tag if there is none, wait until every write in progress has finished, and continue if the tag still has
    this claim's value. A claim older than two minutes belongs to a process that died.
    """
    client = store.client()
    deadline = time.monotonic() + _WAIT_S
    while True:
        token = f"{time.time():.0f} {uuid.uuid4().hex}"
        with explained(store), bounded():
            if _is_free(_read(client, name)) and _write(client, name, token):
                time.sleep(SETTLE_S)
                if _read(client, name) == token:
                    break
        if time.monotonic() > deadline:
            raise TrackingError(
                f"{name} in {store.name}: expected other promotions to end within {_WAIT_S:.0f} s, but the tag "
                f"{CLAIM_TAG} of the registered model shows that one is still running; try again later"
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        with explained(store), bounded():
            if _read(client, name) == token:
                client.delete_registered_model_tag(name, CLAIM_TAG)


def _write(client: MlflowClient, name: str, token: str) -> bool:
    """Write the tag and return whether it worked: databases refuse one of two simultaneous inserts of a tag."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_tag(name, CLAIM_TAG, token)
    except MlflowException:
        if _read(client, name) is None:
            raise  # there is no other claim, so the error has another cause
        return False
    return True


def _read(client: MlflowClient, name: str) -> str | None:
    claim = client.get_registered_model(name).tags.get(CLAIM_TAG)
    return None if claim is None else str(claim)


def _is_free(claim: str | None) -> bool:
    since = claim.partition(" ")[0] if claim else ""
    return not since.isdecimal() or time.time() - int(since) > _STALE_S
