"""Values of files, checked where they enter."""

import math

import pytest

from umgclip.sources import values

HUGE, NAN, INF = 10**400, math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), (2.5, 2.5), ("64.0", 64.0), (" 7 ", 7.0), ("1e3", 1000.0)]
    + [(bad, None) for bad in (True, None, "", "64px", NAN, INF, -INF, HUGE, "nan", "inf", "1e999", [64], {}, b"3")],
)
def test_number(value, expected):
    assert values.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (64.0, 64), ("64.0", 64), (HUGE, HUGE)] + [(bad, None) for bad in (2.5, True, "x", NAN, INF, [1], None)],
)
def test_whole(value, expected):
    assert values.whole(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (1, True), ("1", True), (1.0, True), ("True", True), ("yes", True)]
    + [(False, False), (0, False), ("0", False), ("false", False), ("", False), (" NO ", False)]
    + [(bad, None) for bad in (2, "perhaps", NAN, [1], None, HUGE)],
)
def test_flag(value, expected):
    assert values.flag(value) is expected


def test_ids_of_one_number_are_one():
    assert {values.ident(value) for value in (7, 7.0, "7", " 7 ")} == {"7"}
    assert values.ident("img-1") == "img-1"
    assert [values.ident(bad) for bad in (None, True, "", NAN, [7], {}, HUGE, 7.5)] == [None] * 8


def test_words():
    assert values.words(" a  cat\x00 \ud83d\n") == "a cat \ufffd"
    assert [values.words(bad) for bad in (None, 5, "", " \x00 ", ["a"])] == [None] * 5


@pytest.mark.parametrize("size", [(64, 48), ("64", "48"), ("64.0", "48.0"), (64.0, 48.0)])
def test_a_size_may_be_written_in_several_ways(size):
    assert values.size_px(*size) == ((64, 48), None)


@pytest.mark.parametrize("size", [(None, None), (0, 0), (-64, -48), (None, 48), (64, None), (0, 48), ("0", "0")])
def test_no_size_is_not_told(size):
    assert values.size_px(*size) == (None, None)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (("64px", "48px"), "width: expected a whole number of pixels, got '64px'"),
        ((64, NAN), "height: expected a whole number of pixels, got nan"),
        ((INF, 48), "width: expected a whole number of pixels, got inf"),
        (([64], [48]), "width: expected a whole number of pixels, got [64]"),
        ((True, 48), "width: expected a whole number of pixels, got True"),
        ((64.5, 48), "width: expected a whole number of pixels, got 64.5"),
    ],
)
def test_what_is_no_size_is_told(size, told):
    assert values.size_px(*size) == (None, told)


def test_a_size_that_no_image_has_is_told():
    size, told = values.size_px(HUGE, 48)
    assert size is None
    assert told.startswith("width: expected a whole number of pixels, got 1000")
    assert values.size_px(1e12, 48)[0] is None


def test_a_score_is_cut_to_its_range():
    assert [values.share(value) for value in (0.5, 7, -1, "0.25")] == [0.5, 1.0, 0.0, 0.25]
    assert [values.share(bad) for bad in (NAN, INF, "x", None, True, HUGE)] == [None] * 6
