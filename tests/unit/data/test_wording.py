"""One form of every text that is stored or compared."""

import pytest

from umgclip.data.wording import first_spellings, is_plural, name_key, tidy
from umgclip.evaluate.examples import Classes
from umgclip.sources.formats.shared.labels import distinct


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat ", "cat"),
        (" traffic \t\n light", "traffic light"),
        ("cat\u00a0", "cat"),
        ("\ufeffcat\u200b", "cat"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("a\x00b\x1b[31m", "a b [31m"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),  # a joiner stays
        ("Cat", "Cat"),
        (" \u200b ", ""),
    ],
)
def test_texts_are_stored_in_one_form(text, expected):
    assert tidy(text) == expected
    assert tidy(expected) == expected


def test_names_are_compared_without_case_and_space():
    assert len({name_key(name) for name in ("Cat", "cat ", "CAT", "c\u200bat", "\tcat")}) == 1
    assert name_key("stra\u00dfe") == name_key("STRASSE")
    assert name_key("cat") != name_key("cats")
    assert first_spellings(["Cat ", "cat", "", "dog"]) == {"cat": "Cat", "dog": "dog"}


def test_two_classes_of_one_name_get_labels_of_their_own():
    labels = distinct([(1, ["Cat"], True), (2, ["cat "], True), (3, ["dog", "Dog ", "hound"], True)])
    assert [label.label for label in labels.values()] == ["Cat (1)", "cat (2)", "dog"]
    assert labels["3"].names == ["dog", "hound"]


def test_a_benchmark_finds_its_classes_whatever_the_spelling():
    classes = Classes(("Cat", "cat ", "dog"), ("Sky",), frozenset())
    found = [classes.label(name, is_stuff=False) for name in ("Cat", "cat ", "cat", "DOG", "sky")]
    assert found == [0, 1, 0, 2, None]
    assert classes.label("sky", is_stuff=True) == 3


@pytest.mark.parametrize("name", ["jeans", "red socks", "People", "traffic lights", "scissors", "glasses", "taxis"])
def test_names_that_take_no_article(name):
    assert is_plural(name)


@pytest.mark.parametrize("name", ["bus", "glass", "lens", "cat", "tennis", "christmas", "chess", "gas", "man", ""])
def test_names_that_take_one(name):
    assert not is_plural(name)
