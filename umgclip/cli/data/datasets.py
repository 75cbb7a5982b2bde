"""Functions behind `umgclip data`: make the demo, open datasets, and describe and verify them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from umgclip.cli.options import SPLITS
from umgclip.data.mixture import datasets_of
from umgclip.data.stream import decode
from umgclip.errors import DataError
from umgclip.io.manifest import MANIFEST, Manifest, read_manifest, read_manifest_at
from umgclip.io.places import Folder, Place, place_at
from umgclip.io.shard_source import ShardAt
from umgclip.params import DataParams
from umgclip.records import ImageRecord, stored_record
from umgclip.sources.demo.patterns import PATTERNS, write_patterns
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.importing.statistics import STATISTICS, measure
from umgclip.stage import Summary

_SHOWN, _LISTED = 5, 8
_REGION_PARTS = ("labelled", "captioned", "with mask", "stuff")
_NAMED = (
    ("quarantine", "quarantine"), ("to know", "told"), ("not understood", "not_understood"), ("others", "other_files")
)  # fmt: skip
_STATISTICS_BYTES = 64 << 20


def make_demo(params: DataParams, out: Path, advance: Callable[[int], None]) -> Summary:
    """Compose the demo into `out`; an older demo there is replaced.

    Raises:
        InputError: `out` holds something else.
        OutputError: `out` cannot be written.
    """
    counts = write_demo(params, out, advance=advance)
    return Summary(f"data: {out}", tuple((name, str(count)) for name, count in counts.items()), {"counts": counts})


def make_patterns(
    params: DataParams, out: Path, counts: tuple[int, int], counter: Callable[[int], Callable[[int], None]]
) -> Summary:
    """Draw visual-pattern pairs into `out`; older pairs there are replaced.

    Args:
        params: the section `data`.
        out: the folder to make.
        counts: pairs of each pattern, and training images.
        counter: makes a progress bar of so many images.

    Raises:
        InputError: `out` holds something else.
        OutputError: `out` cannot be written.
    """
    pairs, scenes = counts
    done = write_patterns(params, out, pairs, scenes, advance=counter(2 * pairs * len(PATTERNS) + scenes))
    rows = [(name, f"{count} images") for name, count in done.items()]
    return Summary(
        f"data: {out}", (*rows, ("patterns", f"{', '.join(PATTERNS)}: {pairs} pairs each")), {"counts": done}
    )


def demo_scenes(params: DataParams) -> int:
    """Return the number of scenes that `make_demo` will draw."""
    return params.train_scenes + params.benchmark_scenes + params.benchmark_singles


def check(where: str, advance: Callable[[int], None]) -> Summary:
    """Compare hashes with manifests and read every sample.

    Args:
        where: a dataset, or a folder or S3 prefix with the datasets `train` and `benchmark`.
        advance: called with the number of samples read.

    Raises:
        DataError: a shard is missing, damaged or replaced, or samples cannot be read; names the first of them.
    """
    rows, bad, facts = [], [], []
    for name, (dataset, manifest) in opened(where).items():
        bad += list(_unreadable(dataset, manifest, advance))
        rows.append((name, f"{len(manifest.shards)} shards, {manifest.samples} samples, {_size(manifest)}"))
        facts.append({"dataset": name, **_counts(manifest)})
    if bad:
        raise DataError("\n  ".join([f"{where}: {len(bad)} samples cannot be read, e.g.", *bad[:_SHOWN]]))
    return Summary("data: all hashes and samples are correct", tuple(rows), {"datasets": facts})


def datasets(folder: Path) -> dict[Path, Manifest]:
    """Read the manifest of a dataset, or those of all datasets in a folder.

    Raises:
        DataError: there is none, or one is incomplete.
    """
    inner = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    folders = [folder] if (folder / MANIFEST).is_file() or not inner else inner
    return {path: read_manifest(path) for path in folders}


def _unreadable(dataset: Place, manifest: Manifest, advance: Callable[[int], None]) -> Iterator[str]:
    for shard in manifest.shards:
        stored = ShardAt(dataset, shard)
        _check_hash(stored)
        samples = 0
        for raw in stored.samples():
            samples += 1
            try:
                sample = decode(raw, shard.path)
                if hashlib.sha256(raw.image).hexdigest() != sample.record.sha256:
                    raise DataError(f"{shard.path}:{raw.key}: expected an image of sha256 {sample.record.sha256}")
            except DataError as error:
                yield str(error)
        if samples != shard.samples:
            yield f"{stored}: expected {shard.samples} samples as in the manifest, got {samples}"
        advance(samples)


def _check_hash(stored: ShardAt) -> None:
    digest = hashlib.sha256()
    with stored.open() as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != stored.info.sha256:
        raise DataError(f"{stored}: expected sha256 {stored.info.sha256}, got {digest.hexdigest()}")


def describe(numbers: dict[str, Any], manifest: Manifest) -> list[tuple[str, str]]:
    """Convert statistics into rows of a table."""
    counts = numbers["counts"]
    images = max(counts.get("images", 0), 1)
    rows = [
        ("images", f"{counts.get('images', 0)} in {len(manifest.shards)} shards, {_size(manifest)}"),
        ("formats", _listed(numbers["formats"])),
        ("sides", f"{numbers['smallest_side_px']} to {numbers['largest_side_px']} px"),
        ("captions", f"{counts.get('n_captions', 0)}, on {100 * counts.get('with_captions', 0) / images:.1f} %"),
        ("tags", f"{counts.get('n_tags', 0)}, on {100 * counts.get('with_tags', 0) / images:.1f} %"),
        ("regions", f"{counts.get('n_regions', 0)}, on {100 * counts.get('with_regions', 0) / images:.1f} %"),
    ]
    if counts.get("n_regions"):
        parts = ("labelled", "region_captions", "has_mask", "n_stuff")
        shown = ", ".join(f"{counts.get(name, 0)} {label}" for name, label in zip(parts, _REGION_PARTS, strict=True))
        rows.append(("of them", shown))
    datasets = datasets_of(manifest)
    if len(datasets) > 1:
        rows.append(("datasets", _listed({name: part.samples for name, part in datasets.items()})))
    if numbers["things"]:
        rows.append((f"things ({numbers['different_things']})", _listed(numbers["things"])))
    if numbers["stuff"]:
        rows.append((f"stuff ({numbers['different_stuff']})", _listed(numbers["stuff"])))
    if manifest.classes is not None:
        classes = manifest.classes
        named = f"{len(classes.things)} things, {len(classes.stuff)} stuff, {len(classes.held_out)} held out"
        rows.append(("classes of the benchmark", named))
    for title, name in _NAMED:
        if numbers.get(name):
            rows.append((title, _listed(numbers[name])))
    if counts.get("rewritten"):
        rows.append(("images re-encoded", f"{counts['rewritten']}"))
    return rows


def _counts(manifest: Manifest) -> dict[str, int]:
    """Return the size of a dataset, as its manifest states it."""
    size = sum(shard.bytes for shard in manifest.shards)
    return {"samples": manifest.samples, "shards": len(manifest.shards), "bytes": size}


def _size(manifest: Manifest) -> str:
    return f"{sum(shard.bytes for shard in manifest.shards) / 1e6:.1f} MB"


def _listed(counts: dict[str, int]) -> str:
    named = [f"{name} {number}" for name, number in list(counts.items())[:_LISTED]]
    return ", ".join(named) + (f", and {len(counts) - _LISTED} more" if len(counts) > _LISTED else "")


def open_dataset(where: str) -> tuple[Place, Manifest]:
    """Open a dataset in a folder or in S3.

    Raises:
        DataError: there is none; names what is missing.
    """
    dataset = place_at(where)
    manifest = read_manifest_at(dataset.path if isinstance(dataset, Folder) else where)
    if not manifest.samples:
        raise DataError(f"{where}: expected at least one sample, the manifest lists none")
    return dataset, manifest


def opened(where: str) -> dict[str, tuple[Place, Manifest]]:
    """Open the dataset at a path or URL, or the datasets below it, by their names.

    Raises:
        DataError: there is none.
    """
    dataset = place_at(where)
    if isinstance(dataset, Folder):
        return {str(folder): (Folder(folder), manifest) for folder, manifest in datasets(dataset.path).items()}
    inner = [name for name in SPLITS if dataset.exists(f"{name}/{MANIFEST}")]
    if dataset.exists(MANIFEST) or not inner:
        return {where: open_dataset(where)}
    return {f"{where.rstrip('/')}/{name}": open_dataset(f"{where.rstrip('/')}/{name}") for name in inner}


def statistics(where: str) -> list[Summary]:
    """Describe each dataset at a path or URL in a table.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    summaries = []
    for name, (dataset, manifest) in opened(where).items():
        if dataset.exists(STATISTICS):
            numbers = json.loads(dataset.read(STATISTICS, _STATISTICS_BYTES))
        else:
            numbers = measure(dataset, manifest).as_json()
        facts = {"dataset": name, **_counts(manifest), "statistics": numbers}
        summaries.append(Summary(f"data: {name}", tuple(describe(numbers, manifest)), facts))
    return summaries


