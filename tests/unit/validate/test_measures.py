"""Measures of captions, tags and masks, and the figures about a dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from umgclip.params import ValidateParams
from umgclip.validate.facts import DatasetFacts
from umgclip.validate.measures import caption_dirt, caption_loop, first_copy, mask_overhang_px, unknown_tags, words
from umgclip.validate.report import Passed, count_passed


def text(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


def listed(values: pd.Series) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in values]


def test_words() -> None:
    counted = words(text("a red  car", "", " \n", None))
    assert counted[:3].tolist() == [3.0, 0.0, 0.0]
    assert np.isnan(counted[3])


@pytest.mark.parametrize(
    ("caption", "dirt"),
    [
        ("a red car", None),
        ("3 < 5 and 7 > 6", None),
        ("a dog [sic]", None),
        ("un café à Zürich", None),
        ("a dog <|endoftext|>", "'<|endoftext|>'"),
        ("<loc_12>dog", "'<loc_12>'"),
        ("dog [PAD]", "'[PAD]'"),
        ("dog\tcat", "'\\t'"),
        ("caf\ufffd", "'\\ufffd'"),
        (None, None),
    ],
)
def test_caption_dirt(caption: str | None, dirt: str | None) -> None:
    assert listed(caption_dirt(text(caption))) == [dirt]


@pytest.mark.parametrize(
    ("caption", "loop"),
    [
        ("a very very old dog", None),
        ("a very very very old dog", "very"),
        ("a dog a dog a dog", "a dog"),
        ("A cat, a cat; a CAT", "A cat"),
        ("on the left of it on the left of it on the left of it", None),  # a phrase of five words
        ("the cat sat the cat sat the cat sat", "the cat sat"),
        ("banana nananana", None),
        ("a dog and a cat and a cow and a pig", None),
        ("", None),
        (None, None),
    ],
)
def test_caption_loop(caption: str | None, loop: str | None) -> None:
    assert listed(caption_loop(text(caption), 2)) == [loop]


def test_caption_loop_is_linear_enough() -> None:
    # Ends within the test's time limit only if words are never split by backtracking.
    captions = text("a" * 50_000, "ab " * 2 + "cd " * 2 + "x y z " * 2 + "w" * 50_000)
    assert listed(caption_loop(captions, 2)) == [None, None]


def test_unknown_tags() -> None:
    assert listed(unknown_tags(text("a|b", "a|x|b|y", "", None), {"a", "b"})) == [None, "x|y", None, None]


def test_mask_overhang_px() -> None:
    columns = ["x0", "y0", "x1", "y1", "mask_x0", "mask_y0", "mask_x1", "mask_y1"]
    frame = pd.DataFrame(
        [[10, 10, 20, 20, 12, 12, 18, 18], [10, 10, 20, 20, 9.5, 7, 18, 18], [10, 10, 20, 20, 10, 10, 20, 24]]
        + [[10, 10, 20, 20, *[np.nan] * 4]],
        columns=columns,
        dtype=float,
    )
    np.testing.assert_array_equal(mask_overhang_px(frame), [0.0, 3.0, 4.0, np.nan])


def test_first_copy() -> None:
    frame = pd.DataFrame({"key": text("a", "b", None, "d", "e", "f"), "sha256": text("1", "1", "2", "2", None, None)})
    assert listed(first_copy(frame)) == [None, "a", None, "?", None, None]


def dataset_facts(images, regions, dropped, withheld=(), parts=1) -> pd.DataFrame:
    """The figures of a dataset that is counted in parts, each with all rows of its keys."""
    facts = DatasetFacts(dropped, withheld)
    for part in range(parts):
        facts.add(*(frame[[ord(key) % parts == part for key in frame["key"]]] for frame in (images, regions)))
    return facts.frame()


def test_dataset_facts() -> None:
    images = pd.DataFrame({"key": text("a", "b", "c", "d"), "caption": text("x", "y", "z", "z")})
    regions = pd.DataFrame(
        {"key": text("a", "a", "b", "x"), "labelled": [1.0, 0.0, 1.0, 1.0], "label_score": [0.2, np.nan, 0.4, 0.6]}
    )
    dropped = pd.DataFrame({"key": text("y", "y", "a", "b"), "region_id": text(None, None, "r1", None)})
    facts = dataset_facts(images, regions, dropped).iloc[0]
    assert facts["label_score_mean"] == pytest.approx(0.4)
    assert facts["labelled_image_share"] == 0.5
    assert facts["annotated_image_share"] == 0.8
    assert facts["captioned_image_share"] == 1.0
    assert dataset_facts(images, regions, dropped, parts=3).iloc[0].to_dict() == pytest.approx(facts.to_dict())
    assert list(dataset_facts(images[["key"]], regions[["key"]], dropped)) == ["annotated_image_share"]
    assert dataset_facts(images, regions, dropped, {"b", "c"}).iloc[0]["labelled_image_share"] == 0.75
    bare = regions.assign(labelled=0.0)
    assert dataset_facts(images, bare, dropped).iloc[0]["label_score_mean"] == 0
    assert np.isnan(dataset_facts(images, bare, dropped, {"a"}).iloc[0]["label_score_mean"])


def test_facts_are_about_what_can_be_there() -> None:
    images = pd.DataFrame({"key": text("a", "b", "c", "d"), "caption": text("x", None, " ", None)})
    regions = pd.DataFrame({"key": text("b", "d"), "labelled": [1.0, 0.0], "label_score": [1.0, np.nan]})
    dropped = pd.DataFrame({"key": text(), "region_id": text()})
    facts = dataset_facts(images, regions, dropped).iloc[0]
    assert (facts["captioned_image_share"], facts["labelled_image_share"]) == (0.25, 0.5)  # of a and b
    without = dataset_facts(images.assign(caption=text(*[None] * 4)), regions.assign(labelled=0.0), dropped).iloc[0]
    assert without[["captioned_image_share", "labelled_image_share", "label_score_mean"]].isna().all()


def test_count_passed() -> None:
    images = pd.DataFrame({"key": text("a", "b", "c", None)})
    regions = pd.DataFrame({"key": text("a", "a", "b", "b", "c"), "region_id": text("0", "1", "0", "1", None)})
    faults = pd.DataFrame({"key": text("a", "a", "b", "c"), "region_id": text("0", "0", None, None)})
    assert count_passed(images, regions, faults) == (Passed(4, 3, 1), Passed(5, 2, 1))
    none = pd.DataFrame({"key": text(), "region_id": text()})
    assert count_passed(images[:3], regions[:4], none) == (Passed(3, 0, 3), Passed(4, 0, 4))


def test_params_are_closed() -> None:
    with pytest.raises(ValidationError, match="region_mask_in_box"):
        ValidateParams.model_validate({"tolerances": {"no_such_rule": 0.1}})
    with pytest.raises(ValidationError, match="expected side_min_px <= side_max_px, got 9 > 8"):
        ValidateParams(side_min_px=9, side_max_px=8)
