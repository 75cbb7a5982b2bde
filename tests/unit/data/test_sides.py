"""Which texts a mirrored image would make untrue."""

import pytest

from umgclip.data.sides import may_be_mirrored, says_a_side
from umgclip.records import ImageRecord, Region, Source, Text

RECORD = ImageRecord(key="k", width=8, height=8, sha256="0" * 64, source=Source(dataset="d"))


@pytest.mark.parametrize(
    "text",
    [
        "a dog left of a cat", "The man on the RIGHT", "a right-hand drive car", "the leftmost of three cups",
        "two cups, the left one is red", "ein Hund links", "un chat à droite", "狗在猫的左边", "собака слева",
        "the cup is left of the plate",
    ],
)  # fmt: skip
def test_it_says_a_side(text: str) -> None:
    assert says_a_side(text)


@pytest.mark.parametrize(
    "text",
    ["a dog", "a bright lamp", "a plate of leftovers", "a bag was left behind", "cleft rock", "human rights", ""],
)
def test_it_says_none(text: str) -> None:
    assert not says_a_side(text)


def test_captions_tags_and_regions_count() -> None:
    said = [Text(text="the left cup", source="alt")]
    region = Region(id="r", box_xyxy=(0, 0, 4, 4), source="human", score=1.0)
    assert may_be_mirrored(RECORD.model_copy(update={"captions": [Text(text="a cup", source="alt")]}))
    for changes in (
        {"captions": said},
        {"tags": said},
        {"regions": [region.model_copy(update={"captions": said})]},
        {"regions": [region.model_copy(update={"tags": said})]},
        {"regions": [region.model_copy(update={"negatives": said})]},
    ):
        assert not may_be_mirrored(RECORD.model_copy(update=changes))
