"""Writer of a gallery: a folder that a browser opens without a server and without the network."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from umgclip import __version__
from umgclip.browse import cards, quarantines
from umgclip.browse.cards import Card
from umgclip.browse.classifying import Classifiers
from umgclip.browse.predictions import add_guesses, copy_report, read_cases, read_predictions
from umgclip.browse.quarantines import Fault
from umgclip.browse.reading import Wanted, draw, pick
from umgclip.browse.settings import Selection
from umgclip.errors import DataError
from umgclip.io.atomic import GALLERY, replaced_folder, write_bytes, write_json
from umgclip.io.manifest import Manifest
from umgclip.io.places import Folder, Place, fetch
from umgclip.pages.style import style_sheet
from umgclip.stage import Summary

STATIC = Path(__file__).with_name("static")
PAGE, ABOUT, DATA, PICTURES = "index.html", "gallery.json", "data.js", "images"
QUARANTINE, TABLE, REJECTED = "quarantine.parquet", "images.parquet", "rejected.parquet"
STATES = ("accepted", "partly", "quarantined", "unreadable")
_IN_WORDS = {"partly": "accepted in part"}


@dataclass(frozen=True)
class Inputs:
    """The dataset and what is shown beside it.

    Attributes:
        dataset: a folder or S3 prefix.
        manifest: of the dataset.
        quarantines: quarantines of later stages about it: local files or `s3://` URLs.
        predictions: what `evaluate` wrote about it, or None.
        classifiers: models that name the regions shown, or None; not both.
    """

    dataset: Place
    manifest: Manifest
    quarantines: Sequence[str] = ()
    predictions: Place | None = None
    classifiers: Classifiers | None = None


@dataclass
class _Quarantine:
    """Quarantines as local files: the dataset's and those of later stages; images to show, and their shards."""

    imported: list[Path]
    later: list[Path]
    chosen: quarantines.ChosenImages
    cases: dict[str, list[str]]  # images of the report of an evaluation, which are shown too
    shards: dict[str, str] | None  # None: without a table, the images are searched in every shard that is read
    notes: list[str] = field(default_factory=list)


def write_gallery(selection: Selection, inputs: Inputs, out: Path, advance: Callable[[int], None]) -> Summary:
    """Write the gallery; an older one in `out` is replaced.

    Besides the page, `out` holds `gallery.json` with what was read and counted.

    Args:
        selection: size of the sample.
        inputs: the dataset and its quarantines.
        out: folder to write.
        advance: called with the number of images written.

    Raises:
        DataError: a quarantine is damaged, or no shard can be read.
        InputError: `out` holds something else.
        OutputError: `out` cannot be written.
    """
    with replaced_folder(out, GALLERY) as folder, tempfile.TemporaryDirectory(prefix="umgclip-browse-") as scratch:
        (folder / PICTURES).mkdir()
        quarantine = _look(inputs, selection, Path(scratch))
        wanted = _plan(inputs.manifest, quarantine, selection)
        shown = _Shown(folder, selection, inputs.classifiers)
        for shard, samples in wanted.items():
            shown.add(inputs.dataset, shard, samples, advance)
        if not shown.cards:
            raise DataError("\n  ".join(["no shard could be read:", *shown.problems[:5]]))
        for name in quarantine.chosen.names:
            shown.add_missing(name, quarantine.shards, advance)
        _add_names(inputs.dataset, shown)
        imported, later = (
            quarantines.collect(tables, shown.names) for tables in (quarantine.imported, quarantine.later)
        )
        for card in shown.cards:
            _set_state(card, imported.get(card["key"], []), later.get(card["key"], []))
        about = _about(inputs, selection, quarantine, shown)
        about |= _add_predictions(inputs, quarantine.cases, shown, Path(scratch), folder)
        about["rejected"] = _add_rejected(quarantines.table_of(inputs.dataset, REJECTED, Path(scratch)), shown)
        _write_page(folder, about, shown.cards)
    return _summary(out, about)


