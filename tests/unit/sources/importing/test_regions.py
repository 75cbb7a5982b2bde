"""Regions placed on the stored image, against Pillow's own turning and drawing."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from umgclip.geometry import masks as mask_ops
from umgclip.io.images import prepare_image
from umgclip.sources.importing.regions import place_regions
from umgclip.sources.note import RawRegion

WIDTH, HEIGHT = 40, 24
RECTANGLE = (5, 3, 17, 20)


def prepared(orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(buffer, "PNG", exif=exif)
    return prepare_image(buffer.getvalue())


def drawn():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x0, y0, x1, y1 = RECTANGLE
    mask[y0:y1, x0:x1] = True
    return mask


def turned(mask, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        return np.asarray(ImageOps.exif_transpose(image)) > 0


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_what_was_measured_on_the_file_turns_with_it(orientation):
    x0, y0, x1, y1 = RECTANGLE
    ring = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    raws = [RawRegion("a", box=RECTANGLE, shape=ring), RawRegion("b", shape=drawn())]
    placed = place_regions(raws, prepared(orientation), (WIDTH, HEIGHT))
    expected = turned(drawn(), orientation)
    assert placed.problems == []
    for region in placed.regions:
        np.testing.assert_array_equal(mask_ops.decode(region.mask), expected)
        assert region.box_xyxy == mask_ops.box_of(expected)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [None, "as shown"])
def test_what_was_measured_on_the_image_as_shown_stays(orientation, size):
    image = prepared(orientation)
    placed = place_regions([RawRegion("a", box=(1, 2, 9, 20))], image, (image.width, image.height) if size else None)
    assert placed.regions[0].box_xyxy == (1, 2, 9, 20)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(RawRegion("a", box=(-3, -4, 10, 10)), (0, 0, 10, 10), id="cut to the image"),
        pytest.param(RawRegion("a", box=(0.25, 0.5, 0.5, 1.0), shares=True), (10, 12, 20, 24), id="shares"),
        pytest.param(RawRegion("a", box=(10, 5, 7.5, 2), form="xywh"), (10, 5, 17.5, 7), id="sides"),
        pytest.param(RawRegion("a", shape=[[0, 0, 10, 0, 10, 10, 0, 10]]), (0, 0, 10, 10), id="polygon only"),
        pytest.param(RawRegion("a", shape=[0, 0, 10, 0, 10, 10, 0, 10]), (0, 0, 10, 10), id="a bare polygon"),
        pytest.param(RawRegion("a", shape=[[[0, 0], [10, 0], [10, 10]]]), None, id="points as pairs"),
    ],
)
def test_boxes_and_shapes(raw, expected):
    placed = place_regions([raw], prepared(), None)
    (region,) = placed.regions
    assert placed.problems == []
    assert expected is None or region.box_xyxy == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(RawRegion("a", box=(50, 5, 60, 10)), "box_outside", id="outside"),
        pytest.param(RawRegion("a", box=(5, 5, 5, 10)), "bad_box", id="without width"),
        pytest.param(RawRegion("a", box=(5, 5, float("nan"), 10)), "bad_box", id="not a number"),
        pytest.param(RawRegion("a", box=("1", 2, 3, 4)), "bad_box", id="texts"),
        pytest.param(RawRegion("a", box=(1, 2, 3)), "bad_box", id="three numbers"),
        pytest.param(RawRegion("a"), "no_box", id="nothing"),
        pytest.param(RawRegion("a", shape=np.zeros((HEIGHT, WIDTH), bool)), "empty_mask", id="empty"),
        pytest.param(RawRegion("a", shape=np.zeros((3, 3), bool)), "bad_mask", id="another size"),
    ],
)
def test_what_cannot_be_placed_has_a_reason(raw, reason):
    placed = place_regions([raw], prepared(), None)
    problems = [(problem.reason, problem.region_id) for problem in placed.problems]
    assert (placed.regions, problems) == ([], [(reason, "a")])
