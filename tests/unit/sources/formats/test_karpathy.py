"""Karpathy's split of COCO and Flickr30k: one split, every sentence."""

import json

import pytest

from umgclip.errors import DataError, InputError


@pytest.fixture
def source(kit, tmp_path):
    """Four images of COCO in two folders, and the JSON."""
    images = []
    for number, (split, year) in enumerate([("test", "val"), ("train", "train"), ("test", "val"), ("restval", "val")]):
        folder, name = f"{year}2014", f"COCO_{year}2014_{number:012d}.jpg"
        kit.photo(tmp_path / "coco" / folder / name, number)
        raws = [f"sentence {number}.", f"sentence {number}.", " more \n words "]
        images.append(
            {"filepath": folder, "filename": name, "split": split, "cocoid": number, "imgid": number,
             "sentences": [{"raw": raw, "tokens": raw.split(), "sentid": 7} for raw in raws]}
        )  # fmt: skip
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return tmp_path


def bring(kit, source, **options):
    given = {"annotations": (str(source / "dataset_coco.json"),), **options}
    return kit.bring("karpathy", source / "coco", source / "data", "benchmark", **given)


def test_the_images_of_one_split_with_all_their_sentences(kit, source):
    done = bring(kit, source)
    assert sorted(done.records) == ["val2014/COCO_val2014_000000000000.jpg", "val2014/COCO_val2014_000000000002.jpg"]
    record = done.records["val2014/COCO_val2014_000000000002.jpg"]
    assert [text.text for text in record.captions] == ["sentence 2.", "sentence 2.", "more words"]
    assert {text.source for text in record.captions} == {"human"}
    assert (record.tags, record.regions, done.manifest.classes) == (None, None, None)
    assert set(kit.measure(source / "data" / "benchmark")) == {"retrieval"}
    assert list(bring(kit, source, subset="restval").records) == ["val2014/COCO_val2014_000000000003.jpg"]


def test_images_may_lie_in_one_folder(kit, source):
    for path in list((source / "coco").rglob("*.jpg")):
        path.rename(source / "coco" / path.name)
    assert len(bring(kit, source).records) == 2


def test_a_missing_image_costs_itself_only(kit, source):
    (source / "coco" / "val2014" / "COCO_val2014_000000000000.jpg").unlink()
    done = bring(kit, source)
    assert len(done.records) == 1
    assert done.reasons == [("no_image", "val2014/COCO_val2014_000000000000.jpg")]


def test_what_is_missing_is_named(kit, source):
    with pytest.raises(DataError, match=r"nothing\.json: expected the images with .*deepimagesent"):
        bring(kit, source, annotations=(str(source / "nothing.json"),))
    with pytest.raises(DataError, match=r"the split 'dev', got test \(2\), train \(1\), restval \(1\)"):
        bring(kit, source, subset="dev")
    with pytest.raises(InputError, match="expected --annotations, dataset_flickr30k.json or"):
        bring(kit, source, annotations=())
