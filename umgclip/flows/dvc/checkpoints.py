"""Share a training's checkpoint in DVC's remote, so that any worker can resume it.

While the stage runs, a thread uploads each new checkpoint; a worker that starts downloads the shared one first. Each
order has one location: a new checkpoint replaces the previous one, and a finished stage leaves none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from umgclip.errors import InputError, UmgclipError
from umgclip.flows.dvc.failures import StageFailed
from umgclip.io.atomic import atomic_file
from umgclip.io.storage import Location, Storage, locate

# by stage: its folder and its files; the last file is the checkpoint
FILES = {"train": (Path("artifacts/.train"), ("curves.csv", "checkpoint.pt"))}
_FOLDER = "checkpoints"
_LOOK_EVERY_S = 5.0
Say = Callable[[str], None]


class SharedCheckpoint:
    """The shared copy of one order's checkpoint in DVC's remote.

    Args:
        remote_url: URL of DVC's remote: `s3://` or a folder that all workers can access.
        key: key of the order, the same for every attempt.
    """

    def __init__(self, remote_url: str, key: str) -> None:
        self._location: Location | Path
        if remote_url.startswith("s3://"):
            self._location = locate(remote_url) / _FOLDER / key
        else:
            self._location = Path(remote_url) / _FOLDER / key
        self._storage = Storage()

    def __str__(self) -> str:
        return str(self._location)

    def has(self, name: str) -> bool:
        """Return whether the remote has a file of this name."""
        if isinstance(self._location, Path):
            return (self._location / name).is_file()
        return self._storage.exists(self._location / name)

    def get(self, name: str, path: Path) -> None:
        """Download a file atomically from the shared copy."""
        if isinstance(self._location, Path):
            with atomic_file(path) as temporary:
                shutil.copyfile(self._location / name, temporary)
        else:
            self._storage.get(self._location / name, path)

    def put(self, path: Path, name: str) -> None:
        """Upload a file atomically; it replaces the previous one."""
        if isinstance(self._location, Path):
            with atomic_file(self._location / name) as temporary:
                shutil.copyfile(path, temporary)
        else:
            self._storage.put(path, self._location / name)

    def remove(self, names: tuple[str, ...]) -> None:
        """Delete files from the shared copy, the checkpoint first."""
        for name in reversed(names):
            if isinstance(self._location, Path):
                (self._location / name).unlink(missing_ok=True)
            else:
                self._storage.delete(self._location / name)
        if isinstance(self._location, Path) and self._location.is_dir():
            shutil.rmtree(self._location, ignore_errors=True)


def supported(remote_url: str) -> bool:
    """Return whether a remote of this kind can store checkpoints."""
    return remote_url.startswith("s3://") or "://" not in remote_url


@contextmanager
def shared(
    root: Path, stage: str, remote_url: str, key: str, say: Say, every_s: float = _LOOK_EVERY_S
) -> Iterator[None]:
    """Download the shared checkpoint before a stage runs in a clone, and upload each new one during the block.

    A checkpoint that cannot be uploaded is reported and has no other effect. The shared copy is deleted when the stage
    succeeds or fails by itself.

    Args:
        root: the clone.
        stage: name of the stage; nothing happens for a stage without checkpoints.
        remote_url: URL of DVC's remote.
        key: key of the order.
        say: called with each message.
        every_s: seconds between checks for a new checkpoint.
    """
    if stage not in FILES or not supported(remote_url):
        yield
        return
    folder, names = FILES[stage]
    mirror = _CheckpointMirror(root / folder, names, SharedCheckpoint(remote_url, key), say)
    mirror.fetch()
    stop = threading.Event()
    thread = threading.Thread(target=mirror.run, args=(stop, every_s), name="checkpoints", daemon=True)
    thread.start()
    over = False
    try:
        yield
        over = True
    except (StageFailed, InputError):
        over = True
        raise
    finally:
        stop.set()
        thread.join()
        if over:
            mirror.remove()
        else:
            mirror.share()


class _CheckpointMirror:
    """A checkpoint in a clone that is kept in step with the shared copy in the remote."""

    def __init__(self, folder: Path, names: tuple[str, ...], remote: SharedCheckpoint, say: Say) -> None:
        self._folder, self._names, self._remote, self._say = folder, names, remote, say
        self._shared: int | None = None

    def fetch(self) -> None:
        """Download the shared checkpoint, the latest state that any worker has reached, if there is one."""
        if not self._remote.has(self._names[-1]):
            return
        for name in self._names:
            if self._remote.has(name):
                self._remote.get(name, self._folder / name)
        self._shared = self._stamp()
        self._say(f"resuming from the checkpoint in {self._remote}")

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Upload new checkpoints until `stop` is set."""
        while not stop.wait(every_s):
            self.share()

    def share(self) -> None:
        """Upload the checkpoint if it is new."""
        stamp = self._stamp()
        if stamp is None or stamp == self._shared:
            return
        try:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".shared-") as folder:
                self._copy(Path(folder))
            self._shared = stamp
        except (OSError, UmgclipError) as error:
            self._say(f"could not share the checkpoint in {self._remote}: {error}")

    def _copy(self, folder: Path) -> None:
        """Snapshot the checkpoint first and upload it last, so that the files beside it are never older."""
        checkpoint = self._names[-1]
        try:
            os.link(
                self._folder / checkpoint, folder / checkpoint
            )  # training replaces the file and never writes into it
        except FileNotFoundError:
            return  # training has just ended and removed it
        for name in self._names[:-1]:
            if (self._folder / name).is_file():
                shutil.copyfile(self._folder / name, folder / name)
        for name in self._names:
            if (folder / name).is_file():
                self._remote.put(folder / name, name)

    def remove(self) -> None:
        """Delete the shared copy, which is no longer needed."""
        try:
            self._remote.remove(self._names)
        except (OSError, UmgclipError) as error:
            self._say(f"could not remove the checkpoint in {self._remote}: {error}")

    def _stamp(self) -> int | None:
        path = self._folder / self._names[-1]
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
