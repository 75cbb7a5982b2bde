"""`umgclip data`: make the demo, verify a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from umgclip.data.stream import decode
from umgclip.errors import DataError, InputError
from umgclip.io.shards import read_shard
from umgclip.manifest import MANIFEST, Manifest, read_manifest, verify
from umgclip.params import DataParams
from umgclip.sources.demo import write_demo
from umgclip.summary import Summary

SPLITS = ("train", "benchmark")
_SHOWN = 5


def make_demo(params: DataParams, out: Path, advance: Callable[[int], None]) -> Summary:
    """Compose the demo into `out`, replacing an older demo there.

    Raises:
        InputError: `out` holds something else.
        OutputError: `out` cannot be written.
    """
    if out.is_dir() and any(out.iterdir()) and not _is_demo(out):
        raise InputError(f"--out: expected a new folder or an older demo, which is replaced; {out} holds other files")
    counts = write_demo(params, out, advance=advance)
    return Summary(f"data: {out}", tuple((name, str(count)) for name, count in counts.items()))


def demo_scenes(params: DataParams) -> int:
    """Scenes that `make_demo` will draw."""
    return params.train_scenes + params.benchmark_scenes + params.benchmark_singles


def _is_demo(folder: Path) -> bool:
    try:
        return all(read_manifest(folder / split).made_by.stage == "data" for split in SPLITS)
    except DataError:
        return False


def check(folder: Path, advance: Callable[[int], None]) -> Summary:
    """Compare hashes with manifests and read every sample.

    Args:
        folder: a dataset, or a folder with the datasets `train` and `benchmark`.
        advance: called with the number of samples read.

    Raises:
        DataError: a shard is missing, damaged or replaced, or samples cannot be read; names the first of them.
    """
    rows, bad = [], []
    for dataset, manifest in datasets(folder).items():
        verify(dataset)
        bad += list(_unreadable(dataset, manifest, advance))
        size = sum(shard.bytes for shard in manifest.shards)
        rows.append((str(dataset), f"{len(manifest.shards)} shards, {manifest.samples} samples, {size / 1e6:.1f} MB"))
    if bad:
        raise DataError("\n  ".join([f"{folder}: {len(bad)} samples cannot be read, e.g.", *bad[:_SHOWN]]))
    return Summary("data: hashes and samples are right", tuple(rows))


def datasets(folder: Path) -> dict[Path, Manifest]:
    """The manifests of a dataset, or of the datasets in a folder.

    Raises:
        DataError: there is none, or one is incomplete.
    """
    inner = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    found = [folder] if (folder / MANIFEST).is_file() or not inner else inner
    return {dataset: read_manifest(dataset) for dataset in found}


def _unreadable(dataset: Path, manifest: Manifest, advance: Callable[[int], None]) -> Iterator[str]:
    for shard in manifest.shards:
        samples = 0
        for raw in read_shard(dataset / shard.path):
            samples += 1
            try:
                decode(raw, shard.path)
            except DataError as error:
                yield str(error)
        if samples != shard.samples:
            yield f"{dataset / shard.path}: expected {shard.samples} samples as in the manifest, got {samples}"
        advance(samples)
