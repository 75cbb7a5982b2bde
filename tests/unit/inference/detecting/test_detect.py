"""`Model.detect` with a small model of random weights, against the package supervision itself."""

import io
import sys

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

import umgclip
from umgclip.errors import InputError
from umgclip.inference.detecting.detector import DetectSettings
from umgclip.model.clip import files
from umgclip.params import TowerParams


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    config = files.tower_config(TowerParams(width=32, layers=1, heads=2, text_width=32, text_layers=1, text_heads=2))
    folder = tmp_path_factory.mktemp("base")
    files.save(folder, files.build(config), config)
    return umgclip.load(folder)


@pytest.fixture(scope="module")
def discs():
    pixels = np.full((96, 128, 3), (200, 190, 150), np.uint8)
    cv2.circle(pixels, (30, 30), 16, (200, 40, 40), -1)
    cv2.circle(pixels, (90, 60), 20, (40, 60, 200), -1)
    return pixels


def all_of(model, image, labels=("dog", "red mug"), **options):
    return model.detect(image, list(labels), threshold=0, overlap=1, part=1, **options)


def test_proposals_come_with_mask_box_label_and_confidence(model, discs):
    detections = all_of(model, discs)
    assert isinstance(detections, sv.Detections)
    assert len(detections) >= 2
    assert detections.xyxy.dtype == np.float32
    assert detections.mask.dtype == bool
    assert detections.mask.shape == (len(detections), 96, 128)
    assert detections.confidence.dtype == np.float32
    assert (np.diff(detections.confidence) <= 0).all()
    np.testing.assert_array_equal(sv.mask_to_xyxy(detections.mask) + [0, 0, 1, 1], detections.xyxy)
    assert [["dog", "red mug"][i] for i in detections.class_id] == detections.data["class_name"].tolist()


def test_the_threshold_the_number_and_overlaps_are_settings(model, discs):
    every = all_of(model, discs)
    middle = float(np.median(every.confidence))
    assert (
        len(model.detect(discs, ["dog", "red mug"], threshold=middle, overlap=1, part=1))
        == (every.confidence >= np.float32(middle)).sum()
    )
    assert len(all_of(model, discs, most=1)) == 1
    ious = sv.mask_iou_batch(*[model.detect(discs, ["dog", "red mug"], threshold=0, overlap=0.5).mask] * 2)
    assert (ious[~np.eye(len(ious), dtype=bool)] <= 0.5).all()


def test_given_boxes_and_masks_take_the_place_of_proposals(model, discs):
    boxes = [[10, 10, 50, 50], [60, 30, 120, 90]]
    detections = all_of(model, discs, boxes_xyxy=boxes)
    assert detections.mask is None
    assert sorted(detections.xyxy.tolist()) == boxes
    mask = np.zeros((96, 128), bool)
    mask[10:50, 10:50] = True
    detections = all_of(model, discs, masks=[mask])
    assert detections.xyxy.tolist() == [[10, 10, 50, 50]]
    np.testing.assert_array_equal(detections.mask[0], mask)


def test_a_box_that_reaches_over_the_border_is_cut_there_and_one_outside_refused(model, discs):
    assert all_of(model, discs, boxes_xyxy=[[0, 0, 3000, 30]]).xyxy.tolist() == [[0, 0, 128, 30]]
    assert all_of(model, discs, boxes_xyxy=[[-50, 60, 20, 5000]]).xyxy.tolist() == [[0, 60, 20, 96]]
    with pytest.raises(InputError, match=r"boxes_xyxy\[1\]: expected x0 < x1 and y0 < y1 within 128 x 96 pixels"):
        all_of(model, discs, boxes_xyxy=[[0, 0, 9, 9], [128, 0, 3000, 30]])


