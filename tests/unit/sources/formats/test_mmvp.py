"""MMVP-VLM as delivered: a table of statements and a folder of images for each pattern."""

import pytest

from umgclip.errors import DataError, InputError

HEADER = "Question ID,Type,Statement"
ROWS = (
    '1,Color and Appearance,"a red car, parked"',
    "2,Color and Appearance,a blue car",
    "3,Quantity and Count,one dog",
    "4,Quantity and Count,two dogs",
)


@pytest.fixture
def source(kit, tmp_path):
    """Two complete pairs."""
    folder = tmp_path / "MMVP_VLM"
    kit.write_text(folder / "Questions.csv", HEADER, *ROWS)
    for number, pattern in enumerate(("Color and Appearance",) * 2 + ("Quantity and Count",) * 2, start=1):
        kit.photo(folder / "MLLM_VLM Images" / pattern / f"{number}.jpg", seed=number)
    return folder


def bring(kit, source, **options):
    return kit.bring("mmvp", source, source.parent / "data", options.pop("split", "benchmark"), **options)


def test_rows_become_sides_of_pairs(kit, source):
    done = bring(kit, source)
    record = done.records["MLLM_VLM Images/Color and Appearance/1.jpg"]
    (side,) = record.pairs
    assert (side.id, side.pattern, side.text) == ("1", "Color and Appearance", "a photo of a red car, parked")
    assert record.captions is record.tags is record.regions is None
    sides = [side for each in done.records.values() for side in each.pairs]
    assert sorted((side.id, side.text) for side in sides)[2:] == [
        ("2", "a photo of one dog"),
        ("2", "a photo of two dogs"),
    ]
    assert done.reasons == []


def test_table_and_folder_may_be_called_otherwise(kit, source):
    """DIVA's copy has an underscore in the folder's name; the table may be elsewhere, without a header, with a BOM."""
    (source / "MLLM_VLM Images").rename(source / "MLLM_VLM_Images")
    table = kit.write_text(source.parent / "elsewhere.csv", "\ufeff" + ROWS[0], *ROWS[1:])
    (source / "Questions.csv").unlink()
    done = bring(kit, source, annotations=(str(table),))
    assert len(done.records) == 4
    assert done.reasons == []


def test_a_pair_that_lacks_an_image_or_a_row_costs_that_pair(kit, source):
    (source / "MLLM_VLM Images" / "Quantity and Count" / "4.jpg").unlink()
    kit.photo(source / "MLLM_VLM Images" / "Color and Appearance" / "4.jpg", seed=9)  # of another pattern
    kit.write_text(source / "Questions.csv", HEADER, *ROWS, "5,Texts,a sign", "x,Texts,no number", "6,,no pattern")
    done = bring(kit, source)
    assert len(done.records) == 2
    assert done.reasons == [
        ("bad_row", "Questions.csv: line 7"),
        ("bad_row", "Questions.csv: line 8"),
        ("bad_row", "pair 3"),
        ("no_image", "pair 2"),
    ]


def test_rows_that_contradict_each_other_cost_their_pair(kit, source):
    twice = ("3,Quantity and Count,one dog", "4,Quantity and Count,one dog")
    kit.write_text(source / "Questions.csv", HEADER, ROWS[0], "2,Texts,a blue car", *twice)
    with pytest.raises(DataError, match="got no complete pair"):
        bring(kit, source)
    kit.write_text(source / "Questions.csv", HEADER, *ROWS[:2], *twice)
    assert bring(kit, source).reasons == [("bad_row", "pair 2")]


def test_what_is_missing_is_named(kit, source):
    with pytest.raises(InputError, match="mmvp: expected --split benchmark, got train"):
        bring(kit, source, split="train")
    (source / "Questions.csv").unlink()
    with pytest.raises(DataError, match=r"expected one table Questions.csv .*MMVP-VLM is at https://huggingface.co"):
        bring(kit, source)


def test_an_image_in_two_pairs_keeps_both_sides(kit, source):
    folder = source / "MLLM_VLM Images"
    (folder / "Quantity and Count" / "3.jpg").write_bytes((folder / "Color and Appearance" / "1.jpg").read_bytes())
    done = bring(kit, source)
    assert len(done.records) == 3
    assert [side.id for side in done.records["MLLM_VLM Images/Color and Appearance/1.jpg"].pairs] == ["1", "2"]
