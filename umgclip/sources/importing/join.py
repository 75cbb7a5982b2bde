"""Last step of an import: the parts become one dataset without duplicates, with joined tables and a manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from umgclip import __version__
from umgclip.data.wording import first_spellings, name_key
from umgclip.errors import DataError, InputError
from umgclip.io import tables
from umgclip.io.atomic import sha256_json
from umgclip.io.manifest import ClassList, MadeBy, Manifest, ShardInfo
from umgclip.io.places import Folder, Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import stored_record
from umgclip.sources.importing.duplicates import ImageIndex, RepeatedImage
from umgclip.sources.importing.parts import TABLES, ImportContext, ImportPart
from umgclip.sources.importing.rewriting import Rewriting
from umgclip.sources.importing.samples import OTHER_PART, quarantine_rows
from umgclip.sources.note import Problem
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.stage import begin

OUTPUTS = ("images", "regions", "quarantine")
_MOST_CLASSES = 100_000
_MARKER_BYTES = 256 << 20
_LOOKED_UP, _COPIED = 500, 10_000  # rows at once


@dataclass(frozen=True)
class ExistingDataset:
    """The dataset that an import adds to, and where it is stored."""

    manifest: Manifest
    source: Place


@dataclass(frozen=True)
class FinishedImport:
    """A dataset that is ready to be published: shards where they are stored, tables in `folder`.

    `replaced` holds the names of shards for which others were written.
    """

    manifest: Manifest
    shards: list[ShardAt]
    folder: Path
    counts: Counter[str]
    unknown: Counter[str]
    told: Counter[str]
    replaced: frozenset[str]


@dataclass(frozen=True)
class _Group:
    """Tables of one part or dataset, and the shards that they describe."""

    tables: dict[str, Path]
    shards: list[str]


def join_parts(
    context: ImportContext, parts: list[ImportPart], plan: ImportPlan, before: ExistingDataset | None, folder: Path
) -> FinishedImport:
    """Join the finished parts of an import into one dataset.

    Args:
        context: the import that is under way.
        parts: its parts.
        plan: its plan.
        before: the existing dataset that is kept, if any.
        folder: an empty local folder for tables and new shards.

    Raises:
        DataError: no image could be imported.
        InputError: a held-out class is not among the classes.
    """
    index = ImageIndex(folder / "index.sqlite")
    stored: dict[str, ShardAt] = {}
    groups: list[_Group] = []
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    told = Counter(plan.told())
    if before is not None:
        groups.append(_group_before(before, folder))
        stored |= {info.path: ShardAt(before.source, info) for info in before.manifest.shards}
        index.add(_keys(groups[0].tables["images"]))
    advance = begin("joining parts", len(parts), "parts")
    for part in parts:
        marker = json.loads(context.parts.read(part.marker, _MARKER_BYTES))
        group = _Group(_part_tables(context.parts, part, folder), [info["path"] for info in marker["shards"]])
        groups.append(group)
        infos = (ShardInfo(**info, dataset=context.request.name) for info in marker["shards"])
        stored |= {info.path: ShardAt(context.shards, info) for info in infos}
        index.add(_keys(group.tables["images"]))
        index.drop(RepeatedImage(**row) for row in _rows(group.tables["again"]))
        counts.update(marker["counts"])
        unknown.update(marker["unknown"])
        told.update(marker["told"])
        advance(1)
    begin("joining tables")
    told.update(plan.left_over(told))
    index.finish()
    rewriting = Rewriting(index, stored, folder)
    rewriting.run()
    for name in ("images", "regions"):
        _join(folder / f"{name}.parquet", name, groups, rewriting, index)
    counts.update(_join_quarantine(folder / "quarantine.parquet", groups, plan, index, rewriting.conflicts))
    index.close()
    shards = [rewriting.changed.get(name, shard) for name, shard in stored.items()]
    shards = [shard for shard in shards if shard.info.samples]
    if not shards:
        if (share := context.request.hold_out) is not None and told.keys() & set(OTHER_PART.values()):
            raise DataError(
                f"{context.request.source}: hold_out {share:g} leaves no image for {context.request.split}; import "
                f"more images, choose another --hold-out, or import a source for each split"
            )
        raise DataError(
            f"{context.request.source}: expected images to import, could import none: {_worst(folder, counts, plan)}"
        )
    manifest = _manifest(
        context, [shard.info for shard in shards], _classes(context.request, plan, folder, before), before
    )
    return FinishedImport(manifest, shards, folder, counts, unknown, told, frozenset(rewriting.changed))


def _worst(folder: Path, counts: Counter[str], plan: ImportPlan) -> str:
    """Summarise the reasons why images were refused, with counts and an example, and the files that are not read."""
    rows = pq.read_table(folder / "quarantine.parquet", columns=["reason", "shard", "detail"])
    named = ", ".join(f"{one['counts']} {one['values']}" for one in rows["reason"].value_counts().to_pylist()[:5])
    if rows.num_rows:
        first = rows.slice(0, 1).to_pylist()[0]
        named += f" ({first['shard']}: {' '.join(first['detail'].split())[:200]})"
    others = ", ".join(f"{number} {suffix}" for suffix, number in list((plan.fact("other_files") or {}).items())[:5])
    return (named or f"{counts['images']} image files found") + (f"; not read: {others}" if others else "")


def _part_tables(parts: Place, part: ImportPart, folder: Path) -> dict[str, Path]:
    """Return a part's tables as local files."""
    return {name: _local(parts, part.table(name), folder) for name in TABLES}


