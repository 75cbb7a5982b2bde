"""A folder of corrections: several imports make one file, and where two people differ, the later look wins.

Nothing is lost: what a later look replaced is a line of `conflicts.jsonl`, and what could not be used is one of
`quarantine.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from umgclip.data.corrections import CORRECTIONS, Correction, HumanLook, open_corrections
from umgclip.data.wording import name_key
from umgclip.geometry import boxes as box_ops
from umgclip.io.atomic import atomic_file
from umgclip.records import Region, Text
from umgclip.review.answer import Unusable

CONFLICTS, QUARANTINE = "conflicts.jsonl", "quarantine.jsonl"
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

    Of each list that both were asked for, the later look's stands. Looks without a time count in the order given. What
    one look removed stays removed unless the later one has it.

    Returns:
        The joint correction, and what the earlier look says otherwise; None: they agree.
    """
    times = _time(one), _time(other)
    earlier, later = (other, one) if all(times) and times[0] > times[1] else (one, other)
    if _content(earlier) == _content(later):
        return later.model_copy(update={"looks": _looks(earlier, later)}), None
    update: dict[str, Any] = {"looks": _looks(earlier, later)}
    differs = []
    for name in ("regions", "tags", "captions"):
        old, new = getattr(earlier, name), getattr(later, name)
        if new is None:
            update[name] = old
        elif old is not None and _plain(old) != _plain(new):
            differs.append(name)
    update["shown"] = list(dict.fromkeys([*earlier.shown, *later.shown]))
    regions = update.get("regions", later.regions) or []
    update["removed"] = [*later.removed, *(one for one in earlier.removed if one not in later.removed)]
    update["removed"] = [region for region in update["removed"] if not _is_back(region, regions)]
    tags = update.get("tags", later.tags) or []
    stated = [*tags, *(tag for region in regions for tag in region.tags or [])]
    update["negative_tags"] = _joined(later.negative_tags, earlier.negative_tags, stated)
    captions = update.get("captions", later.captions) or []
    update["removed_captions"] = _joined(later.removed_captions, earlier.removed_captions, captions)
    conflict = {"key": later.key, "sha256": later.sha256, "differs": differs, "replaced": json.loads(earlier.to_json())}
    conflict["by"] = [look.model_dump() for look in later.looks]
    return later.model_copy(update=update), conflict if differs else None


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


def _time(correction: Correction) -> str:
    """Return when the image was last looked at; empty: nobody wrote the time down."""
    return max((look.at or "" for look in correction.looks), default="")


def _looks(earlier: Correction, later: Correction) -> list[HumanLook]:
    return list(dict.fromkeys([*earlier.looks, *later.looks]))


def _content(correction: Correction) -> bytes:
    return correction.model_copy(update={"looks": []}).to_json()


def _plain(parts: Iterable[Region | Text]) -> list[str]:
    """Return what a list says, in an order that does not matter."""
    return sorted(part.model_dump_json(exclude={"id", "agreed_by", "filter_score"}) for part in parts)


def _joined(later: Iterable[Text], earlier: Iterable[Text], stated: Iterable[Text]) -> list[Text]:
    right = {name_key(text.text) for text in stated}
    joint = {name_key(text.text): text for text in (*earlier, *later)}
    return [text for key, text in joint.items() if key not in right]


def _is_back(removed: Region, regions: Iterable[Region]) -> bool:
    """Check whether a removed region is among the person's regions, of the same label at about the same place."""
    label = removed.tags[0].text if removed.tags else None
    same = [r.box_xyxy for r in regions if (r.tags[0].text if r.tags else None) == label]
    if not same:
        return False
    return bool(box_ops.iou(np.array([removed.box_xyxy]), np.array(same)).max() >= _AGAIN)
