"""Classes of a data set: what its files call them, the labels that we give them, and their names in prompts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from umgclip.data.wording import first_spellings, name_key, tidy
from umgclip.errors import InputError
from umgclip.io.json_text import parse
from umgclip.io.places import fetch
from umgclip.io.texts import decode

_LINE = re.compile(r"\s*(-?\d+)\s*[:\t ,]\s*(\S.*)")


class Label(NamedTuple):
    """A class: its unique label; its names in prompts, best first; and whether it is a thing."""

    label: str
    names: list[str]
    is_thing: bool = True


Labels = dict[str, Label]  # by the number or id in the data set's files


def distinct(rows: Iterable[tuple[object, Sequence[str], bool]]) -> Labels:
    """Build labels from key, names and `is_thing` of each class.

    Where two classes share their first name ("missile" in ImageNet), the label ends with the key.
    """
    clean = [(str(key), list(map(tidy, names)), is_thing) for key, names, is_thing in rows]
    uses = Counter(name_key(names[0]) for _, names, _ in clean)
    return {
        key: Label(
            names[0] if uses[name_key(names[0])] == 1 else f"{names[0]} ({key})",
            list(first_spellings(names).values()),
            is_thing,
        )
        for key, names, is_thing in clean
    }


def class_list(
    labels: Labels, templates: Sequence[str] | None = None, groups: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return the fact `classes` of a plan: the manifest's class list without held-out classes."""
    every = labels.values()
    return {
        "things": [label.label for label in every if label.is_thing],
        "stuff": [label.label for label in every if not label.is_thing],
        "names": {label.label: label.names for label in every if label.names != [label.label]},
        "templates": list(templates or []),
        "groups": dict(groups or {}),
    }


def restored(fact: Mapping[str, Any] | None) -> Labels:
    """Rebuild labels from a fact of a plan."""
    return {key: Label(*row) for key, row in (fact or {}).items()}


def read_label_table(data: bytes, where: object, keys: Sequence[str] = ("id",)) -> Labels:
    """Read a table of numbers and class names.

    It may be lines such as `7: road, route` (colon, tab, comma or space after the number), a JSON object of names by
    number, or a JSON array of objects with a number, `name` and perhaps `isthing`. Several names of a class are
    separated by commas.

    Args:
        data: the file.
        where: name of the file in errors.
        keys: fields of the JSON objects that may hold the number; the first existing one counts.

    Raises:
        InputError: the file has another format; the message quotes the line.
    """
    try:
        text = decode(data)
    except UnicodeError as error:
        raise InputError(f"{where}: expected a table of classes in UTF-8, got other bytes: {error}") from error
    if text.lstrip()[:1] in ("{", "["):
        rows = list(_json_rows(text, where, keys))
    else:
        rows = [_line(line, where) for line in text.splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{where}: expected a number and a name for each class, got none")
    return distinct(rows)


def synonyms(names: str) -> list[str]:
    """Split names of a class at commas."""
    return [name for part in names.split(",") if (name := tidy(part))]


def _json_rows(text: str, where: object, keys: Sequence[str]) -> Iterable[tuple[object, list[str], bool]]:
    try:
        content = parse(text)
    except ValueError as error:
        raise InputError(f"{where}: expected a table of classes, got no valid JSON ({error})") from error
    listed = [{"id": key, "name": name} for key, name in content.items()] if isinstance(content, dict) else content
    for row in listed:
        fields = row if isinstance(row, dict) else {}
        number = next((fields[key] for key in keys if key in fields), None)
        if number is None or not isinstance(fields.get("name"), str) or not synonyms(fields["name"]):
            raise InputError(f"{where}: expected objects with {keys[-1]} and name, got {str(row)[:80]}")
        yield number, synonyms(fields["name"]), bool(fields.get("isthing", False))


def _line(line: str, where: object) -> tuple[str, list[str], bool]:
    match = _LINE.fullmatch(line.rstrip())
    if match is None or not synonyms(match[2]):
        raise InputError(f"{where}: expected lines such as '7: road, route', got {line[:80]!r}")
    return str(int(match[1])), synonyms(match[2]), False


def read_class_names(where: str | None, working: Path) -> dict[str, str]:
    """Read names of classes by folder (JSON object, or lines `FOLDER<tab>NAME`) or by number (JSON array, or lines).

    Raises:
        InputError: the file holds something else.
        DataError: there is no such file.
    """
    if where is None:
        return {}
    path = fetch(where, working)
    try:
        text = decode(path.read_bytes())
        content = parse(text) if path.suffix.lower() == ".json" else None
    except ValueError as error:
        raise InputError(
            f"{path}: expected names of classes as lines or JSON in UTF-8, got another file: {error}"
        ) from error
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        named = {str(key): value for key, value in pairs}
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        named = {
            line.partition("\t")[0] if "\t" in line else str(number): line.rpartition("\t")[2]
            for number, line in enumerate(lines)
        }
    if not named or not all(isinstance(name, str) and tidy(name) for name in named.values()):
        raise InputError(f"{path}: expected a name for each class, got {str(named)[:80]}")
    return {key: tidy(name) for key, name in named.items()}
