"""A folder of corrections: several imports make one file, and where two people differ, the later look wins.

Nothing is lost: what a later look replaced is a line of `conflicts.jsonl`, and what could not be used is one of
`quarantine.jsonl`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from umgclip.data.corrections import CORRECTIONS, Correction, HumanLook, Overruled, open_corrections
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.geometry import boxes as box_ops
from umgclip.io.atomic import atomic_file
from umgclip.records import Region, Text
from umgclip.review.answer import Unusable

CONFLICTS, QUARANTINE = "conflicts.jsonl", "quarantine.jsonl"
LISTS = ("regions", "tags", "captions")
_AGAIN = 0.5  # IoU from which a region of the same label is a removed one that came back


def earlier_corrections(folder: Path) -> dict[str, Correction]:
    """Return the corrections that are in a folder already, by the SHA-256 of their image.

    Raises:
        InputError: its file is damaged.
    """
    if not (folder / CORRECTIONS).is_file():
        return {}
    corrections = open_corrections(folder, "--out")
    return {} if corrections is None else {one.sha256: one for one in corrections.each()}


def merged(one: Correction, other: Correction) -> tuple[Correction, dict[str, Any] | None]:
    """Join two corrections of the same image.

    Of each list the latest look's stands that was asked for it. Looks without a time count in the order given. What
    any look removed stays removed unless a list that stands has it. So the order in which looks with a time are
    joined does not matter.

    Returns:
        The joint correction, and what was replaced; None: they agree.

    Raises:
        InputError: their images have different sizes.
    """
    sizes = [(each.width, each.height) for each in (one, other)]
    if sizes[0] != sizes[1]:
        got = f"{sizes[1][0]} x {sizes[1][1]}"
        raise InputError(f"image {other.key}: width, height: expected {sizes[0][0]} x {sizes[0][1]}, got {got}")
    sides = [each.model_copy(update={"looks": _with_lists(each)}) for each in (one, other)]
    looks = sorted({*sides[0].looks, *sides[1].looks}, key=_rank)
    if one.model_copy(update={"looks": []}) == other.model_copy(update={"looks": []}):
        return _short(one.model_copy(update={"looks": looks})), None
    update: dict[str, Any] = {"looks": looks}
    replaced: dict[str, int] = {}
    for name in LISTS:
        old, new = (getattr(side, name) for side in sides)
        row = _later(sides[0], sides[1], name) if None not in (old, new) else int(old is None)
        update[name] = (old, new)[row]
        if None not in (old, new) and _plain(old) != _plain(new):
            replaced[name] = 1 - row
    update["shown"] = one.shown if one.shown == other.shown else sorted({*one.shown, *other.shown})
    joint = sides[_later(sides[0], sides[1], None)].model_copy(update={**update, **_removed(one, other, update)})
    return _short(joint), _conflict((one, other), sides, replaced)


def _conflict(
    given: tuple[Correction, Correction], sides: Sequence[Correction], replaced: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return what the side says otherwise that lost a list, and whose look replaced it; each may have lost one."""
    if not replaced:
        return None
    contents = [json.loads(each.to_json()) for each in given]
    lost = contents[next(iter(replaced.values()))]
    by = {look for name, row in replaced.items() for look in _looks_at(sides[1 - row], name)[-1:]}
    return {
        "key": given[0].key,
        "sha256": given[0].sha256,
        "differs": list(replaced),
        "replaced": {**lost, **{name: contents[row][name] for name, row in replaced.items()}},
        "by": [look.model_dump(exclude={"lists"}) for look in sorted(by, key=_rank)],
    }


def _removed(one: Correction, other: Correction, lists: Mapping[str, Any]) -> dict[str, Any]:
    """Return what either removed, apart from what a list that stands has; in an order that only depends on itself."""
    both = [part for each in (one, other) for part in (each, each.overruled) if part is not None]
    regions, tags, captions = (lists.get(name) or [] for name in LISTS)
    unique = {region.model_dump_json(): region for part in both for region in part.removed}
    removed = sorted(unique.values(), key=lambda region: (region.box_xyxy, region.model_dump_json()))
    stated = [*tags, *(tag for region in regions for tag in region.tags or [])]
    names = _split((text for part in both for text in part.negative_tags), stated)
    texts = _split((text for part in both for text in part.removed_captions), captions)
    back = [_is_back(region, regions) for region in removed]
    gone = [region for region, is_back in zip(removed, back, strict=True) if not is_back]
    overruled = Overruled(
        removed=[region for region, is_back in zip(removed, back, strict=True) if is_back],
        negative_tags=names[1],
        removed_captions=texts[1],
    )
    return {
        "removed": gone,
        "negative_tags": names[0],
        "removed_captions": texts[0],
        "overruled": None if overruled == Overruled() else overruled,
    }