class _Shown:
    """Cards of the gallery, made as samples come; pictures are written to files at once."""

    def __init__(self, folder: Path, selection: Selection, classifiers: Classifiers | None) -> None:
        self._folder, self._side, self._classifiers = folder, selection.side_px, classifiers
        self.cards: list[Card] = []
        self.names: set[str] = set()
        self.problems: list[str] = []
        self.shards: dict[str, int] = {}

    def add(self, dataset: Place, shard: str, wanted: Wanted, advance: Callable[[int], None]) -> None:
        self.shards[shard] = 0
        try:
            for sample in pick(dataset, shard, wanted):
                card, picture = cards.describe(sample, self._side)
                if picture is not None:
                    card["file"] = f"{PICTURES}/{len(self.cards):06d}.jpg"
                    (self._folder / card["file"]).write_bytes(picture)
                card["drawn"] = sample.position in wanted.positions
                if self._classifiers is not None:
                    add_guesses(card, self._classifiers.guess(sample), [])
                self.cards.append(card)
                self.names.add(sample.key)
                self.shards[shard] += 1
                advance(1)
        except DataError as error:
            self.problems.append(str(error))

    def add_missing(self, name: str, shards: Mapping[str, str] | None, advance: Callable[[int], None]) -> None:
        if name in self.names:
            return
        if shards is not None and name not in shards:
            why = "not in the dataset: the source's image could not be imported, or was left out"
        elif shards is not None and shards[name] not in self.shards:
            why = f"in {shards[name]}, which was not read; raise --shards to read more"
        else:
            why = "not in the shards that were read"
        self.cards.append({**cards.missing(name, why), "drawn": False})
        self.names.add(name)
        advance(1)


def _look(inputs: Inputs, selection: Selection, scratch: Path) -> _Quarantine:
    dataset, notes = inputs.dataset, []
    imported = quarantines.table_of(dataset, QUARANTINE, scratch)
    later = []
    for number, where in enumerate(inputs.quarantines):
        (scratch / str(number)).mkdir()
        later.append(fetch(where, scratch / str(number)))
    of_dataset = [imported] if imported is not None else []
    chosen = quarantines.choose([*of_dataset, *later], selection.quarantined, selection.seed)
    cases = {} if inputs.predictions is None else read_cases(inputs.predictions)
    searched = {*chosen.names, *cases}
    table = quarantines.table_of(dataset, TABLE, scratch) if searched else None
    if chosen.names and table is None:
        notes.append(f"no {TABLE}: quarantined images are searched only in the shards that are read")
    shards = quarantines.shards_of(table, searched) if table is not None else None
    return _Quarantine(of_dataset, later, chosen, cases, shards, notes)


def _plan(manifest: Manifest, quarantine: _Quarantine, selection: Selection) -> dict[str, Wanted]:
    """Choose the samples to read from each shard, in the manifest's order."""
    drawn = draw(manifest, selection.count, selection.shards, selection.seed)
    if quarantine.shards is None:
        every = frozenset({*quarantine.chosen.names, *quarantine.cases})
        return {shard: Wanted(wanted.positions, every) for shard, wanted in drawn.items()}
    known = {shard.path for shard in manifest.shards}
    keys: dict[str, set[str]] = {}
    for name, shard in quarantine.shards.items():
        keys.setdefault(shard, set()).add(name)
    # shards with most of these images first; shards that are read anyway cost nothing
    others = sorted((known & keys.keys()) - drawn.keys(), key=lambda shard: (-len(keys[shard]), shard))
    read = {*drawn, *others[: selection.shards]}
    return {
        shard.path: Wanted(drawn.get(shard.path, Wanted()).positions, frozenset(keys.get(shard.path, ())))
        for shard in manifest.shards
        if shard.path in read
    }


def _add_names(dataset: Place, shown: _Shown) -> None:
    """Name the images of an older import, whose table alone knows their names; an S3 table is not fetched for that."""
    nameless = {card["key"]: card for card in shown.cards if "source" in card and "name" not in card["source"]}
    if not nameless or not isinstance(dataset, Folder) or not dataset.exists(TABLE):
        return
    for key, name in quarantines.names_of(dataset.path / TABLE, nameless).items():
        nameless[key]["source"]["name"] = name


