"""Reading of a few samples of a large dataset: which shards to open, and which samples to take.

Shards are read from front to end, and no further than the last wanted sample; of local shards only headers and those
samples. Nothing but these samples is ever held in memory.
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from umgclip.errors import DataError
from umgclip.io.images import EXTENSIONS
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shard_source import open_shard, shard_at
from umgclip.io.shards import key_and_extension
from umgclip.io.streams import Stream
from umgclip.io.tars import members, open_tar

MEMBER_BYTES = 256 << 20  # a larger file in a shard is not shown


@dataclass(frozen=True)
class Wanted:
    """Wanted samples of one shard: by position in it, from 0, and by key."""

    positions: frozenset[int] = frozenset()
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PickedSample:
    """One sample as stored; what it lacks is None, and `problem` says why."""

    shard: str
    position: int
    key: str
    image: bytes | None = field(repr=False)
    json: bytes | None = field(repr=False)
    problem: str | None = None


def draw(manifest: Manifest, count: int, shards: int, seed: int) -> dict[str, Wanted]:
    """Draw samples at random from at most `shards` shards, which are drawn at random, too.

    With shards of the same size every sample is equally likely; but samples of one shard come together.

    Args:
        manifest: manifest of the dataset; only its numbers of samples are used.
        count: number of samples; all if there are fewer.
        shards: most shards to read.
        seed: seed of both draws.

    Returns:
        Positions by shard, in the manifest's order.
    """
    rng = np.random.default_rng(seed)
    filled = [shard for shard in manifest.shards if shard.samples]
    picked = sorted(rng.choice(len(filled), size=min(shards, len(filled)), replace=False).tolist())
    chosen = [filled[index] for index in picked]
    ends = list(accumulate(shard.samples for shard in chosen))
    drawn: dict[str, list[int]] = {}
    for number in sorted(rng.choice(ends[-1], size=min(count, ends[-1]), replace=False).tolist()):
        index = bisect_right(ends, number)
        drawn.setdefault(chosen[index].path, []).append(number - (ends[index - 1] if index else 0))
    return {path: Wanted(frozenset(positions)) for path, positions in drawn.items()}


def pick(dataset: Place, shard: str, wanted: Wanted) -> Iterator[PickedSample]:
    """Read wanted samples of one shard, in its order; keys that it does not hold are skipped.

    Raises:
        DataError: the shard is missing, truncated or damaged; the samples before that were yielded.
    """
    name = shard_at(dataset, shard)
    positions, keys = set(wanted.positions), set(wanted.keys)
    position, current, taken = -1, None, False
    files: dict[str, bytes | str] = {}
    try:
        with open_shard(dataset, shard) as handle, _opened(handle) as tar:
            for info in members(tar):
                if not info.isfile():
                    continue
                key, extension = key_and_extension(info.name, name)
                if key != current:
                    if taken and current is not None:
                        yield _sample(shard, position, current, files)
                    if not positions and not keys:
                        return
                    current, position, files = key, position + 1, {}
                    taken = position in positions or key in keys
                    positions.discard(position)
                    keys.discard(key)
                if taken and (extension.lower() in EXTENSIONS or extension == "json"):
                    files[extension.lower()] = _content(tar, info)
            if taken and current is not None:
                yield _sample(shard, position, current, files)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{name}: not a complete tar ({type(error).__name__}: {error})") from error
    if positions:
        raise DataError(f"{name}: expected more than {position + 1} samples, as in the manifest")


def _opened(handle: Stream) -> closing[tarfile.TarFile]:
    """Open a tar so that its files are skipped by seeking where that is possible."""
    seekable = getattr(handle, "seekable", None)
    return open_tar(handle, "r:" if seekable is not None and seekable() else "r|")


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | str:
    """Return the bytes of a file, or a message about what is wrong with it."""
    if info.size > MEMBER_BYTES:
        return f"{info.name}: expected at most {MEMBER_BYTES} bytes, got {info.size}"
    member = tar.extractfile(info)
    data = member.read() if member else b""
    return data if len(data) == info.size else f"{info.name}: truncated: expected {info.size} bytes, got {len(data)}"


def _sample(shard: str, position: int, key: str, files: Mapping[str, bytes | str]) -> PickedSample:
    image = next((files[extension] for extension in EXTENSIONS if extension in files), "no image file")
    json = files.get("json", "no JSON file")
    problems = [content for content in (image, json) if isinstance(content, str)]
    return PickedSample(
        shard,
        position,
        key,
        image if isinstance(image, bytes) else None,
        json if isinstance(json, bytes) else None,
        "; ".join(problems) or None,
    )
