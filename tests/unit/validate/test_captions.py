"""Captions that refuse by their words or by their number, and honest captions that repeat."""

from __future__ import annotations

import pandas as pd
import pytest

from umgclip.errors import GateError
from umgclip.params import ValidateParams
from umgclip.validate.captions import canned, refusing
from umgclip.validate.stage import run

CANNED = "The requested text was withheld."


def table(*captions: tuple[str, int]) -> pd.DataFrame:
    texts = [text for text, times in captions for _ in range(times)]
    return pd.DataFrame({"key": [f"k{i}" for i in range(len(texts))], "caption": pd.Series(texts, dtype="str")})


def names(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["key", "name"]).astype("str")


def found(captions: pd.DataFrame, known: tuple[str, ...] = (), tags: pd.DataFrame | None = None) -> set[str]:
    return set(canned(lambda: iter([captions]), 5, known, lambda _keys: names() if tags is None else tags))


def test_captions_that_refuse() -> None:
    texts = pd.Series(["a dog", None, "I cannot describe this image.", "a dog"], dtype="str")
    assert refusing(texts).dropna().to_dict() == {2: "I cannot describe this image."}


def test_captions_of_people_refuse_only_if_nothing_else_is_meant() -> None:
    blurred = "I would rather not describe the people in this picture."
    texts = pd.Series([blurred, blurred, "No image available.", blurred], dtype="str")
    sources = pd.Series(["alt", "blip2", "human", None], dtype="str")
    assert refusing(texts, sources).dropna().index.tolist() == [1, 2, 3]


def test_one_text_over_many_images_that_names_nothing() -> None:
    captions = table((CANNED, 4), (CANNED.upper(), 1), ("a dog on grass", 30))
    assert found(captions, ("dog",)) == {CANNED, CANNED.upper()}
    assert found(table((CANNED, 4), ("a dog on grass", 30)), ("dog",)) == set()


def test_one_image_with_many_regions_counts_once() -> None:
    captions = table((CANNED, 9))
    captions["key"] = "k0"
    assert found(captions) == set()


def test_a_refusal_in_known_words_is_left_to_its_own_rule() -> None:
    assert found(table(("I cannot describe this image.", 9))) == set()


def test_captions_of_folders_of_classes_are_honest() -> None:
    folders = table(("a photo of a dog", 40), ("a photo of a Border Collie.", 40), ("ein Foto von einer Katze", 40))
    assert found(folders, ("dog", "border collie", "katze")) == set()


def test_a_class_that_no_vocabulary_holds_is_honest_where_it_is_a_tag() -> None:
    folders = table(("a photo of a SKU-1234", 9), ("一张狗的照片", 9))
    tags = names(*((f"k{i}", "SKU-1234") for i in range(9)), *((f"k{i}", "狗") for i in range(9, 18)))
    assert found(folders) == {"a photo of a SKU-1234", "一张狗的照片"}
    assert found(folders, (), tags) == set()


def test_a_tag_of_another_image_does_not_count() -> None:
    captions = table((CANNED, 9), ("a shop", 1))
    assert found(captions, (), names(("k9", "requested text"))) == {CANNED}


def test_short_captions_without_any_vocabulary_share_their_nouns() -> None:
    assert found(table(("a dog", 40), ("a cat", 40), ("a dog and a cat", 1))) == set()


def test_a_part_of_a_word_names_nothing() -> None:
    assert found(table(("concatenated", 9)), ("cat",)) == {"concatenated"}


def test_canned_answers_close_the_gate_and_templates_do_not(tables, store, tmp_path) -> None:
    for row in range(20, 40):
        tables.plant("images", row, caption=CANNED)
    with pytest.raises(GateError, match=r"image_caption_canned .* 20 of 40 rows failed \(50.00%\), tolerance 1.00%"):
        run(ValidateParams(), store(tables), tmp_path / "out")
    for row in range(40):
        tables.plant("images", row, caption="a photo of a red car")
    run(ValidateParams(), store(tables), tmp_path / "out")


def test_refusals_close_the_gate_above_the_tolerance(tables, store, tmp_path) -> None:
    for row in range(3):
        tables.plant("images", row, caption="My guidelines keep me from naming anyone who appears here.")
    params = ValidateParams(tolerances={"image_caption_refusal": 0.1})
    assert ("images", "37 of 40 pass (92.5%)") in run(params, store(tables), tmp_path / "out").rows
    with pytest.raises(GateError, match=r"image_caption_refusal .* 3 of 40 rows"):
        run(ValidateParams(), store(tables), tmp_path / "out")
