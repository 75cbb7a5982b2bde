"""Import what people corrected: an export of a labelling tool becomes corrections, joined with earlier ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from umgclip.data.corrections import CORRECTIONS, Correction, file_of, open_corrections
from umgclip.errors import InputError
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import ImageRecord, stored_record
from umgclip.review.answer import ImageAnswer, Unusable
from umgclip.review.comparison import Comparison, is_unchanged
from umgclip.review.labels import LabelNames, count_labels, vocabulary_for
from umgclip.review.merging import CONFLICTS, QUARANTINE, earlier_corrections, merged, new_conflicts, write_corrections
from umgclip.review.shown import ABOUT, SHOWN, Asked, ShownImages, Tool, read_shown, shown_captions, shown_regions
from umgclip.review.tools.cvat import read_cvat
from umgclip.review.tools.fiftyone_answers import read_fiftyone
from umgclip.review.tools.label_studio_answers import read_label_studio
from umgclip.stage import Summary

LookedAt = Literal["changed", "all"]
_READERS: Mapping[Tool, Callable[[Path, ShownImages, list[Unusable]], Iterator[ImageAnswer]]] = {
    "label-studio": read_label_studio,
    "fiftyone": read_fiftyone,
    "cvat": read_cvat,
}
_LISTED = 8


@dataclass
class ImportedAnswers:
    """The corrections that an import came to, and counts.

    Attributes:
        corrections: all that the folder holds now, by the SHA-256 of their image.
        conflicts: looks that a later one replaced.
        unusable: what could not be used.
        counts: answers by what became of them.
        new_names: names that were not among those to choose from, and how often they came.
        not_asked: lists that were shown and that answers say nothing of, and in how many images.
        looked_at: keys of the images that people looked at.
    """

    corrections: dict[str, Correction]
    conflicts: list[Mapping[str, Any]] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    new_names: Counter[str] = field(default_factory=Counter)
    not_asked: Counter[str] = field(default_factory=Counter)
    looked_at: set[str] = field(default_factory=set)


def shown_from(answers: Path, given: Path | None) -> ShownImages | None:
    """Return what the export to the tool showed, from its folder: the given one, or one that holds the answers.

    Raises:
        InputError: the given folder is none.
    """
    if given is not None:
        return read_shown(given)
    for folder in (answers, answers.parent):
        if (folder / ABOUT).is_file() and (folder / SHOWN).is_file():
            return read_shown(folder)
    return None


def shown_from_dataset(place: Place, manifest: Manifest, tool: Tool, vocabulary: Path | None = None) -> ShownImages:
    """Return a data set as if all of it had been shown, for answers whose export was lost.

    The records are held in memory.

    Raises:
        DataError: a shard is damaged.
    """
    counts = count_labels(place, manifest)
    known = vocabulary_for(place, counts, vocabulary)
    records: dict[str, ImageRecord] = {}
    for info in manifest.shards:
        for raw in ShardAt(place, info).samples():
            records[raw.key] = stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}")
    return ShownImages(tool, records, LabelNames(known.things, known.stuff))


def run_import(
    answers: Path, shown: ShownImages | None, out: Path, looked_at: LookedAt = "changed", *, closed: bool = True,
    new_names: bool = True,
) -> Summary:  # fmt: skip
    """Read a tool's export and join it with the corrections in `out`.

    Args:
        answers: what the tool exported, or corrections of an earlier import, which are joined with those in `out`.
        shown: what the export to the tool showed; None: the answers are corrections.
        out: folder with `corrections.jsonl`, `conflicts.jsonl` and `quarantine.jsonl`; made or added to.
        looked_at: which answers count where the tool does not tell who looked: those that differ from what was shown
            (`changed`), or `all`.
        closed: whether models may add nothing to what the person left in an image.
        new_names: whether names that nobody could choose from are taken; if not, their image goes to the quarantine.

    Raises:
        InputError: the export cannot be read as one, nobody submitted anything, or `out` is a file.
        DataError: it is no JSON, or is cut off.
        OutputError: `out` cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: expected a folder, which is made or added to, got the file {out}")
    if not answers.exists():
        raise InputError(f"{answers}: expected an export of a labelling tool, found none")
    outcome = ImportedAnswers(earlier_corrections(out))
    before = len(outcome.corrections)
    if shown is None:
        _join(outcome, _corrections_of(answers))
    else:
        _join(outcome, _compared(answers, shown, outcome, Comparison(shown, closed), (looked_at, new_names)))
    outcome.conflicts = new_conflicts(out, outcome.conflicts)
    write_corrections(out, outcome.corrections, outcome.conflicts, outcome.unusable)
    return _summary(out, outcome, before, shown)


def _corrections_of(path: Path) -> Iterator[Correction]:
    corrections = open_corrections(file_of(path), "EXPORT")
    yield from () if corrections is None else corrections.each()


def _join(outcome: ImportedAnswers, corrections: Iterable[Correction]) -> None:
    for correction in corrections:
        earlier = outcome.corrections.get(correction.sha256)
        if earlier is None:
            outcome.corrections[correction.sha256] = correction
            continue
        outcome.corrections[correction.sha256], conflict = merged(earlier, correction)
        if conflict is not None:
            outcome.conflicts.append(conflict)


