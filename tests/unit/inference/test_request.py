"""Requests: what is understood, and what is refused by name."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from umgclip.errors import DataError, InputError
from umgclip.geometry.masks import encode, to_grid
from umgclip.inference.request import LimitError, Limits, Prepared, Target, prepare
from umgclip.io.images import encode_jpeg, encode_png

TARGET = Target((96, 96), (8, 8), ("dog", "apple", "sky"))
IMAGE = encode_png(np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8))
MASK = np.zeros((60, 120), bool)
MASK[10:30, 20:90] = True


def read(request: dict, limits: Limits | None = None, target: Target = TARGET) -> Prepared:
    return prepare({"image": IMAGE, **request}, target, limits or Limits(), "row 3")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png_of(mask: np.ndarray, mode: str = "L") -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(buffer, format="PNG")
    return base64_of(buffer.getvalue())


def test_an_image_alone_is_squeezed_to_the_models_square():
    got = read({})
    assert got.pixels.shape == (96, 96, 3)
    assert got.image_wh == (120, 60)
    assert (got.labels, got.tags, got.vocabulary, got.similarity_map, got.region_embeddings) == (
        (),
        0,
        (),
        False,
        False,
    )
    assert (len(got.boxes), len(got.masks)) == (0, 0)


@pytest.mark.parametrize(
    "image",
    [IMAGE, bytearray(IMAGE), memoryview(IMAGE), base64_of(IMAGE), f"data:image/png;base64,{base64_of(IMAGE)}"],
)
def test_bytes_base64_and_data_urls_are_the_same_image(image):
    assert np.array_equal(read({"image": image}).pixels, read({}).pixels)


def test_gaps_in_a_table_count_as_absent():
    gaps = dict.fromkeys(("labels", "boxes", "masks", "tags", "vocabulary", "similarity_map"), math.nan)
    got = read({**gaps, "region_embeddings": None})
    assert (got.labels, got.tags, got.similarity_map, len(got.boxes)) == ((), 0, False, 0)


def test_tables_hold_arrays_and_whole_numbers_as_floats():
    got = read({"labels": np.array(["dog", "cat"]), "boxes": np.array([[0, 0, 60, 30]]), "tags": 2.0})
    assert got.labels == ("dog", "cat")
    assert got.tags == 2
    assert got.boxes.tolist() == [[0.0, 0.0, 0.5, 0.5]]


def test_boxes_are_cut_to_the_image_and_become_shares():
    got = read({"boxes": [[-5, 0, 60, 30], [90.0, 15, 500, 45]]})
    assert got.boxes.tolist() == [[0.0, 0.0, 0.5, 0.5], [0.75, 0.25, 1.0, 0.75]]


def test_boxes_and_masks_are_those_of_the_upright_image():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.zeros((60, 120, 3), np.uint8)).save(buffer, format="JPEG", exif=exif)
    got = read({"image": buffer.getvalue(), "boxes": [[0, 0, 60, 60]], "masks": [encode(MASK.T.copy()).model_dump()]})
    assert got.image_wh == (60, 120)
    assert got.boxes.tolist() == [[0.0, 0.0, 1.0, 0.5]]


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P", "LA"])
def test_masks_as_run_lengths_and_as_png_are_the_same(mode):
    got = read({"masks": [encode(MASK).model_dump(), png_of(MASK, mode)]})
    expected = to_grid(MASK, (8, 8))
    assert np.array_equal(got.masks, np.stack([expected, expected]))


def test_transparent_pixels_of_a_png_are_outside():
    pixels = np.full((60, 120, 4), 255, np.uint8)
    pixels[..., 3] = np.where(MASK, 255, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    assert np.array_equal(read({"masks": [base64_of(buffer.getvalue())]}).masks, read({"masks": [png_of(MASK)]}).masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_of_zeros_and_ones_is_a_mask_as_well(dtype):
    buffer = io.BytesIO()
    Image.fromarray(MASK.astype(dtype)).save(buffer, format="PNG")
    assert np.array_equal(read({"masks": [base64_of(buffer.getvalue())]}).masks, read({"masks": [png_of(MASK)]}).masks)


@pytest.mark.parametrize("seed", range(40))
def test_run_lengths_decode_as_pycocotools_does(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 70, 2))
    noise = rng.random((height, width))
    mask = noise < rng.choice([0.02, 0.5, 0.98, 1.1])
    mask[0, 0] |= not mask.any()
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    image = encode_png(np.zeros((height, width, 3), np.uint8))
    target = Target((96, 96), (height, width), ())
    got = read({"image": image, "masks": [{"size": [height, width], "counts": rle["counts"]}]}, target=target)
    assert np.array_equal(got.masks[0] > 0, mask)


def test_tags_come_from_the_registered_vocabulary_or_from_ones_own():
    assert read({"tags": 2}).vocabulary == ("dog", "apple", "sky")
    assert read({"tags": 2, "vocabulary": ["cat", "cow", "cat"]}).vocabulary == ("cat", "cow")
    assert read({"tags": 0}).vocabulary == ()


RLE = encode(MASK).model_dump()
SMALL = encode(MASK[:30]).model_dump()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"image": None}, "row 3: image: expected bytes or base64 text of a JPEG, PNG or WebP file, got none"),
        ({"image": 5}, "image: expected bytes or base64 text, got int"),
        ({"image": "not base64!"}, "image: not valid base64"),
        ({"image": "data:image/png;charset=utf-8,xyz"}, "image: expected image bytes, got an empty file"),
        ({"image": b""}, "image: expected image bytes, got an empty file"),
        ({"image": b"no image"}, "image: not a readable image"),
        ({"image": IMAGE[:300]}, "image: not a readable image"),
        ({"box": [[0, 0, 9, 9]]}, "unknown field 'box'; expected some of image, labels, boxes"),
        ({"labels": "dog"}, "labels: expected a list of texts, got 'dog'"),
        ({"labels": 5}, "labels: expected a list of texts, got 5"),
        ({"labels": {"dog": 1}}, "labels: expected a list of texts"),
        ({"labels": ["dog", " "]}, r"labels\[1\]: expected a text that is not empty, got ' '"),
        ({"labels": ["dog", 7]}, r"labels\[1\]: expected a text that is not empty, got 7"),
        ({"boxes": [0, 0, 9, 9]}, r"boxes\[0\]: expected 4 numbers x0 y0 x1 y1, got 0"),
        ({"boxes": [[0, 0, 9]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": [[0, 0, 9, "9"]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": [[0, 0, True, 9]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": [[0, 0, math.nan, 9]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": [[0, 0, math.inf, 9]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": [[0, 0, [9], 9]]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": ["0099"]}, r"boxes\[0\]: expected 4 numbers"),
        ({"boxes": "all"}, "boxes: expected a list of boxes, got 'all'"),
        ({"boxes": [[5, 5, 5, 9]]}, r"boxes\[0\]: expected x0 < x1 and y0 < y1 within 120 x 60 pixels, got \[5, 5"),
        ({"boxes": [[200, 5, 300, 9]]}, r"boxes\[0\]: expected x0 < x1"),
        ({"masks": RLE}, "masks: expected a list of masks"),
        ({"masks": [5]}, r"masks\[0\]: expected a COCO run-length encoding or a PNG file as base64, got 5"),
        ({"masks": ["zzz"]}, r"masks\[0\]: not valid base64"),
        ({"masks": [base64_of(encode_jpeg(np.zeros((60, 120, 3), np.uint8)))]}, r"masks\[0\]: not a readable PNG file"),
        ({"masks": [png_of(MASK[:30])]}, r"masks\[0\]: expected the image's height 60 and width 120, got 30 and 120"),
        ({"masks": [SMALL]}, r"masks\[0\]: size: expected the image's height 60 and width 120, got 30 and 120"),
        ({"masks": [{"counts": RLE["counts"]}]}, r"masks\[0\]: size: expected \[height, width\], got None"),
        ({"masks": [{"size": ["60", 120], "counts": "0"}]}, r"masks\[0\]: size: expected \[height, width\]"),
        ({"masks": [{"size": [60, 120]}]}, r"masks\[0\]: counts: expected the text of a compressed COCO"),
        ({"masks": [{"size": [60, 120], "counts": [7200]}]}, r"masks\[0\]: counts: expected the text of a compressed"),
        (
            {"masks": [{"size": [60, 120], "counts": SMALL["counts"]}]},
            "counts: expected runs of 60 x 120 pixels in all",
        ),
        ({"masks": [encode(MASK & False).model_dump()]}, r"masks\[0\]: expected at least one pixel inside"),
        ({"tags": -1}, "tags: expected a whole number of tags, 0 or more, got -1"),
        ({"tags": 1.5}, "tags: expected a whole number"),
        ({"tags": True}, "tags: expected a whole number"),
        ({"tags": "5"}, "tags: expected a whole number"),
        ({"vocabulary": ["dog"]}, "tags: expected how many of the vocabulary to name, got none"),
        ({"tags": 3, "vocabulary": [5]}, r"vocabulary\[0\]: expected a text"),
        ({"similarity_map": True}, "labels: expected at least one text for similarity_map, got none"),
        ({"similarity_map": 1, "labels": ["dog"]}, "similarity_map: expected true or false, got 1"),
        ({"region_embeddings": "yes"}, "region_embeddings: expected true or false, got 'yes'"),
    ],
)
def test_what_is_wrong_is_named(request_, message):
    with pytest.raises((InputError, DataError), match=message):
        read(request_)


def test_tags_without_any_vocabulary_are_refused():
    with pytest.raises(InputError, match="vocabulary: expected texts, because the model was registered with none"):
        read({"tags": 1}, target=Target((96, 96), (8, 8), ()))


@pytest.mark.parametrize(
    "counts",
    ["", "o", "0o", "P" * 50, "zzzzzzzz", "\u00e9", "ooooooooooooooooooooooooo0", "\x00", " ", "0" * 9, "n" * 4 + "O"],
)
def test_malformed_run_lengths_are_refused_before_any_memory_is_read(counts):
    with pytest.raises(InputError, match=r"masks\[0\]: counts: expected"):
        read({"masks": [{"size": [60, 120], "counts": counts}]})


def test_random_run_lengths_never_do_anything_but_decode_or_be_refused():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        text = bytes(rng.integers(40, 120, rng.integers(1, 12)).astype(np.uint8))
        try:
            read({"masks": [{"size": [60, 120], "counts": text}]})
        except InputError as error:
            assert "masks[0]" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("request_", "limits", "message"),
    [
        ({}, Limits(image_bytes=100), r"image: expected at most 100 bytes, got \d+"),
        ({}, Limits(pixels=7199), "image: expected at most 7199 pixels, got 120 x 60"),
        ({"labels": ["a", "b"]}, Limits(texts=1), "labels: expected at most 1 texts, got 2"),
        ({"tags": 1, "vocabulary": ["a", "b"]}, Limits(texts=1), "vocabulary: expected at most 1 texts, got 2"),
        ({"labels": ["abc"]}, Limits(text_chars=2), r"labels\[0\]: expected at most 2 characters, got 3"),
        ({"boxes": [[0, 0, 9, 9]], "masks": [RLE]}, Limits(regions=1), "expected at most 1 boxes and masks, got 2"),
    ],
)
def test_more_than_the_callers_limits_is_an_error_of_its_own(request_, limits, message):
    with pytest.raises(LimitError, match=message):
        read(request_, limits)
    read({"labels": ["ab"], "boxes": [[0, 0, 9, 9]]}, Limits(len(IMAGE), 7200, 1, 2, 1))


def test_an_image_larger_than_the_limit_is_refused_by_its_header():
    bomb = encode_png(np.zeros((4000, 4000, 3), np.uint8))[:200]
    with pytest.raises(LimitError, match="expected at most 1000000 pixels, got 4000 x 4000"):
        read({"image": bomb}, Limits(pixels=1_000_000))


def test_errors_quote_little_of_what_was_sent():
    with pytest.raises(InputError) as caught:
        read({"labels": "x" * 10_000})
    assert len(str(caught.value)) < 200


def test_broken_files_are_never_anything_but_named():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    webp = io.BytesIO()
    Image.fromarray(pixels).save(webp, format="WEBP")
    for data in (encode_png(pixels), encode_jpeg(pixels), webp.getvalue()):
        for _ in range(300):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), rng.integers(1, 6)):
                broken[place] = rng.integers(0, 256)
            try:
                read({"image": bytes(broken[: rng.integers(1, len(data) + 1)])}, Limits(pixels=1_000_000))
            except (InputError, DataError) as error:
                assert "row 3: image" in str(error)  # noqa: PT017
