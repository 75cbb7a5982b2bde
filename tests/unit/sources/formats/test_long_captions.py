"""Retrieval sets of long captions, laid out as they are delivered."""

import json

import pytest

from umgclip.errors import DataError, InputError

LONG = "A street with a red tram. " * 30


def caption(number):
    return f"Image {number}. {LONG}".strip()


@pytest.fixture
def urban(kit, tmp_path):
    for number in range(3):
        kit.photo(tmp_path / "in" / "image" / f"{number}.jpg", number)
        kit.write_text(tmp_path / "in" / "caption" / f"{number}.txt", caption(number), "a second line is not read")
    return tmp_path / "in"


@pytest.fixture
def dci(kit, tmp_path):
    for number in range(2):
        kit.photo(tmp_path / "in" / "photos" / f"sa_{number}.jpg", number)
        about = {"image": f"sa_{number}.jpg", "short_caption": f"Short {number}.", "extra_caption": caption(number)}
        path = tmp_path / "in" / "annotations" / f"long-name-{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**about, "mask_data": {}, "mask_keys": []}))
    return tmp_path / "in"


@pytest.fixture
def docci(kit, tmp_path):
    lines = []
    for number, split in enumerate(["train", "test", "test", "qual_dev"]):
        name = f"{split}_{number:05d}"
        kit.photo(tmp_path / "in" / "images" / f"{name}.jpg", number)
        lines.append({"example_id": name, "split": split, "image_file": f"{name}.jpg", "description": caption(number)})
    (tmp_path / "in" / "docci_descriptions.jsonlines").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "in"


@pytest.fixture
def sharegpt4v(kit, tmp_path):
    def turns(number):
        return [{"from": "human", "value": "Describe."}, {"from": "gpt", "value": caption(number)}]

    for number in range(2):
        kit.photo(tmp_path / "in" / f"sa_{number}.jpg", number)
    images = [{"id": f"{n}", "image": f"sam/images/sa_{n}.jpg", "conversations": turns(n)} for n in range(2)]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(images))
    return path


def bring(kit, source, task, split="benchmark", **options):
    return kit.bring("long_captions", source, source.parent / "data", split, task=task, **options)


def captions(done):
    return {name: [text.text for text in record.captions] for name, record in done.records.items()}


def test_urban_1k_has_a_text_for_each_image(kit, urban):
    done = bring(kit, urban, "urban1k")
    assert captions(done) == {f"image/{number}.jpg": [caption(number)] for number in range(3)}
    assert done.reasons == []
    assert {text.source for record in done.records.values() for text in record.captions} == {"human"}
    assert set(kit.measure(urban.parent / "data" / "benchmark")) == {"retrieval"}


def test_dci_has_a_json_for_each_image(kit, dci):
    assert captions(bring(kit, dci, "dci")) == {f"photos/sa_{n}.jpg": [caption(n)] for n in range(2)}
    full = captions(kit.bring("long_captions", dci, dci.parent / "full", "benchmark", task="dci-full"))
    assert full == {f"photos/sa_{n}.jpg": [f"Short {n}. {caption(n)}"] for n in range(2)}


def test_docci_has_lines_and_splits(kit, docci):
    done = bring(kit, docci, "docci")
    assert captions(done) == {f"images/test_{n:05d}.jpg": [caption(n)] for n in (1, 2)}
    with pytest.raises(DataError, match="the split 'dev', got qual_dev, test, train"):
        bring(kit, docci, "docci", subset="dev")


def test_sharegpt4v_is_the_beginning_of_a_json_of_conversations(kit, sharegpt4v, monkeypatch):
    source = sharegpt4v.parent / "in"
    done = bring(kit, source, "sharegpt4v", annotations=(str(sharegpt4v),))
    assert captions(done) == {f"sam/images/sa_{n}.jpg": [caption(n)] for n in range(2)}
    monkeypatch.setattr("umgclip.sources.formats.long_captions._SHAREGPT4V_IMAGES", 1)
    less = kit.bring(
        "long_captions", source, source.parent / "less", "train", task="sharegpt4v", annotations=(str(sharegpt4v),)
    )
    (record,) = less.records.values()
    assert [text.source for text in record.captions] == ["sharegpt4v"]


def test_what_is_missing_costs_its_image_and_is_counted(kit, urban):
    (urban / "caption" / "0.txt").unlink()
    (urban / "caption" / "1.txt").write_text("\n \n")
    (urban / "caption" / "9.txt").write_text(caption(9))
    done = bring(kit, urban, "urban1k")
    assert list(done.records) == ["image/2.jpg"]
    reasons = [("no_caption", "image/0.jpg"), ("no_caption", "image/1.jpg"), ("no_image", "caption/9.txt")]
    assert sorted(done.reasons) == reasons


def test_a_json_that_makes_no_sense_costs_its_image(kit, dci):
    (dci / "annotations" / "long-name-0.json").write_text('{"image": "sa_0.jpg"}')
    (dci / "annotations" / "x.json").write_text("[1]")
    (dci / "annotations" / "y.json").write_text('{"extra_caption": "a tram"}')
    done = bring(kit, dci, "dci")
    assert list(done.records) == ["photos/sa_1.jpg"]
    assert sorted(reason for reason, _ in done.reasons) == ["bad_record", "no_caption", "no_image"]


def test_a_set_that_is_not_there_is_named_with_its_page(kit, tmp_path):
    (tmp_path / "in").mkdir()
    pages = {"urban1k": "BeichenZhang/Urban1k", "dci": "facebookresearch/DCI", "docci": "google.github.io/docci"}
    for task, page in pages.items():
        with pytest.raises(DataError, match=page):
            bring(kit, tmp_path / "in", task)
    with pytest.raises(DataError, match="--task urban1k, found .*; for another set: --task dci, dci-full"):
        bring(kit, tmp_path / "in", "urban1k")
    with pytest.raises(InputError, match="sharegpt4v: expected --annotations"):
        bring(kit, tmp_path / "in", "sharegpt4v")
    with pytest.raises(InputError, match="expected --task urban1k, dci, .* got 'coco'"):
        bring(kit, tmp_path / "in", "coco")