def _local(origin: Place, name: str, folder: Path) -> Path:
    """Return a file as a local path; download it if it is in S3."""
    if isinstance(origin, Folder):
        return origin.path / name
    path = folder / f"fetched-{name}"
    with origin.open(name) as stream, path.open("wb") as target:
        while piece := stream.read(1 << 20):
            target.write(piece)
    return path


def _group_before(before: ExistingDataset, folder: Path) -> _Group:
    """Return the tables of the existing dataset; build them from its shards if it has none."""
    shards = [info.path for info in before.manifest.shards]
    if all(before.source.exists(f"{name}.parquet") for name in OUTPUTS):
        return _Group({name: _local(before.source, f"{name}.parquet", folder) for name in OUTPUTS}, shards)
    made = {name: folder / f"before-{name}.parquet" for name in OUTPUTS}
    writers = {name: tables.TableWriter(path, TABLES[name]) for name, path in made.items()}
    for info in before.manifest.shards:
        for raw in ShardAt(before.source, info).samples():
            record = stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}")
            about = {"format": raw.extension, "bytes": len(raw.image)}
            writers["images"].add([{**tables.image_row(record, info.path), **about}])
            writers["regions"].add([tables.region_row(record, region) for region in record.regions or []])
    for writer in writers.values():
        writer.close()
    return _Group(made, shards)


def _rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    for batch in _batches(path, columns):
        yield from batch.to_pylist()


def _batches(path: Path, columns: list[str] | None = None, size: int = 2000) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as table:
        yield from table.iter_batches(size, columns=columns)


def _keys(path: Path) -> Iterator[tuple[str, str, str]]:
    for row in _rows(path, ["key", "shard", "name"]):
        yield row["key"], row["shard"], row["name"] or row["key"]


def _join(path: Path, name: str, groups: Iterable[_Group], rewriting: Rewriting, index: ImageIndex) -> None:
    """Join the groups' tables into one; rows of rewritten shards come from the new shards."""
    writer = tables.TableWriter(path, TABLES[name])
    for group in groups:
        unchanged = set(group.shards) - set(rewriting.changed)
        for batch in _batches(group.tables[name], size=_LOOKED_UP if rewriting.changed else _COPIED):
            if rewriting.changed:
                keys = batch.column("key").to_pylist()
                shard_of = index.shards_of(keys)
                batch = batch.filter(pa.array([shard_of.get(key) in unchanged for key in keys]))
            writer.add_batch(batch)
        for shard in group.shards:
            if shard in rewriting.changed:
                for batch in _batches(rewriting.table(shard, name)):
                    writer.add_batch(batch)
    writer.close()


