"""A training's checkpoint beside the results in DVC's remote, so that whichever worker goes on finds it.

While the stage runs, a thread copies what is new; a worker that starts begins with what is there. One order, one place:
the newest checkpoint replaces the one before it, and a stage that has ended leaves none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.dvc.failures import StageFailed
from umgclip.errors import InputError, UmgclipError
from umgclip.io.atomic import atomic_file
from umgclip.io.storage import Location, Storage, locate

# by stage: its folder, and its files, of which the last is the checkpoint
FILES = {"train": (Path("artifacts/.train"), ("curves.csv", "checkpoint.pt"))}
_FOLDER = "checkpoints"
_LOOK_EVERY_S = 5.0
Say = Callable[[str], None]


class SharedCheckpoint:
    """The shared place of one order's checkpoint.

    Args:
        remote_url: of DVC's remote; `s3://` or a folder that all workers see.
        key: of the order; the same for every attempt.
    """

    def __init__(self, remote_url: str, key: str) -> None:
        self._place: Location | Path
        if remote_url.startswith("s3://"):
            self._place = locate(remote_url) / _FOLDER / key
        else:
            self._place = Path(remote_url) / _FOLDER / key
        self._storage = Storage()

    def __str__(self) -> str:
        return str(self._place)

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        if isinstance(self._place, Path):
            return (self._place / name).is_file()
        return self._storage.exists(self._place / name)

    def get(self, name: str, path: Path) -> None:
        """Copy a file from there; it appears whole or not at all."""
        if isinstance(self._place, Path):
            with atomic_file(path) as temporary:
                shutil.copyfile(self._place / name, temporary)
        else:
            self._storage.get(self._place / name, path)

    def put(self, path: Path, name: str) -> None:
        """Copy a file there; it replaces the one before it whole or not at all."""
        if isinstance(self._place, Path):
            with atomic_file(self._place / name) as temporary:
                shutil.copyfile(path, temporary)
        else:
            self._storage.put(path, self._place / name)

    def remove(self, names: tuple[str, ...]) -> None:
        """Take files away; the checkpoint first."""
        for name in reversed(names):
            if isinstance(self._place, Path):
                (self._place / name).unlink(missing_ok=True)
            else:
                self._storage.delete(self._place / name)
        if isinstance(self._place, Path) and self._place.is_dir():
            shutil.rmtree(self._place, ignore_errors=True)


def supported(remote_url: str) -> bool:
    """Whether checkpoints can be kept beside such a remote."""
    return remote_url.startswith("s3://") or "://" not in remote_url


@contextmanager
def shared(
    root: Path, stage: str, remote_url: str, key: str, say: Say, every_s: float = _LOOK_EVERY_S
) -> Iterator[None]:
    """While a stage runs in a clone: begin with the shared checkpoint, and share each new one.

    A checkpoint that cannot be shared is said and costs nothing else. It goes when the stage is done or says no.

    Args:
        root: the clone.
        stage: its name; one without checkpoints passes through.
        remote_url: of DVC's remote.
        key: of the order.
        say: takes what happens, line by line.
        every_s: seconds between looks.
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
    def __init__(self, folder: Path, names: tuple[str, ...], place: SharedCheckpoint, say: Say) -> None:
        self._folder, self._names, self._place, self._say = folder, names, place, say
        self._shared: int | None = None

    def fetch(self) -> None:
        """Begin with what is there, which is as far as any worker has come."""
        if not self._place.has(self._names[-1]):
            return
        for name in self._names:
            if self._place.has(name):
                self._place.get(name, self._folder / name)
        self._shared = self._stamp()
        self._say(f"goes on from the checkpoint in {self._place}")

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Share what is new until told to stop."""
        while not stop.wait(every_s):
            self.share()

    def share(self) -> None:
        """Copy the checkpoint there if it is a new one."""
        stamp = self._stamp()
        if stamp is None or stamp == self._shared:
            return
        try:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".shared-") as folder:
                self._copy(Path(folder))
            self._shared = stamp
        except (OSError, UmgclipError) as error:
            self._say(f"could not share the checkpoint in {self._place}: {error}")

    def _copy(self, folder: Path) -> None:
        """The checkpoint is taken first and sent last: what goes with it is never behind it."""
        checkpoint = self._names[-1]
        try:
            os.link(self._folder / checkpoint, folder / checkpoint)  # it is replaced, never written into
        except FileNotFoundError:
            return  # training has just ended
        for name in self._names[:-1]:
            if (self._folder / name).is_file():
                shutil.copyfile(self._folder / name, folder / name)
        for name in self._names:
            if (folder / name).is_file():
                self._place.put(folder / name, name)

    def remove(self) -> None:
        """Nobody needs it any more."""
        try:
            self._place.remove(self._names)
        except (OSError, UmgclipError) as error:
            self._say(f"could not remove the checkpoint in {self._place}: {error}")

    def _stamp(self) -> int | None:
        path = self._folder / self._names[-1]
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
