"""Classes of a layout: labels that differ, names that prompts may use, and tables of numbers."""

import pytest

from umgclip.errors import InputError
from umgclip.sources.formats.shared.labels import Label, class_list, distinct, read_label_table, restored


def test_classes_of_one_name_are_told_apart_by_their_key():
    labels = distinct([("n03773504", ["missile"], True), ("n04008634", ["missile"], True), ("n1", ["tench"], True)])
    assert [label.label for label in labels.values()] == ["missile (n03773504)", "missile (n04008634)", "tench"]
    classes = class_list(labels, ["a {}."])
    assert classes["names"] == {"missile (n03773504)": ["missile"], "missile (n04008634)": ["missile"]}
    assert classes["templates"] == ["a {}."]


def test_things_and_stuff_are_listed_apart_with_their_synonyms():
    classes = class_list(distinct([(1, ["wall"], False), (8, ["bed", "cot"], True)]))
    assert (classes["things"], classes["stuff"], classes["names"]) == (["bed"], ["wall"], {"bed": ["bed", "cot"]})


def test_labels_survive_json():
    labels = distinct([(1, ["wall"], False)])
    assert restored({"1": list(labels["1"])}) == {"1": Label("wall", ["wall"], False)}


@pytest.mark.parametrize(
    "table",
    [
        b"1: wall\n2: road, route\n",
        b"1\twall\n2\troad, route\n",
        b"\xef\xbb\xbf1,wall\r\n2,road,route\r\n",
        b'{"1": "wall", "2": "road, route"}',
        b'[{"id": 1, "name": "wall"}, {"id": 2, "name": "road, route"}]',
    ],
)
def test_tables_of_numbers_and_names(table):
    labels = read_label_table(table, "t")
    assert {key: label.names for key, label in labels.items()} == {"1": ["wall"], "2": ["road", "route"]}
    assert not any(label.is_thing for label in labels.values())


def test_the_number_may_have_another_name():
    table = b'[{"name": "wall", "id": 2978, "trainId": 0}]'
    assert list(read_label_table(table, "t")) == ["2978"]
    assert list(read_label_table(table, "t", keys=("trainId", "id"))) == ["0"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "got none"),
        (b"wall\n", "expected lines such as '7: road, route', got 'wall'"),
        (b"[1]", "expected objects with id and name, got 1"),
        (b"[", "no valid JSON"),
    ],
)
def test_what_is_no_table_is_named(table, message):
    with pytest.raises(InputError, match=message):
        read_label_table(table, "t")