def _join_quarantine(
    path: Path, groups: Iterable[_Group], plan: ImportPlan, index: ImageIndex, conflicts: set[str]
) -> dict[str, int]:
    """Join the quarantine rows of plan, parts and duplicates; return the number of duplicates."""
    writer = tables.TableWriter(path, tables.QUARANTINE)
    for name, problem in plan.problems():
        writer.add(quarantine_rows(name, None, [problem]))
    for group in groups:
        for batch in _batches(group.tables["quarantine"]):
            writer.add_batch(batch)
    count = 0
    for repeat in index.all_repeats():
        count += 1
        reason = "conflicting_class" if repeat.name in conflicts else "duplicate"
        detail = f"the same image as {repeat.key}" + (
            ", which has another class and keeps it" if reason != "duplicate" else ""
        )
        writer.add(quarantine_rows(repeat.name, repeat.key, [Problem(reason, detail)]))
    writer.close()
    return {"duplicates": count}


def _classes(request: Request, plan: ImportPlan, folder: Path, before: ExistingDataset | None) -> ClassList | None:
    """Return the classes of a benchmark: those that its source lists, else the labels of its regions."""
    if request.split != "benchmark":
        return None
    listed = plan.fact("classes") or _seen_classes(folder)
    had = before.manifest.classes if before is not None else None
    lists: list[dict[str, Any]] = [(had.model_dump() if had else {}), listed or {}, {"held_out": request.held_out}]
    things, stuff = (_spelled(classes.get(name) or [] for classes in lists) for name in ("things", "stuff"))
    held_out, templates = (
        list(dict.fromkeys(item for classes in lists for item in classes.get(name) or []))
        for name in ("held_out", "templates")
    )
    names, groups = (_joined(classes.get(name) or {} for classes in lists) for name in ("names", "groups"))
    known = first_spellings([*things, *stuff])
    unknown = [name for name in held_out if name_key(name) not in known]
    if unknown:
        raise InputError(f"held_out: expected names of classes ({', '.join(things[:5])}, ...), got {unknown}")
    if not known:
        return None
    held_out = list(dict.fromkeys(name if name in {*things, *stuff} else known[name_key(name)] for name in held_out))
    more = {"names": names or None, "templates": templates or None, "groups": groups or None}
    return ClassList(things=things, stuff=stuff, held_out=held_out, **more)


def _spelled(lists: Iterable[list[str]]) -> list[str]:
    """Merge lists of names; a name that an earlier list spells differently keeps the earlier spelling."""
    merged: list[str] = []
    known: set[str] = set()
    for names in lists:
        merged += [name for name in names if name_key(name) not in known]
        known |= set(map(name_key, names))
    return list(dict.fromkeys(merged))


def _joined(tables: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    joined: dict[str, list[str]] = {}
    for table in tables:
        for name, values in table.items():
            joined[name] = list(dict.fromkeys([*joined.get(name, []), *values]))
    return joined


def _seen_classes(folder: Path) -> dict[str, list[str]]:
    """Collect the labels of all regions, as things and stuff."""
    seen: dict[str, set[str]] = {"things": set(), "stuff": set()}
    for batch in _batches(folder / "regions.parquet", ["label", "is_stuff"], size=100_000):
        for name, chosen in (("stuff", batch.column("is_stuff")), ("things", pc.invert(batch.column("is_stuff")))):
            seen[name].update(batch.column("label").filter(chosen).unique().drop_null().to_pylist())
        if sum(map(len, seen.values())) > _MOST_CLASSES:
            raise DataError(f"benchmark: expected at most {_MOST_CLASSES} classes, got more labels")
    return {name: list(first_spellings(sorted(labels)).values()) for name, labels in seen.items()}


def _manifest(
    context: ImportContext, shards: list[ShardInfo], classes: ClassList | None, before: ExistingDataset | None
) -> Manifest:
    decides = {"request": context.request.decides(), "params": context.params.decisive()}
    made_by = MadeBy(
        stage="import",
        params_sha256=sha256_json(decides),
        code_version=__version__,
        input_sha256=before.manifest.digest() if before else None,
    )
    notes = {"kind": context.request.kind, "name": context.request.name, "split": context.request.split}
    if context.request.license:
        notes["license"] = context.request.license
    return Manifest(made_by=made_by, shards=shards, classes=classes, notes=notes)