def _compared(
    answers: Path, shown: ShownImages, outcome: ImportedAnswers, comparison: Comparison, options: tuple[LookedAt, bool]
) -> Iterator[Correction]:
    """Yield a correction for each answer that counts; count the others, or put them into the quarantine."""
    looked_at, takes_new = options
    for answer in _READERS[shown.tool](answers, shown, outcome.unusable):
        try:
            correction = comparison.correction(answer)
        except (InputError, ValueError) as error:
            outcome.unusable.append(Unusable(answer.key, "bad_answer", " ".join(str(error).split())))
            continue
        not_asked = list(_not_asked(answer, shown.records[answer.key]))
        if not_asked and (answer.regions, answer.tags, answer.captions) == (None, None, None):
            detail = f"expected regions, tags or captions, got none; --asked-for {not_asked[0]} if people removed them"
            outcome.unusable.append(Unusable(answer.key, "says_nothing", detail))
            continue
        unknown = _unknown(answer, shown)
        if unknown and not takes_new:
            detail = f"expected names of the export, got {', '.join(unknown)}"
            outcome.unusable.append(Unusable(answer.key, "unknown_name", detail))
            continue
        unchanged = is_unchanged(correction, shown.records[answer.key])
        if unchanged and not answer.sure and looked_at != "all":
            outcome.counts["untouched"] += 1
            continue
        outcome.new_names.update(unknown)
        outcome.counts["confirmed" if unchanged else "corrected"] += 1
        outcome.looked_at.add(answer.key)
        outcome.not_asked.update(not_asked)
        yield correction


def _not_asked(answer: ImageAnswer, record: ImageRecord) -> Iterator[Asked]:
    """Yield the lists that were shown of an image and that the answer says nothing of."""
    regions = shown_regions(record)
    if regions and answer.regions is None:
        yield "regions"
    if record.tags and answer.tags is None:
        yield "tags"
    if shown_captions(record) and answer.captions is None:
        yield "captions"
    silent = answer.regions and all(region.captions is None for region in answer.regions)
    if silent and any(region.captions for region in regions):
        yield "region-captions"


def _unknown(answer: ImageAnswer, shown: ShownImages) -> list[str]:
    """Return the names of an answer that nobody could choose from, each once."""
    names = [region.label for region in answer.regions or () if region.label] + list(answer.tags or ())
    return [name for name in dict.fromkeys(names) if shown.names.written(name) is None]


def _summary(out: Path, outcome: ImportedAnswers, before: int, shown: ShownImages | None) -> Summary:
    every = outcome.corrections.values()
    regions = [region for one in every for region in one.regions or []]
    counts = outcome.counts
    rows = [
        (
            "images that people looked at",
            f"{len(outcome.corrections)}, {len(outcome.corrections) - before} of them new",
        ),
        ("regions by people", f"{len(regions)}, {sum(1 for one in every for _ in one.removed)} removed"),
        ("names of nothing in an image", f"{sum(len(one.negative_tags) for one in every)}"),
        ("looks that a later one replaced", f"{len(outcome.conflicts)}" + _where(out / CONFLICTS, outcome.conflicts)),
        ("not usable", _reasons(outcome.unusable) + _where(out / QUARANTINE, outcome.unusable)),
        ("next", f"annotate.corrections: {out / CORRECTIONS}, then `umgclip follow` and `dvc repro`"),
    ]
    if shown is not None:
        unusable = {one.key for one in outcome.unusable} & set(shown.records) - outcome.looked_at
        silent = len(shown.records) - len(outcome.looked_at | unusable)
        rows.insert(0, ("answers", f"{counts['corrected']} corrected, {counts['confirmed']} confirmed as they were"))
        rows.insert(1, ("images nobody looked at", f"{silent}, left as they are"))
        if unusable:
            rows.insert(2, ("images whose answers are not usable", f"{len(unusable)}, left as they are"))
    if outcome.not_asked:
        lists = ", ".join(f"{name} ({count})" for name, count in sorted(outcome.not_asked.items()))
        hint = "; `--asked-for LIST` if people removed all of them" if _has_hint(shown) else ""
        rows.insert(-1, ("not asked for (images)", f"{lists}, left as they are{hint}"))
    if outcome.new_names:
        names = [f"{name} {count}" for name, count in outcome.new_names.most_common(_LISTED)]
        more = len(outcome.new_names) - len(names)
        rows.insert(-1, ("names that are new", ", ".join(names) + (f", and {more} more" if more else "")))
    return Summary(f"review import: {out}", tuple(rows))


def _has_hint(shown: ShownImages | None) -> bool:
    return shown is not None and shown.tool == "label-studio"


def _reasons(unusable: Iterable[Unusable]) -> str:
    counted = Counter(one.reason for one in unusable)
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counted.items())) or "0"


def _where(path: Path, rows: Iterable[object]) -> str:
    return f" ({path})" if any(True for _ in rows) else ""
