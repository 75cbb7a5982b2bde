"""Download of a raw dataset from an S3 prefix: `manifest.json` and the shards that it lists, as in `data/train`.

The sender uploads the shards first and the manifest last, so a manifest means that everything is there. The local
folder becomes a copy of the prefix: shards that are already here are not downloaded again, and other files are deleted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from umgclip.errors import DataError
from umgclip.io.atomic import explain_os_errors, sha256_file
from umgclip.io.manifest import MANIFEST, Manifest, ShardInfo, read_manifest, write_manifest
from umgclip.io.storage import Location, Storage

_MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True)
class DeliveryResult:
    """The result of a download: the dataset's digest, the shards downloaded, and the shards already here."""

    digest: str
    downloaded: int
    reused: int


def read_delivery(storage: Storage, prefix: Location) -> Manifest:
    """Read and check the manifest below an S3 prefix.

    Raises:
        DataError: the manifest is missing or invalid; the message names its key.
        InputError, StorageError: the store refuses or does not answer.
    """
    source = prefix / MANIFEST
    try:
        manifest = Manifest.model_validate_json(storage.read(source, _MANIFEST_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{source}: {'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}") from error
    for shard in manifest.shards:
        if PurePosixPath(shard.path).name != shard.path or shard.path in (MANIFEST, "..", "."):
            raise DataError(f"{source}: shards: expected plain file names, got {shard.path!r}")
    if manifest.samples == 0:
        raise DataError(f"{source}: expected at least one sample, the manifest lists none")
    return manifest


def import_delivery(
    storage: Storage, prefix: Location, into: Path, advance: Callable[[int], None] = lambda _samples: None
) -> DeliveryResult:
    """Make a folder a copy of an S3 prefix; it changes at once, after every hash was compared.

    A download that was interrupted resumes with the shards that it had.

    Args:
        storage: the store.
        prefix: S3 prefix of the manifest.
        into: the dataset's folder.
        advance: called with the number of samples of each shard that is complete.

    Raises:
        DataError: the manifest or a shard is missing or damaged, or a hash differs.
        OutputError: the folder cannot be written.
        InputError, StorageError: the store refuses or does not answer.
    """
    manifest = read_delivery(storage, prefix)
    working, old = (into.parent / f".{into.name}.{state}.partial" for state in ("new", "old"))
    if old.is_dir() and not into.exists():  # stopped between the last two steps
        old.rename(into)
    downloaded = 0
    with explain_os_errors(into):
        working.mkdir(parents=True, exist_ok=True)
        for shard in manifest.shards:
            if not _here(shard, working, into):
                storage.get(prefix / shard.path, working / shard.path)
                _check(shard, working / shard.path, prefix)
                downloaded += 1
            advance(shard.samples)
        wanted = {shard.path for shard in manifest.shards}
        for path in working.iterdir():
            if path.name not in wanted:
                path.unlink()
        write_manifest(working, manifest)
        if into.exists():
            into.rename(old)
        working.rename(into)
        shutil.rmtree(old, ignore_errors=True)
    return DeliveryResult(read_manifest(into).digest(), downloaded, len(manifest.shards) - downloaded)


def _here(shard: ShardInfo, working: Path, into: Path) -> bool:
    """Return whether a shard is in the working folder; link or copy it from the present dataset where possible."""
    path, present = working / shard.path, into / shard.path
    if path.is_file() and path.stat().st_size == shard.bytes and sha256_file(path) == shard.sha256:
        return True
    path.unlink(missing_ok=True)
    if not (present.is_file() and present.stat().st_size == shard.bytes and sha256_file(present) == shard.sha256):
        return False
    try:
        os.link(present.resolve(), path)
    except OSError:  # another file system, or one without links
        shutil.copyfile(present, path)
    return True


def _check(shard: ShardInfo, path: Path, prefix: Location) -> None:
    actual = sha256_file(path)
    if actual != shard.sha256:
        path.unlink()
        raise DataError(f"{prefix / shard.path}: expected sha256 {shard.sha256} as in {MANIFEST}, got {actual}")