def head(where: str, count: int) -> Iterator[Summary]:
    """Yield a table for each of the first samples of each dataset at a path or URL.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    for name, (dataset, manifest) in opened(where).items():
        samples = (raw for info in manifest.shards for raw in ShardAt(dataset, info).samples())
        for raw in itertools.islice(samples, count):
            record = stored_record(raw.json, key=raw.key, where=f"{name}:{raw.key}")
            rows = tuple(_sample_rows(record, raw.extension, len(raw.image)))
            facts = {
                "dataset": name,
                "key": record.key,
                "bytes": len(raw.image),
                "record": json.loads(record.to_json()),
            }
            yield Summary(f"{name}: {record.key}", rows, facts)


def _sample_rows(record: ImageRecord, extension: str, size: int) -> Iterator[tuple[str, str]]:
    yield "image", f"{extension}, {record.width} x {record.height}, {size / 1e3:.1f} kB"
    source = record.source
    from_where = [source.dataset, source.name, source.url, source.license]
    yield "source", ", ".join(part for part in from_where if part)
    for caption in record.captions or []:
        yield f"caption ({caption.source})", caption.text
    if record.tags:
        yield "tags", ", ".join(tag.text for tag in record.tags)
    if record.negative_tags:
        yield "not there", ", ".join(tag.text for tag in record.negative_tags)
    for side in record.pairs or []:
        yield f"pair {side.id} ({side.pattern})", side.text
    for region in record.regions or []:
        texts = [text.text for text in [*(region.tags or []), *(region.captions or [])]]
        box = ", ".join(f"{side:g}" for side in region.box_xyxy)
        kind = "stuff" if region.is_stuff else "crowd" if region.is_crowd else "thing"
        masked = " with mask" if region.mask else ""
        yield f"region {region.id}", f"{kind}{masked} [{box}]: {'; '.join(dict.fromkeys(texts)) or '(no text)'}"
