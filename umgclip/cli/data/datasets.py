"""`umgclip data`: make the demo, look at datasets, verify them and hand them on."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from umgclip.data.stream import decode
from umgclip.errors import DataError
from umgclip.io.manifest import MANIFEST, Manifest, read_manifest, read_manifest_at
from umgclip.io.places import Folder, Place, place_at
from umgclip.io.shard_source import ShardAt
from umgclip.params import DataParams
from umgclip.records import ImageRecord, stored_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.importing.statistics import STATISTICS, measure
from umgclip.stage import Summary

SPLITS = ("train", "benchmark")
_SHOWN, _LISTED = 5, 8
_REGION_PARTS = ("labelled", "captioned", "with mask", "stuff")
_NAMED = (
    ("quarantine", "quarantine"), ("to know", "told"), ("not understood", "not_understood"), ("others", "other_files")
)  # fmt: skip
_STATISTICS_BYTES = 64 << 20


def make_demo(params: DataParams, out: Path, advance: Callable[[int], None]) -> Summary:
    """Compose the demo into `out`, replacing an older demo there.

    Raises:
        InputError: `out` holds something else.
        OutputError: `out` cannot be written.
    """
    counts = write_demo(params, out, advance=advance)
    return Summary(f"data: {out}", tuple((name, str(count)) for name, count in counts.items()))


def demo_scenes(params: DataParams) -> int:
    """Scenes that `make_demo` will draw."""
    return params.train_scenes + params.benchmark_scenes + params.benchmark_singles


def check(where: str, advance: Callable[[int], None]) -> Summary:
    """Compare hashes with manifests and read every sample.

    Args:
        where: a dataset, or a folder or S3 prefix with the datasets `train` and `benchmark`.
        advance: called with the number of samples read.

    Raises:
        DataError: a shard is missing, damaged or replaced, or samples cannot be read; names the first of them.
    """
    rows, bad = [], []
    for name, (place, manifest) in opened(where).items():
        bad += list(_unreadable(place, manifest, advance))
        rows.append((name, f"{len(manifest.shards)} shards, {manifest.samples} samples, {_size(manifest)}"))
    if bad:
        raise DataError("\n  ".join([f"{where}: {len(bad)} samples cannot be read, e.g.", *bad[:_SHOWN]]))
    return Summary("data: hashes and samples are right", tuple(rows))


def datasets(folder: Path) -> dict[Path, Manifest]:
    """The manifests of a dataset, or of the datasets in a folder.

    Raises:
        DataError: there is none, or one is incomplete.
    """
    inner = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    found = [folder] if (folder / MANIFEST).is_file() or not inner else inner
    return {dataset: read_manifest(dataset) for dataset in found}


def _unreadable(place: Place, manifest: Manifest, advance: Callable[[int], None]) -> Iterator[str]:
    for shard in manifest.shards:
        stored = ShardAt(place, shard)
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


def describe(found: dict[str, Any], manifest: Manifest) -> list[tuple[str, str]]:
    """Statistics as rows of a table."""
    counts = found["counts"]
    images = max(counts.get("images", 0), 1)
    rows = [
        ("images", f"{counts.get('images', 0)} in {len(manifest.shards)} shards, {_size(manifest)}"),
        ("formats", _listed(found["formats"])),
        ("sides", f"{found['smallest_side_px']} to {found['largest_side_px']} px"),
        ("captions", f"{counts.get('n_captions', 0)}, on {100 * counts.get('with_captions', 0) / images:.1f} %"),
        ("tags", f"{counts.get('n_tags', 0)}, on {100 * counts.get('with_tags', 0) / images:.1f} %"),
        ("regions", f"{counts.get('n_regions', 0)}, on {100 * counts.get('with_regions', 0) / images:.1f} %"),
    ]
    if counts.get("n_regions"):
        parts = ("labelled", "region_captions", "has_mask", "n_stuff")
        shown = ", ".join(f"{counts.get(name, 0)} {label}" for name, label in zip(parts, _REGION_PARTS, strict=True))
        rows.append(("of them", shown))
    if found["things"]:
        rows.append((f"things ({found['different_things']})", _listed(found["things"])))
    if found["stuff"]:
        rows.append((f"stuff ({found['different_stuff']})", _listed(found["stuff"])))
    if manifest.classes is not None:
        classes = manifest.classes
        named = f"{len(classes.things)} things, {len(classes.stuff)} stuff, {len(classes.held_out)} held out"
        rows.append(("classes of the benchmark", named))
    for title, name in _NAMED:
        if found.get(name):
            rows.append((title, _listed(found[name])))
    if counts.get("rewritten"):
        rows.append(("images written anew", f"{counts['rewritten']}"))
    return rows


def _size(manifest: Manifest) -> str:
    return f"{sum(shard.bytes for shard in manifest.shards) / 1e6:.1f} MB"


def _listed(counts: dict[str, int]) -> str:
    named = [f"{name} {number}" for name, number in list(counts.items())[:_LISTED]]
    return ", ".join(named) + (f", and {len(counts) - _LISTED} more" if len(counts) > _LISTED else "")


def open_dataset(where: str) -> tuple[Place, Manifest]:
    """A dataset in a folder or in S3.

    Raises:
        DataError: there is none; names what is missing.
    """
    place = place_at(where)
    manifest = read_manifest_at(place.path if isinstance(place, Folder) else where)
    if not manifest.samples:
        raise DataError(f"{where}: expected at least one sample, the manifest lists none")
    return place, manifest


def opened(where: str) -> dict[str, tuple[Place, Manifest]]:
    """The dataset at a place, or those below it, by what to call them.

    Raises:
        DataError: there is none.
    """
    place = place_at(where)
    if isinstance(place, Folder):
        return {str(folder): (Folder(folder), manifest) for folder, manifest in datasets(place.path).items()}
    inner = [name for name in SPLITS if place.exists(f"{name}/{MANIFEST}")]
    if place.exists(MANIFEST) or not inner:
        return {where: open_dataset(where)}
    return {f"{where.rstrip('/')}/{name}": open_dataset(f"{where.rstrip('/')}/{name}") for name in inner}


def statistics(where: str) -> list[Summary]:
    """What each dataset at a place holds.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    found = []
    for name, (place, manifest) in opened(where).items():
        if place.exists(STATISTICS):
            numbers = json.loads(place.read(STATISTICS, _STATISTICS_BYTES))
        else:
            numbers = measure(place, manifest).as_json()
        found.append(Summary(f"data: {name}", tuple(describe(numbers, manifest))))
    return found


