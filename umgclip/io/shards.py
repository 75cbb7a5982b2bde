"""WebDataset tars: `KEY.jpg|png|webp` + `KEY.json`, samples adjacent, bytes fixed by content alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.images import EXTENSIONS

EMBEDDINGS = "teacher.npy"


@dataclass(frozen=True)
class RawSample:
    """One sample as stored: key, image file, its extension, the record's JSON, teacher embeddings (npy) or None."""

    key: str
    image: bytes
    extension: str
    json: bytes
    embeddings: bytes | None = None


class ShardWriter:
    """Write samples to one tar whose bytes depend on the samples only (no times, owners or modes).

    Use on the temporary path of `io.atomic.atomic_file`, so that the shard appears whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        import webdataset as wds  # takes torch with it, which readers can do without

        self._tar = wds.TarWriter(
            str(path), encoder=False, user="", group="", mode=0o644, mtime=0, format=tarfile.USTAR_FORMAT
        )
        self._keys: set[str] = set()

    def write(self, sample: RawSample) -> None:
        """Append a sample.

        Raises:
            InputError: the key is empty, holds a dot or slash, is longer than 80 characters or was written before.
        """
        if not sample.key or "." in sample.key or "/" in sample.key or len(sample.key) > 80:
            raise InputError(f"key: expected 1 to 80 characters without dot and slash, got {sample.key!r}")
        if sample.key in self._keys:
            raise InputError(f"key: expected a new one in each sample of a shard, got {sample.key!r} twice")
        self._keys.add(sample.key)
        parts = {sample.extension: sample.image, "json": sample.json}
        if sample.embeddings is not None:
            parts[EMBEDDINGS] = sample.embeddings
        self._tar.write({"__key__": sample.key, **parts})

    @property
    def samples(self) -> int:
        """Samples written so far."""
        return len(self._keys)

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


def read_shard(path: Path) -> Iterator[RawSample]:
    """Yield the samples of one tar in order.

    Raises:
        DataError: the tar is truncated or damaged, or a sample lacks its image or its JSON; names shard and key.
    """
    pending: dict[str, bytes] = {}
    current = ""
    try:
        with tarfile.open(path, "r|") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                handle = tar.extractfile(info)
                data = handle.read() if handle else b""
                if len(data) != info.size:
                    raise DataError(f"{path}: truncated in {info.name}: expected {info.size} bytes, got {len(data)}")
                key, _, extension = info.name.rpartition("/")[2].partition(".")
                if key != current and pending:
                    yield _sample(path, current, pending)
                    pending = {}
                current = key
                pending[extension.lower()] = data
        _check_end(path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a complete tar ({type(error).__name__}: {error})") from error
    if pending:
        yield _sample(path, current, pending)


def _check_end(path: Path) -> None:
    """A tar ends in two blocks of zeros; without them it was cut inside or before a header, which tarfile lets pass."""
    with path.open("rb") as handle:
        handle.seek(-2 * tarfile.BLOCKSIZE, io.SEEK_END)
        if any(handle.read()):
            raise DataError(f"{path}: truncated: expected an end-of-archive mark, found none")


def _sample(path: Path, key: str, files: dict[str, bytes]) -> RawSample:
    extension = next((e for e in EXTENSIONS if e in files), None)
    if extension is None or "json" not in files:
        raise DataError(f"{path}:{key}: expected one image ({', '.join(EXTENSIONS)}) and one json, got {sorted(files)}")
    return RawSample(key, files[extension], extension, files["json"], files.get(EMBEDDINGS))
