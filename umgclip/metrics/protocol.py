"""Protocols of results: two results are comparable if their protocols are equal, field by field.

A protocol is one block a benchmark, `{field: value}`. A field whose value is itself a block (`readouts`: one a
read-out, `masks`: one a kind) holds parts that are measured apart; of these, the parts that both have count. Two
fields are facts about the model, so they are carried along and are never a difference: `weights` identifies it, and
`texts_cut` is the number of texts of which it sees only the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from umgclip.errors import InputError

Block = Mapping[str, Any]
_MISSING = "nothing"
WEIGHTS = "weights"
TEXTS_CUT = "texts_cut"
_ABOUT_THE_MODEL = frozenset((WEIGHTS, TEXTS_CUT))


class Difference(NamedTuple):
    """A field under its dotted name, and what each side says."""

    field: str
    first: Any
    second: Any

    def __str__(self) -> str:
        """Return a text as in `region.readouts.crop.frame: 0.8 and 0.7`."""
        return f"{self.field}: {self.first!r} and {self.second!r}"


def differences(first: Block, second: Block, prefix: str = "") -> Iterator[Difference]:
    """Yield every field in which two protocols differ, in the order of their names."""
    for name in sorted({*first, *second} - _ABOUT_THE_MODEL):
        ours, theirs = first.get(name, _MISSING), second.get(name, _MISSING)
        field = f"{prefix}{name}"
        if ours is _MISSING and _holds_parts(theirs) or theirs is _MISSING and _holds_parts(ours):
            continue  # one side measured none of them
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            common = set(ours) & set(theirs)
            if _holds_parts(ours) or _holds_parts(theirs):
                ours, theirs = ({key: side[key] for key in common} for side in (ours, theirs))
            yield from differences(ours, theirs, f"{field}.")
        elif ours != theirs:
            yield Difference(field, ours, theirs)


def _holds_parts(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(part, Mapping) for part in value.values())


def require_same_protocol(first: Block, second: Block, names: tuple[str, str], allowed: Collection[str] = ()) -> None:
    """Refuse to compare what was measured in two ways.

    Args:
        first: blocks by benchmark.
        second: the same of the other result; benchmarks that only one has are not compared.
        names: how to call the two in the error.
        allowed: dotted fields that may differ, chosen by the user.

    Raises:
        InputError: naming the first field that differs, and how many others do.
    """
    both = sorted(set(first) & set(second))
    differing = [
        d for name in both for d in differences(first[name], second[name], f"{name}.") if d.field not in allowed
    ]
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise InputError(
            f"{names[0]} and {names[1]} were measured by different protocols: expected the same "
            f"{differing[0].field}, got {differing[0].first!r} and {differing[0].second!r}{more}"
        )
