"""Shards as local files: those next to a manifest as they are, those in S3 as temporary copies.

Conventions of WebDataset: every reader reads a shard from its first sample to its last.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file
from umgclip.io.manifest import REMOTE, Manifest, ShardInfo
from umgclip.io.shards import RawSample, key_and_extension, read_shard
from umgclip.io.storage import Storage, locate
from umgclip.io.tars import file_names

KEEP_BYTES = 256 << 20


class ShardFiles:
    """The shards of one dataset. A dataset of at most 256 MiB is read once and kept, still encoded."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._shards = folder, manifest.shards
        self._small = sum(shard.bytes for shard in manifest.shards) <= KEEP_BYTES
        self._kept: dict[int, list[RawSample]] = {}
        self._storage = Storage()

    def read(self, indices: Iterable[int]) -> Iterator[tuple[int, Iterator[RawSample]]]:
        """Yield each requested shard's index and samples; download the next shard while one is read.

        Raises:
            DataError: a shard is missing, damaged, or not the one that the manifest describes.
            InputError, StorageError: S3 refuses or does not answer.
        """
        wanted = list(indices)
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="umgclip-shards-")))
            thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="shards"))
            ahead: Future[Path] | None = None
            for number, index in enumerate(wanted):
                if index in self._kept:
                    yield index, iter(self._kept[index])
                    continue
                path = ahead.result() if ahead is not None else self._local(index, scratch)
                ahead = None
                if number + 1 < len(wanted) and self._is_remote(wanted[number + 1]):
                    ahead = thread.submit(self._local, wanted[number + 1], scratch)
                samples = self._counted(index, path)
                if self._small:
                    self._kept[index] = list(samples)
                    samples = iter(self._kept[index])
                yield index, samples
                if path.parent == scratch:
                    path.unlink(missing_ok=True)

    def keys(self, index: int) -> list[str]:
        """Return the keys of a shard's samples in order, from the headers of a local file."""
        if index in self._kept:
            return [raw.key for raw in self._kept[index]]
        with tempfile.TemporaryDirectory(prefix="umgclip-shards-") as scratch:
            path = self._local(index, Path(scratch))
            try:
                names = [key_and_extension(name, str(path))[0] for name in file_names(path)]
            except (tarfile.TarError, EOFError, OSError) as error:
                raise DataError(f"{path}: not a complete tar ({type(error).__name__}: {error})") from error
        return list(dict.fromkeys(names))

    def _is_remote(self, index: int) -> bool:
        return self._shards[index].path.startswith(REMOTE) and index not in self._kept

    def _local(self, index: int, scratch: Path) -> Path:
        shard = self._shards[index]
        if not shard.path.startswith(REMOTE):
            return self._folder / shard.path
        path = scratch / f"{index:08d}.tar"
        if not path.is_file():
            self._storage.get(locate(shard.path), path)
        _check(path, shard)
        return path

    def _counted(self, index: int, path: Path) -> Iterator[RawSample]:
        shard, count = self._shards[index], 0
        for raw in read_shard(path):
            count += 1
            yield raw
        if count != shard.samples:
            name = self._folder / shard.path if path.name != shard.path else path
            raise DataError(f"{name}: expected {shard.samples} samples as in the manifest, got {count}")


def _check(path: Path, shard: ShardInfo) -> None:
    digest = sha256_file(path)
    if digest != shard.sha256:
        raise DataError(f"{shard.path}: expected sha256 {shard.sha256} as in the manifest, got {digest}")