def head(where: str, count: int) -> Iterator[Summary]:
    """The first samples of each dataset at a place, one table each.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    for name, (place, manifest) in opened(where).items():
        samples = (raw for info in manifest.shards for raw in ShardAt(place, info).samples())
        for raw in itertools.islice(samples, count):
            record = stored_record(raw.json, key=raw.key, where=f"{name}:{raw.key}")
            yield Summary(f"{name}: {record.key}", tuple(_sample_rows(record, raw.extension, len(raw.image))))


def _sample_rows(record: ImageRecord, extension: str, size: int) -> Iterator[tuple[str, str]]:
    yield "image", f"{extension}, {record.width} x {record.height}, {size / 1e3:.1f} kB"
    from_where = [record.source.dataset, record.source.url, record.source.license]
    yield "source", ", ".join(part for part in from_where if part)
    for caption in record.captions or []:
        yield f"caption ({caption.source})", caption.text
    if record.tags:
        yield "tags", ", ".join(tag.text for tag in record.tags)
    if record.negative_tags:
        yield "not there", ", ".join(tag.text for tag in record.negative_tags)
    for region in record.regions or []:
        texts = [text.text for text in [*(region.tags or []), *(region.captions or [])]]
        box = ", ".join(f"{side:g}" for side in region.box_xyxy)
        kind = "stuff" if region.is_stuff else "crowd" if region.is_crowd else "thing"
        masked = " with mask" if region.mask else ""
        yield f"region {region.id}", f"{kind}{masked} [{box}]: {'; '.join(dict.fromkeys(texts)) or '(no text)'}"
