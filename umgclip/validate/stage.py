"""The gate between annotation and training: check the tables, quarantine bad rows, stop if there are too many."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from umgclip.errors import DataError, GateError, InputError
from umgclip.io.atomic import explain_os_errors, fresh_folder, write_json
from umgclip.io.manifest import ClassList, read_manifest
from umgclip.io.shard_source import read_shard_at, shard_at
from umgclip.params import ValidateParams
from umgclip.records import stored_record
from umgclip.stage import Advance, Summary, begin
from umgclip.validate import measures, suites
from umgclip.validate.captions import canned
from umgclip.validate.divided import DividedKeys
from umgclip.validate.engine import Engine
from umgclip.validate.facts import FACT_NEEDS, DatasetFacts
from umgclip.validate.gate import Gate, TableCheck
from umgclip.validate.measures import Measure, add_measures
from umgclip.validate.page import DOCS, PAGE, write_page
from umgclip.validate.report import Passed, count_passed, gate_message, make_metrics, make_report
from umgclip.validate.rules import Rule
from umgclip.validate.slice import put_aside
from umgclip.validate.tables import IMAGE_COLUMNS, QUARANTINE_COLUMNS, REGION_COLUMNS, ColumnTable


@dataclass(frozen=True)
class ValidateInputs:
    """Paths that the stage reads, and those that it writes besides its output folder.

    Attributes:
        annotations: the annotated training set, with its flat tables.
        benchmark: the dataset that training must not have seen.
        vocabulary: JSON with the concepts: things, stuff, held_out.
        data_docs: folder for `index.html`, which stands alone, and Great Expectations' Data Docs below it, which hold
            times and need the network; replaced on every run.
        metrics: JSON file for the metrics.
    """

    annotations: Path
    benchmark: Path
    vocabulary: Path
    data_docs: Path
    metrics: Path


def run(params: ValidateParams, inputs: ValidateInputs, out: Path) -> Summary:
    """Check an annotated dataset, and close the gate if it is unfit for training.

    On success `out` holds `report.json` and `quarantine.parquet` (key, region_id, stage, reason, detail; a null
    region_id means the whole image). When the gate closes there is no `out`: the Data Docs hold
    `failed_report.json` and `failed_quarantine.parquet` instead. Metrics and Data Docs are written in both cases.

    Raises:
        GateError: a critical rule fails more often than tolerated, or a rule could not be checked.
        DataError: an input is missing, damaged or empty.
        InputError: more than half of the images are to be put aside.
        OutputError: a result cannot be written.
    """
    with fresh_folder(out) as working, tempfile.TemporaryDirectory(dir=working.parent, prefix=".keys.") as scratch:
        with fresh_folder(inputs.data_docs) as docs:
            engine = Engine(docs / DOCS)
            tables = _Tables.open(inputs, params, Path(scratch))
            _require_enough(tables, params)
            gate = Gate(engine, params)
            for table_check in _table_checks(params, inputs, tables):
                gate.check(table_check)
            quarantine = put_aside(gate.quarantine(), tables.keys_of_images(), params.leave_out)
            images, regions = _passed(tables, quarantine)
            begin("writing the quarantine and the Data Docs")
            report = make_report(gate.outcomes, images, regions, tables.dropped)
            with explain_os_errors(inputs.data_docs):
                engine.write_docs()
                write_page(docs, report, gate.outcomes, params)
                folder, prefix = (working, "") if report["passed"] else (docs, "failed_")
                pq.write_table(quarantine, folder / f"{prefix}quarantine.parquet")
            write_json(folder / f"{prefix}report.json", report)
        write_json(inputs.metrics, make_metrics(report))
        if not report["passed"]:
            raise GateError(gate_message(gate.outcomes, inputs.data_docs, params))
    touched = [f"{outcome.rule.name} ({outcome.failed})" for outcome in gate.outcomes if outcome.failed]
    absent = [outcome.rule.name for outcome in gate.outcomes if outcome.table == "dataset" and not outcome.checked]
    return Summary(
        "validate",
        (
            ("rules", f"{len(gate.outcomes)} checked, {len(touched)} with failing rows"),
            ("failing rows", ", ".join(touched) or "none"),
            *((("not checked, without captions or labels", ", ".join(absent)),) if absent else ()),
            ("images", f"{images.passed} of {images.total} pass ({images.share:.1%})"),
            ("regions", f"{regions.passed} of {regions.total} pass ({regions.share:.1%})"),
            *((("put aside for measuring", f"{params.leave_out}"),) if params.leave_out else ()),
            ("quarantined by annotate", f"{len(tables.dropped)}"),
            ("report", str(inputs.data_docs / PAGE)),
        ),
    )


@dataclass(frozen=True)
class _Tables:
    """The tables, their key columns part by part, and the images of which annotation withheld a label."""

    images: ColumnTable
    regions: ColumnTable
    keys: DividedKeys
    dropped: pd.DataFrame
    withheld: frozenset[str]

    @classmethod
    def open(cls, inputs: ValidateInputs, params: ValidateParams, scratch: Path) -> _Tables:
        images = ColumnTable(inputs.annotations / "images.parquet", IMAGE_COLUMNS)
        regions = ColumnTable(inputs.annotations / "regions.parquet", REGION_COLUMNS, may_be_empty=True)
        dropped = ColumnTable(inputs.annotations / "quarantine.parquet", QUARANTINE_COLUMNS, may_be_empty=True)
        for problem in dropped.problems.values():
            raise DataError(problem)
        advance = begin("reading the tables", images.rows + regions.rows, "rows")
        return cls(
            images,
            regions,
            DividedKeys(images, regions, params.chunk_rows, scratch, advance),
            dropped.whole("key", "region_id", "reason"),
            _withheld(inputs.annotations / "rejected.parquet"),
        )

    def keys_of_images(self) -> Iterator[str]:
        """Yield the keys of all images; those without one are left out."""
        for part in self.keys:
            yield from (key for key in part.images.get("key", ()) if isinstance(key, str))

    def names(self, keys: Collection[str], rows: int) -> pd.DataFrame:
        """Return `key` and `name` of the tags of some images and of the labels of their regions."""
        wanted, parts = list(keys), []
        for table, column in ((self.images, "tags"), (self.regions, "label")):
            for frame in table.chunks(rows, ("key", column)):
                named = frame.reindex(columns=["key", column]).astype("str")
                some = named[named["key"].isin(wanted)].rename(columns={column: "name"})
                if column == "tags":
                    some = some.assign(name=some["name"].str.split("|")).explode("name")
                parts.append(some)
        return pd.concat(parts).astype("str").dropna().reset_index(drop=True)


def _passed(tables: _Tables, quarantine: pa.Table) -> tuple[Passed, Passed]:
    """Count images and regions that no quarantined row touches, part by part."""
    keys = tables.keys
    advance = begin("counting what passes", tables.images.rows + tables.regions.rows, "rows")
    faults = quarantine.select(["key", "region_id"]).to_pandas().astype("str")
    parts = keys.part_of(faults["key"])
    images, regions = Passed(0, 0, 0), Passed(0, 0, 0)
    for part in keys:
        of_images, of_regions = count_passed(part.images, part.regions, faults[parts == part.number])
        images, regions = images + of_images, regions + of_regions
        advance(len(part.images) + len(part.regions))
    return images, regions


def _require_enough(tables: _Tables, params: ValidateParams) -> None:
    """Compare the images to put aside with those that there are; training needs the others."""
    if not params.leave_out:
        return
    images = sum(part.images.get("key", pd.Series(dtype="str")).nunique() for part in tables.keys)
    if params.leave_out > images // 2:
        raise InputError(
            f"validate.leave_out: expected at most {images // 2}, half of the {images} annotated images, "
            f"got {params.leave_out}"
        )


def _table_checks(params: ValidateParams, inputs: ValidateInputs, tables: _Tables) -> Iterator[TableCheck]:
    concepts = read_vocabulary(inputs.vocabulary)
    images, regions, keys = tables.images, tables.regions, tables.keys
    known = {*concepts.things, *concepts.stuff}
    of_image = measures.image_measures(params, known, _canned(tables, images, params, known))
    yield _table_check("images", suites.image_rules(params), _chunks(images, of_image, params), images, of_image)

    of_region = measures.region_measures(params, _canned(tables, regions, params, known))
    chunks = _chunks(regions, of_region, params)
    yield _table_check("regions", suites.region_rules(params, concepts), chunks, regions, of_region)

    begin("reading the benchmark")
    content = measures.content_measures(benchmark_hashes(inputs.benchmark), keys.first_copies)
    advance = begin("comparing images", images.rows, "rows")
    frames = (_counted(add_measures(part.images, content), advance) for part in keys)
    yield _table_check("image_keys", suites.image_key_rules(), frames, images, content)

    owners = measures.owner_measures(None if "key" in images.problems else pd.Series(dtype="str"))
    advance = begin("comparing regions", regions.rows, "rows")
    frames = (
        _counted(add_measures(part.regions, measures.owner_measures(part.images.get("key"))), advance) for part in keys
    )
    problems = regions.problems | {f"images.{name}": text for name, text in images.problems.items()}
    needs = {measure.name: measure.needs for measure in owners}
    yield TableCheck("region_keys", suites.region_key_rules(), frames, problems, needs)

    advance = begin("counting figures of the whole dataset", images.rows + regions.rows, "rows")
    facts = DatasetFacts(tables.dropped, tables.withheld)
    for part in keys:
        facts.add(part.images, part.regions)
        advance(len(part.images) + len(part.regions))
    problems = regions.problems | images.problems
    figures = iter([facts.frame()])
    yield TableCheck("dataset", suites.dataset_rules(params), figures, problems, FACT_NEEDS, rows_have_keys=False)


def _counted(frame: pd.DataFrame, advance: Advance) -> pd.DataFrame:
    """Return a frame after its rows were counted."""
    advance(len(frame))
    return frame


def _withheld(path: Path) -> frozenset[str]:
    """Return the images of which the precision of labels refused one; without such a table there are none.

    Raises:
        DataError: the table cannot be read.
    """
    if not path.is_file():
        return frozenset()
    try:
        rows = pq.read_table(path, columns=["key", "reason"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: expected a table with the columns key and reason, got {error}") from error
    return frozenset(rows.filter(pc.equal(rows["reason"], "precision"))["key"].drop_null().to_pylist())


def _canned(tables: _Tables, table: ColumnTable, params: ValidateParams, known: Collection[str]) -> frozenset[str]:
    """Return the captions of a table that are canned answers; none if it has no captions or keys."""
    if not {"key", "caption"}.isdisjoint(table.problems):
        return frozenset()
    rows = params.chunk_rows

    def read() -> Iterator[pd.DataFrame]:
        advance = begin(f"looking for canned captions in {table.path.name}", table.rows, "rows")
        return (_counted(frame, advance) for frame in table.chunks(rows, ("key", "caption")))

    return canned(read, params.canned_images_min, known, partial(tables.names, rows=rows))


def _table_check(
    name: str,
    rules: tuple[Rule, ...],
    frames: Iterator[pd.DataFrame],
    table: ColumnTable,
    added: tuple[Measure, ...],
) -> TableCheck:
    return TableCheck(name, rules, frames, table.problems, {measure.name: measure.needs for measure in added})


def _chunks(table: ColumnTable, added: tuple[Measure, ...], params: ValidateParams) -> Iterator[pd.DataFrame]:
    advance = begin(f"checking {table.path.name}", table.rows, "rows")
    for frame in table.chunks(params.chunk_rows):
        yield add_measures(frame, added)
        advance(len(frame))


def read_vocabulary(path: Path) -> ClassList:
    """Read the concepts that labels and tags may name.

    Raises:
        DataError: no such file, or not the lists things, stuff and held_out.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected the vocabulary of the annotate stage, found none")
    try:
        concepts = ClassList.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or 'vocabulary'}: {first['msg']}") from error
    return concepts


def benchmark_hashes(folder: Path) -> Mapping[str, str]:
    """Map the SHA-256 of each benchmark image's content to the image's key.

    Raises:
        DataError: the benchmark is missing or damaged.
    """
    hashes: dict[str, str] = {}
    for shard in read_manifest(folder).shards:
        path = shard_at(folder, shard.path)
        for sample in read_shard_at(path, shard.sha256):
            hashes[stored_record(sample.json, key=sample.key, where=f"{path}:{sample.key}").sha256] = sample.key
    return hashes
