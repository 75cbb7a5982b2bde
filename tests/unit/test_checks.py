"""Functions of the package check types and shapes while tests run: arguments, results, what dataclasses are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, TypeCheckError

from tests.checks import checked
from umgclip.geometry import boxes
from umgclip.sources.request import Request

if TYPE_CHECKING:
    from somewhere import Unknown

Pair = Float[np.ndarray, "rows 2"]


def check(thing):
    return checked(thing, typechecker=beartype)


@check
def shorter(text: str, *, by: int = 1) -> str:
    return text[:-by] if by else None


@check
def summed(first: Pair, second: Pair | None = None) -> Float[np.ndarray, " rows"]:
    return (first if second is None else first + second).sum(1)[: 1 if first[0, 0] < 0 else None]


@check
def counted(until: int) -> Iterator[int]:
    yield from range(until)


@check
def lenient(unknown: Unknown, known: int) -> Unknown:
    return unknown


@check
@dataclass(frozen=True)
class Named:
    name: str
    values: Pair | None = None


class Kinds:
    @staticmethod
    @check
    def double(value: int) -> int:
        return 2 * value

    @classmethod
    @check
    def own_name(cls, suffix: str) -> str:
        return cls.__name__ + suffix

    @property
    @check
    def wrong(self) -> int:
        return "no number"


TWO, THREE = np.zeros((2, 2)), np.zeros((3, 2))


def test_what_fits_passes():
    assert shorter("word", by=2) == "wo"
    assert summed(TWO + 1, TWO).tolist() == [2.0, 2.0]
    assert summed(THREE).shape == (3,), "each call has axes of its own"
    assert list(counted(2)) == [0, 1]
    assert lenient("anything", 1) == "anything"
    assert Named("one", TWO).name == "one"
    assert (Kinds.double(2), Kinds.own_name("!")) == (4, "Kinds!")
    assert shorter.__name__ == "shorter"
    assert shorter.__annotations__ == {"text": "str", "by": "int", "return": "str"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: shorter(b"word"),
        lambda: shorter("word", by="2"),
        lambda: shorter("word", by=0),
        lambda: summed(TWO, THREE),
        lambda: summed(TWO.astype(int)),
        lambda: summed(TWO - 1),
        lambda: counted("2"),
        lambda: lenient("anything", "1"),
        lambda: Named(1),
        lambda: Named("one", TWO[0]),
        lambda: Kinds.double("2"),
        lambda: Kinds.own_name(1),
        lambda: Kinds().wrong,
    ],
    ids=[
        "argument", "keyword", "result", "axes", "dtype", "axes of the result", "generator", "beside an unknown type",
        "field", "array in a field", "static", "class", "property",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_the_package_is_checked():
    with pytest.raises(TypeCheckError):
        boxes.iou(np.zeros((1, 4)), np.zeros((1, 5)))
    with pytest.raises(TypeCheckError):
        Request("folder", 5, "train", "test")


@pytest.mark.usefixtures("shapes_unchecked")
def test_checks_can_be_turned_off():
    assert shorter("word", by=0) is None
    assert summed(TWO - 1).tolist() == [-2.0]
    assert Named(1).name == 1