def new_conflicts(folder: Path, conflicts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the conflicts that `conflicts.jsonl` does not tell of yet: each list that was replaced counts once."""
    path = folder / CONFLICTS
    told: set[tuple[str, str, str]] = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with suppress(ValueError, KeyError, TypeError):  # a line that somebody wrote by hand tells nothing
            told |= _lost(json.loads(line))
    new = []
    for conflict in conflicts:
        lost = _lost(conflict)
        if not lost <= told:
            new.append(conflict)
            told |= lost
    return new


def _lost(conflict: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return image, name and content of each list that was replaced."""
    lists = {
        name: [(Region if name == "regions" else Text).model_validate(part) for part in conflict["replaced"][name]]
        for name in conflict["differs"]
    }
    return {(conflict["sha256"], name, "".join(_plain(parts))) for name, parts in lists.items()}


def write_corrections(
    folder: Path, corrections: Mapping[str, Correction], conflicts: Iterable[Mapping[str, Any]],
    unusable: Iterable[Unusable],
) -> None:  # fmt: skip
    """Write the folder's three files, those of conflicts and of unusable answers only if there are any.

    Lines are sorted by key, so that the same corrections give the same bytes, whatever the order of the imports.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(corrections.values(), key=lambda one: (one.key, one.sha256))
    _write(folder / CORRECTIONS, (one.to_json().decode() for one in ordered))
    _add(folder / CONFLICTS, [json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in conflicts])
    rows = [{"key": one.key, "reason": one.reason, "detail": one.detail} for one in unusable]
    _add(folder / QUARANTINE, [json.dumps(row, ensure_ascii=False) + "\n" for row in rows])


def _add(path: Path, lines: list[str]) -> None:
    """Add lines to a file that are not in it; a file that nothing was ever written to is not made."""
    before = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    together = list(dict.fromkeys([*before, *lines]))
    if together and together != before:
        _write(path, together)


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(lines)


def _time(look: HumanLook) -> float | None:
    """Return when somebody looked, in seconds since 1970; None: the tool wrote no time that can be read."""
    try:
        at = datetime.fromisoformat(look.at or "")
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _rank(look: HumanLook) -> tuple[float, str]:
    time = _time(look)
    return math.inf if time is None else time, look.model_dump_json()


def _lists(correction: Correction) -> tuple[str, ...]:
    return tuple(name for name in LISTS if getattr(correction, name) is not None)


def _with_lists(correction: Correction) -> list[HumanLook]:
    """Return the looks, each with the lists that it was asked for."""
    every = _lists(correction)
    return [look if look.lists is not None else look.model_copy(update={"lists": every}) for look in correction.looks]


def _looks_at(correction: Correction, name: str | None) -> list[HumanLook]:
    """Return the looks that were asked for a list, or all, the latest last."""
    return sorted((look for look in correction.looks if name is None or name in (look.lists or ())), key=_rank)


def _later(one: Correction, other: Correction, name: str | None) -> int:
    """Return which side looked later at a list, or at anything: 0 or 1; 1 if one has no time.

    Between several looks of one time the content decides. The same look twice was read with other options.
    """
    looks = [[look for look in _looks_at(side, name) if _time(look) is not None] for side in (one, other)]
    if not all(looks):
        return 1
    times = [_time(each[-1]) for each in looks]
    if times[0] != times[1]:
        return int((times[0] or 0) < (times[1] or 0))
    last = [{look.model_dump_json(exclude={"lists"}) for look in each if _time(look) == times[0]} for each in looks]
    return 1 if last[0] == last[1] else int(_content(one, name) < _content(other, name))


def _short(correction: Correction) -> Correction:
    """Return a correction whose looks name lists only if those are not all that it has."""
    every = _lists(correction)
    looks = [look.model_copy(update={"lists": None}) if look.lists == every else look for look in correction.looks]
    return correction.model_copy(update={"looks": looks})


def _content(correction: Correction, name: str | None) -> str:
    """Return what a side says, as text that orders looks of the same time."""
    if name is None:
        return f"{correction.closed} {correction.key}"
    return json.dumps([part.model_dump_json() for part in getattr(correction, name)])


def _plain(parts: Iterable[Region | Text]) -> list[str]:
    """Return what a list says, in an order that does not matter."""
    return sorted(part.model_dump_json(exclude={"id", "agreed_by", "filter_score"}) for part in parts)


def _split(texts: Iterable[Text], stated: Iterable[Text]) -> tuple[list[Text], list[Text]]:
    """Return the texts that nothing states, and the others; each once, by name."""
    right = {name_key(text.text) for text in stated}
    ordered = sorted(texts, key=lambda text: (name_key(text.text), text.model_dump_json()), reverse=True)
    joint = {name_key(text.text): text for text in ordered}
    every = [joint[key] for key in sorted(joint)]
    absent = [text for text in every if name_key(text.text) not in right]
    return absent, [text for text in every if name_key(text.text) in right]


def _is_back(removed: Region, regions: Iterable[Region]) -> bool:
    """Check whether a removed region is among the person's regions, of the same label at about the same place."""
    label = removed.tags[0].text if removed.tags else None
    same = [r.box_xyxy for r in regions if (r.tags[0].text if r.tags else None) == label]
    if not same:
        return False
    return bool(box_ops.iou(np.array([removed.box_xyxy]), np.array(same)).max() >= _AGAIN)
