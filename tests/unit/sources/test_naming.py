"""Search for the image file that a name means."""

import pytest

from umgclip.io.places import Entry
from umgclip.sources.naming import spellings
from umgclip.sources.plan import ImportPlan


@pytest.fixture
def plan(tmp_path):
    names = ("train/cat 1.jpg", "train/Dog.JPG", "val/0001.jpg", "train/0001.jpg", "val/same.jpg", "val/same.png",
             "b/caf\u00e9.webp", "val/notes.txt", "val/only.png")  # fmt: skip
    with ImportPlan(tmp_path / "plan.sqlite", fresh=True) as plan:
        plan.add_files(Entry(name, 1, "") for name in names)
        yield plan


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/cat 1.jpg", "train/cat 1.jpg"),
        ("./train/cat 1.jpg", "train/cat 1.jpg"),
        ("train\\cat 1.jpg", "train/cat 1.jpg"),
        ("C:\\Users\\me\\train\\cat 1.jpg", "train/cat 1.jpg"),
        ("/home/me/set/train/cat%201.jpg", "train/cat 1.jpg"),
        ("https://host/bucket/train/cat%201.jpg?x=1", "train/cat 1.jpg"),
        ("/data/local-files/?d=set/train/cat%201.jpg", "train/cat 1.jpg"),
        ("images\\0a1b2c3d-cat 1.jpg", "train/cat 1.jpg"),
        ("cat 1", "train/cat 1.jpg"),
        ("dog.jpg", "train/Dog.JPG"),
        ("TRAIN/DOG.jpeg", "train/Dog.JPG"),
        ("images/val/0001.jpg", "val/0001.jpg"),
        ("train/0001.png", "train/0001.jpg"),
        ("same.jpg", "val/same.jpg"),
        ("b/cafe\u0301.webp", "b/caf\u00e9.webp"),
        ("only.jpg", "val/only.png"),
        ("a/../val/only.png", "val/only.png"),
        ("0001.jpg", None),  # two of them
        ("val/same.gif", None),
        ("notes.txt", None),  # no image
        ("val/1.jpg", None),
        ("", None),
    ],
)
def test_names_are_found_as_people_write_them(plan, name, expected):
    names = plan.find(name).names
    assert (names[0].decode() if len(names) == 1 else None) == expected


def test_several_files_of_a_name_are_all_given(plan):
    assert sorted(plan.find("0001.jpg").names) == [b"train/0001.jpg", b"val/0001.jpg"]


def test_the_literal_name_counts_first():
    assert spellings("a%20b.jpg") == ["a%20b.jpg", "a b.jpg"]