@pytest.mark.parametrize("kind", ["boxes", "array", "masks", "detections", "nothing"])
def test_a_function_may_propose(model, discs, kind):
    mask = np.zeros((96, 128), bool)
    mask[10:50, 10:50] = True
    answers = {
        "boxes": [[10, 10, 50, 50]],
        "array": np.array([[10, 10, 50, 50]]),
        "masks": mask[None],
        "detections": sv.Detections(xyxy=np.array([[10.0, 10, 50, 50]]), confidence=np.array([0.25])),
        "nothing": [],
    }
    shown = []
    detections = all_of(model, discs, proposer=lambda pixels: (shown.append(pixels), answers[kind])[1])
    np.testing.assert_array_equal(shown[0], discs)
    assert detections.xyxy.tolist() == ([] if kind == "nothing" else [[10, 10, 50, 50]])
    assert (detections.mask is not None) == (kind == "masks")
    if kind == "detections":  # its confidence counts by its root
        assert detections.confidence[0] == pytest.approx(
            all_of(model, discs, boxes_xyxy=[[10, 10, 50, 50]]).confidence / 2
        )


def test_several_images_are_several_answers(model, discs):
    many = model.detect([discs, discs[:, ::-1].copy()], ["dog"], threshold=0)
    assert [type(one) for one in many] == [sv.Detections] * 2
    np.testing.assert_array_equal(many[0].xyxy, model.detect(discs, ["dog"], threshold=0).xyxy)
    boxes = model.detect((image for image in [discs, discs]), ["dog"], threshold=0, boxes_xyxy=[[[0, 0, 9, 9]], []])
    assert [len(one) for one in boxes] == [1, 0]
    assert model.detect([], ["dog"]) == []
    of_other_sizes = model.detect([discs, discs[:40], discs[:, :50]], ["dog"], threshold=0)
    assert [one.mask.shape[1:] for one in of_other_sizes] == [(96, 128), (40, 128), (96, 50)]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4000, 1), (1, 4000), (700, 900)])
def test_images_of_any_size_have_an_answer(model, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    detections = all_of(model, pixels)
    assert detections.xyxy.shape == (len(detections), 4)
    assert detections.mask.shape == (len(detections), *size)


def test_boxes_are_in_pixels_of_the_upright_image(model, discs):
    file = io.BytesIO()
    image = Image.fromarray(discs)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file, format="PNG", exif=exif)
    turned = all_of(model, file.getvalue())
    assert turned.mask.shape[1:] == (128, 96)
    np.testing.assert_array_equal(turned.xyxy, all_of(model, np.rot90(discs, -1).copy()).xyxy)


def test_grey_alpha_and_16_bit_are_images(model, discs):
    grey = discs[..., 0]
    alpha = np.dstack([discs, np.full(grey.shape, 255, np.uint8)])
    for image in (grey, alpha, grey.astype(np.uint16) * 257, Image.fromarray(alpha)):
        assert len(all_of(model, image)) >= 1


def test_an_image_without_proposals_has_an_empty_answer(model):
    empty = model.detect(np.full((40, 60, 3), 128, np.uint8), ["dog"])
    assert len(empty) == 0
    assert empty.xyxy.shape == (0, 4)
    assert empty.mask.shape == (0, 40, 60)
    assert empty.data["class_name"].shape == (0,)
    assert empty.confidence.dtype == np.float32
    assert len(model.detect(np.zeros((8, 8, 3), np.uint8), ["dog"], boxes_xyxy=[])) == 0


def test_labels_of_any_number_and_with_commas(model, discs):
    assert set(all_of(model, discs, ["dog"]).data["class_name"]) == {"dog"}
    thousand = [f"thing {number}" for number in range(1000)]
    assert all_of(model, discs, thousand).class_id.max() < 1000
    assert all_of(model, discs, ["mug, red"]).data["class_name"][0] == "mug, red"
    assert model.detect(discs, "dog", threshold=0).data["class_name"][0] == "dog"


def test_a_word_of_the_background_may_be_a_label(model, discs):
    with_word = all_of(model, discs, ["dog", "Texture"])
    assert with_word.confidence.tolist() == all_of(model, discs, ["dog", "Texture"], background=[
        word for word in DetectSettings().background if word != "texture"]).confidence.tolist()  # fmt: skip


