"""One image: what is said of it, and what when it cannot be read."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from umgclip.browse.cards import describe
from umgclip.browse.reading import PickedSample
from umgclip.io.images import encode_jpeg
from umgclip.records import Mask, Region, Text


def stored(raw, **changes):
    return PickedSample(
        **{"shard": "a.tar", "position": 0, "key": raw.key, "image": raw.image, "json": raw.json, **changes}
    )


def test_a_card_says_all_that_the_record_says(kit):
    card, picture = describe(stored(kit.sample("k")), 512)
    assert card["captions"] == [("a view of k", 1.0, "alt", "")]
    assert card["tags"] == [("thing k", 0.5, "model", "")]
    region = card["regions"][0]
    assert (region["id"], region["box"], region["score"], region["stuff"], region["area"]) == (
        "0", [20, 10, 60, 40], 0.25, False, 1200,
    )  # fmt: skip
    assert region["outline"].startswith("M")
    assert region["captions"] is None  # not asked for, which is not the same as none found
    assert (card["wh"], card["grid"], card["notes"], card["readable"]) == ((80, 60), (512, 384), [], True)
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("JPEG", (80, 60))


def test_pictures_are_made_smaller_and_lose_their_metadata(kit):
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((900, 1200, 3), np.uint8)).save(buffer, "JPEG", exif=exif)
    card, picture = describe(stored(kit.sample("k", width=1200, height=900), image=buffer.getvalue()), 256)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (256, 192) == card["grid"]
        assert not image.getexif()
    assert b"where I live" not in picture


def test_a_broken_image_keeps_what_is_said_of_it(kit):
    card, picture = describe(stored(kit.sample("k"), image=b"\xff\xd8\xff nothing"), 512)
    assert picture is None
    assert card["readable"] is False
    assert "a.tar:k: not a readable image" in card["notes"][0]
    assert card["captions"]
    assert card["regions"][0]["outline"]


def test_a_broken_record_keeps_its_picture(kit):
    card, picture = describe(stored(kit.sample("k"), json=b'{"key": "k"}'), 512)
    assert picture is not None
    assert card["readable"] is False
    assert card["grid"] == (512, 384)
    assert "Field required" in card["notes"][0]


def test_a_sample_without_files_is_a_card_too():
    card, picture = describe(PickedSample("a.tar", 0, "k", None, None, "no image file"), 512)
    assert (card["notes"], card["readable"], picture) == (["no image file"], False, None)


def test_sizes_that_differ_are_said(kit):
    card, _ = describe(stored(kit.sample("k"), image=encode_jpeg(np.zeros((30, 40, 3), np.uint8))), 512)
    assert card["notes"] == ["the record says 80 x 60 pixels, the image has (40, 30)"]


def test_masks_that_are_none_are_said(kit):
    box = (0.0, 0.0, 5.0, 5.0)
    wrong = [
        Region(id="huge", box_xyxy=box, mask=Mask(size=(10**6, 10**6), counts="0")),
        Region(id="none", box_xyxy=box, mask=Mask(size=(60, 80), counts="ä")),
        Region(id="other", box_xyxy=box, mask=Mask(size=(3, 4), counts="<")),
    ]
    card, _ = describe(stored(kit.sample("k", regions=wrong)), 512)
    assert [note.partition(":")[0] for note in card["notes"]] == ["region huge", "region none", "region other"]
    assert all("outline" not in region for region in card["regions"])


def test_endless_lists_and_texts_are_cut_and_said(kit):
    texts = [Text(text="x" * 10_000, source="alt")] * 80
    regions = [Region(id=str(n), box_xyxy=(0, 0, 5, 5)) for n in range(1000)]
    card, _ = describe(stored(kit.sample("k", captions=texts, regions=regions)), 512)
    assert len(card["captions"]) == 50
    assert card["captions"][0][0].endswith("(10000 characters)")
    assert len(card["regions"]) == 300
    assert card["notes"] == ["1000 regions, the first 300 are shown", "a list of 80 texts, the first 50 are shown"]


def test_what_others_say_of_a_text_and_who_found_a_place_is_shown(kit):
    tag = Text(text="dog", score=0.9, source="a", filter_score=0.25, agreed_by=["b", "c"])
    region = Region(id="0", box_xyxy=(0, 0, 5, 5), tags=[tag], source="detector", mask_source="masker")
    card, _ = describe(stored(kit.sample("k", regions=[region])), 512)
    assert card["regions"][0]["tags"] == [("dog", 0.9, "a", "filter 0.250; also b, c")]
    assert card["regions"][0]["by"] == {"found by": "detector", "drawn by": "masker"}
