"""Predictions that `umgclip evaluate` wrote: what each model makes of the true regions of the images shown.

A guess is the best name of a region, or of the whole image, by each model in turn, and whether it is the true one.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from umgclip.browse.cards import Card
from umgclip.browse.quarantines import explained, table_of
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import write_bytes
from umgclip.io.places import Place
from umgclip.io.tables import PREDICTIONS

TABLE, CASES, REPORT = "predictions.parquet", "cases.json", "report.html"
_BATCH, _CHARS, _MOST_MODELS = 10_000, 2000, 16
_REPORT_BYTES = 256 << 20
# the report shows its links to the gallery where its root says so
_PLAIN, _MARKED = b'<html lang="en">', b'<html lang="en" data-gallery>'
Answer = tuple[str, float, bool | None]


@dataclass
class RegionGuess:
    """The names that models give to a region, or to the image if `region` is None.

    Attributes:
        region: id of the region in its record.
        truth: the true name, or the dataset's label; None if there is none.
        by: name, probability and whether it is the truth (None: unknown) for each model; None where one says nothing.
    """

    region: str | None
    truth: str | None
    by: list[Answer | None]


@dataclass
class Predicted:
    """Guesses by key of the image, the names of the models, and the kinds of the report's images by key."""

    models: list[str]
    guesses: dict[str, list[RegionGuess]] = field(default_factory=dict)
    cases: dict[str, list[str]] = field(default_factory=dict)


def read_cases(folder: Place) -> dict[str, list[str]]:
    """Read which images the report shows, and why: `worst`, `lost`, `gained` or `best`.

    Raises:
        InputError: the folder is none that `evaluate` wrote.
        DataError: the file is damaged.
    """
    if not folder.exists(TABLE):
        raise InputError(
            f"--predictions: expected a folder that `umgclip evaluate` wrote, with {TABLE}, found none in {folder}; "
            f"older versions did not write it: evaluate again"
        )
    if not folder.exists(CASES):
        return {}
    try:
        galleries = json.loads(folder.read(CASES, 1 << 24))
        pairs = [(key, kind) for kinds in galleries.values() for kind, keys in kinds.items() for key in keys]
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{folder}: {CASES}: expected keys of images by kind, got something else ({error})") from error
    kinds_of: dict[str, list[str]] = {}
    for key, kind in pairs:
        kinds_of.setdefault(str(key), []).append(str(kind))
    return kinds_of


def read_predictions(folder: Place, keys: Collection[str], scratch: Path) -> Predicted:
    """Read the predictions about some images; the table may have any length.

    Raises:
        DataError: the table is damaged, another one, or too large to be copied from S3.
    """
    table = table_of(folder, TABLE, scratch)
    if table is None:
        raise DataError(f"{folder}: {TABLE}: expected a table that can be copied, got one of too many bytes")
    wanted = pa.array(sorted(keys), pa.string())
    rows: list[dict[str, Any]] = []
    with explained(table), pq.ParquetFile(table) as file:
        missing = set(PREDICTIONS.names) - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{table}: expected a table of predictions, got no column {sorted(missing)[0]!r}")
        models: dict[str, None] = {}
        for batch in file.iter_batches(_BATCH, columns=PREDICTIONS.names):
            models |= dict.fromkeys(batch["model"].unique().to_pylist())
            rows += batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist()
    if len(models) > _MOST_MODELS:
        raise DataError(f"{table}: expected at most {_MOST_MODELS} models, got {len(models)}")
    return _joined(rows, list(models))


def _joined(rows: list[dict[str, Any]], models: list[str]) -> Predicted:
    predicted, index = Predicted([_cut(model) for model in models]), {model: i for i, model in enumerate(models)}
    known: dict[tuple[str, str | None], RegionGuess] = {}
    for row in rows:
        place = (row["key"], row["region_id"])
        if place not in known:
            known[place] = RegionGuess(row["region_id"], _cut(row["truth"]), [None] * len(models))
            predicted.guesses.setdefault(row["key"], []).append(known[place])
        answer = (_cut(row["label"]), round(row["score"], 4), row["label"] == row["truth"])
        known[place].by[index[row["model"]]] = answer
    return predicted


def add_guesses(card: Card, guesses: list[RegionGuess], kinds: list[str]) -> None:
    """Put guesses on the card of their image, each with the position of its region; those of no region shown are lost.

    Args:
        card: card of an image.
        guesses: what models make of it.
        kinds: the kinds of images among which the report shows it.
    """
    position = {region["id"]: index for index, region in enumerate(card.get("regions") or [])}
    shown = [guess for guess in guesses if guess.region is None or guess.region in position]
    if shown:
        card["guesses"] = [
            asdict(guess) | {"region": None if guess.region is None else position[guess.region]} for guess in shown
        ]
    if kinds:
        card["cases"] = kinds


def copy_report(folder: Place, out: Path) -> bool:
    """Copy the report beside the gallery, with its links to the gallery; return whether there is one."""
    if not folder.exists(REPORT):
        return False
    page = folder.read(REPORT, _REPORT_BYTES)
    write_bytes(out / REPORT, page.replace(_PLAIN, _MARKED, 1))
    return True


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _CHARS else f"{text[:_CHARS]} … ({len(text)} characters)"