def mistakes():
    box = [[0, 0, 9, 9]]
    yield {"labels": []}, "labels: expected at least one text"
    yield {"labels": ["dog", "cat", " Dog"]}, "labels[2]: expected labels that differ, got ' Dog', which is labels[0]"
    yield {"labels": ["dog", ""]}, "labels[1]: expected a text that is not empty"
    yield {"threshold": 2}, "threshold: expected a number from 0 to 1, got 2"
    yield {"threshold": float("nan")}, "threshold: expected a number from 0 to 1"
    yield {"most": 0}, "most: expected a whole number of at least 1, got 0"
    yield {"nms": 0.5}, "expected one of the settings threshold, background, overlap, part, most, got 'nms'"
    yield {"proposer": "sam"}, "proposer: expected 'segment_tree', or a function that takes an array"
    yield {"boxes_xyxy": box, "masks": []}, "expected boxes_xyxy or masks or neither, got both"
    yield {"boxes_xyxy": [[5, 5, 5, 9]]}, "boxes_xyxy[0]: expected x0 < x1"
    yield {"proposer": lambda _: [[0, 0, 9]]}, "proposer[0]: expected 4 finite numbers"
    yield {"proposer": lambda _: np.zeros((1, 96, 128), bool)}, "proposer[0]: expected at least one pixel inside"
    yield (
        {"proposer": lambda _: sv.Detections(xyxy=np.array(box, float), confidence=np.array([7.0]))},
        "proposer: expected a confidence from 0 to 1 for each of 1 regions",
    )


@pytest.mark.parametrize(("arguments", "message"), list(mistakes()))
def test_mistakes_are_named(model, discs, arguments, message):
    with pytest.raises(InputError) as caught:
        model.detect(discs, **{"labels": ["dog"], **arguments})
    assert message in str(caught.value)


def test_a_number_of_regions_that_differs_is_named(model, discs):
    with pytest.raises(InputError, match="expected one entry per image, 2 in all, got 1"):
        model.detect([discs, discs], ["dog"], boxes_xyxy=[[[0, 0, 9, 9]]])
    with pytest.raises(InputError, match=r"boxes_xyxy\[1\]\[0\]: expected x0 < x1"):
        model.detect([discs, discs], ["dog"], boxes_xyxy=[[[0, 0, 9, 9]], [[200, 0, 300, 9]]])


def test_supervision_draws_and_stores_it(model, discs, tmp_path):
    detections = all_of(model, discs)
    for annotator in (sv.BoxAnnotator(), sv.MaskAnnotator(), sv.LabelAnnotator(), sv.PolygonAnnotator()):
        assert annotator.annotate(discs.copy(), detections).shape == discs.shape
    assert len(detections[:1]) == 1
    assert len(detections[detections.confidence > 2]) == 0
    assert len(detections.with_nms(threshold=0.5)) <= len(detections)
    merged = sv.Detections.merge([detections, all_of(model, discs[:, ::-1].copy())])
    assert len(merged) > len(detections)
    cv2.imwrite(str(tmp_path / "a.png"), discs[..., ::-1])
    dataset = sv.DetectionDataset(
        classes=["dog", "red mug"], images=[str(tmp_path / "a.png")], annotations={str(tmp_path / "a.png"): detections}
    )
    dataset.as_coco(str(tmp_path / "images"), str(tmp_path / "coco.json"))
    again = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(tmp_path / "coco.json"), force_masks=True)
    (_, _, read), *_ = again
    np.testing.assert_allclose(np.sort(read.xyxy, axis=0), np.sort(detections.xyxy, axis=0), atol=1.5)


def test_without_the_packages_an_error_says_what_to_install(model, discs, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r'pip install "umgclip\[interfaces\]"'):
        model.detect(discs, ["dog"])
    regions = model.detector(["dog"], settings=DetectSettings(threshold=0)).find([discs])[0]
    assert regions.names == ["dog"] * len(regions)
    assert len(regions) >= 1