def _add_predictions(
    inputs: Inputs, cases: Mapping[str, list[str]], shown: _Shown, scratch: Path, folder: Path
) -> dict[str, Any]:
    """Add the predictions of an evaluation to the images shown, and its report to the folder; return what they are."""
    if inputs.classifiers is not None:
        return {"models": inputs.classifiers.names}
    if inputs.predictions is None:
        return {}
    predicted = read_predictions(inputs.predictions, shown.names, scratch)
    if not predicted.guesses:
        shown.problems.append(
            f"{inputs.predictions}: expected predictions about this dataset, got none about the images shown"
        )
    for card in shown.cards:
        add_guesses(card, predicted.guesses.get(card["key"], []), cases.get(card["key"], []))
    return {"models": predicted.models, "report": copy_report(inputs.predictions, folder)}


def _set_state(card: Card, imported: list[Fault], later: list[Fault]) -> None:
    """Set the state of an image; a row of the dataset's own quarantine does not exclude what the dataset holds."""
    card["faults"] = [asdict(fault) for fault in [*imported, *later]]
    inside = card["shard"] is not None
    if not inside or any(fault.region is None for fault in later):
        card["state"] = "quarantined"
    elif not card.pop("readable"):
        card["state"] = "unreadable"
    else:
        card["state"] = "partly" if card["faults"] else "accepted"
    card.pop("readable", None)


def _add_rejected(table: Path | None, shown: _Shown) -> list[tuple[str, int]]:
    """Add the answers that annotate's rules refused for the images shown; return all rows by reason."""
    reasons, answers = quarantines.collect_rejected(table, shown.names) if table is not None else (Counter(), {})
    for card in shown.cards:
        card["rejected"] = [asdict(one) for one in answers.get(card["key"], [])]
    return _frequent(reasons)


def _frequent(reasons: Counter[str]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))


def _about(inputs: Inputs, selection: Selection, quarantine: _Quarantine, shown: _Shown) -> dict[str, Any]:
    manifest = inputs.manifest
    states = Counter(card["state"] for card in shown.cards)
    return {
        "version": __version__,
        "dataset": str(inputs.dataset),
        "made_by": manifest.made_by.model_dump(),
        "samples": manifest.samples,
        "shards": len(manifest.shards),
        "shards_read": shown.shards,
        "selection": asdict(selection),
        "states": {state: states[state] for state in STATES},
        "not_read": sum(card["shard"] is None for card in shown.cards),
        "reasons": _frequent(quarantine.chosen.reasons),
        "notes": quarantine.notes,
        "problems": shown.problems,
    }


def _write_page(folder: Path, about: dict[str, Any], shown: list[Card]) -> None:
    """Write the page and its data; the data are text in a string in a script, so that nothing in them can run."""
    seed = about["selection"]["seed"]
    shown.sort(key=lambda card: hashlib.blake2b(f"{seed}/{card['key']}".encode("utf-8", "surrogatepass")).digest())
    content = json.dumps({"about": about, "cards": shown}, separators=(",", ":"))
    literal = json.dumps(content).replace("<", "\\u003c")
    write_bytes(folder / DATA, f"globalThis.GALLERY = JSON.parse({literal});\n".encode("ascii"))
    write_json(folder / ABOUT, about)
    for path in sorted(STATIC.iterdir()):
        if path.suffix == ".css":
            write_bytes(folder / path.name, style_sheet(path).encode())
        elif path.suffix in (".html", ".js"):
            shutil.copyfile(path, folder / path.name)


def _summary(out: Path, about: dict[str, Any]) -> Summary:
    absent = about["not_read"]  # all of them are quarantined
    read = Counter(about["states"]) - Counter(quarantined=absent)
    states = ", ".join(f"{read[state]} {_IN_WORDS.get(state, state)}" for state in STATES if read[state])
    rows = [
        ("page", str(out / PAGE)),
        ("images", f"{read.total()} of {about['samples']}: {states}"),
    ]
    if absent:
        rows.append(("quarantined besides", f"{absent}, not in the shards that were read"))
    rows.append(("shards read", f"{len(about['shards_read'])} of {about['shards']}"))
    for title, name in (("rows in quarantine", "reasons"), ("refused by rules", "rejected")):
        if about[name]:
            rows.append((title, ", ".join(f"{reason} {number}" for reason, number in about[name][:8])))
    rows += [("note", note) for note in about["notes"]]
    rows += [("cannot be read", problem) for problem in about["problems"][:5]]
    return Summary(f"data browse: {about['dataset']}", tuple(rows))
