"""The model alone: what is loaded, and that its numbers are the tower's."""

import copy
import multiprocessing
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError, InputError
from umgclip.geometry.masks import to_grid
from umgclip.inference.arguments import box_shares, masks_inside
from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.images import encode_png
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.readout import pool_boxes, pool_masks
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, TowerParams, TrainParams

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
MASK = np.zeros((96, 96), bool)
MASK[10:50, 20:70] = True
MakeArtifacts = Callable[..., Path]


@pytest.fixture
def make_artifacts(tiny: TowerParams, tmp_path: Path) -> MakeArtifacts:
    def make(config: dict[str, object] | None = None, **changes: object) -> Path:
        torch.manual_seed(0)
        config = files.tower_config(tiny) | (config or {})
        params = TrainParams(lora=LoraParams(rank=2, alpha=4), **changes)
        (tmp_path / "base").mkdir()
        files.save(tmp_path / "base", files.build(config), config)
        adapted = adapt(files.load(tmp_path / "base")[0], params)
        with torch.no_grad():
            for name, parameter in adapted.clip.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
        adapted.save(tmp_path / "train" / "adapter")
        base = sha256_file(tmp_path / "base" / files.WEIGHTS)
        write_json(tmp_path / "train" / "train.json", {"base_sha256": base, "params": params.model_dump()})
        return tmp_path

    return make


@torch.no_grad()
def test_five_lines(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    artifacts = make_artifacts()
    (tmp_path / "photo.png").write_bytes(encode_png(PIXELS))
    model = umgclip.load(artifacts, device="cpu")
    images = model.embed_images([tmp_path / "photo.png"])
    scores = model.classify(tmp_path / "photo.png", ["dog", "apple"], boxes_xyxy=[[0, 0, 48, 48], [10, 20, 96, 96]])
    maps = model.similarity_map(tmp_path / "photo.png", ["dog", "apple"])
    tower = DenseClip(load_tuned(artifacts / "base", artifacts / "train" / "adapter"))
    image, dense = tower.encode_image(files.to_input(PIXELS[None]))
    text = tower.encode_text(files.Tokenizer(32)(["a dog", "an apple"]))
    middles = torch.tensor([[7.2, 7.2, 40.8, 40.8], [22.9, 31.4, 83.1, 84.6]]) / 96  # .7 of the sides
    boxes = pool_boxes(dense, middles, torch.zeros(2, dtype=torch.long))
    np.testing.assert_allclose(images, image, atol=1e-5)
    np.testing.assert_allclose(scores, (tower.logit_scale() * boxes @ text.T).softmax(1), atol=1e-5)
    assert maps.shape == (2, 96, 96)
    np.testing.assert_allclose(maps[:, 6::12, 6::12], torch.einsum("ld,dhw->lhw", text, dense[0]), atol=0.2)
    np.testing.assert_allclose(model.embed_boxes(PIXELS, [[0, 0, 48, 48]]), boxes[:1], atol=1e-5)
    cells = torch.from_numpy(to_grid(MASK, (8, 8)))[None]
    by_mask = pool_masks(dense, cells, torch.zeros(1, dtype=torch.long))
    np.testing.assert_allclose(model.embed_masks(PIXELS, [MASK]), by_mask, atol=1e-5)
    np.testing.assert_allclose(model.embed_texts(["a dog", "an apple"]), text, atol=1e-5)
    np.testing.assert_allclose(model.classify(PIXELS, ["dog", "cat"], masks=[MASK]).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(model.classify(PIXELS, ["dog", "cat"]).sum(1), 1, atol=1e-5)


@torch.no_grad()
def test_how_much_of_a_box_is_read_is_a_choice(make_artifacts: MakeArtifacts) -> None:
    artifacts = make_artifacts()
    model = umgclip.load(artifacts, device="cpu", box_share=1.0)
    whole = pool_boxes(torch.from_numpy(model.dense(PIXELS))[None], torch.tensor([[0, 0, 0.5, 0.5]]), torch.tensor([0]))
    np.testing.assert_allclose(model.embed_boxes(PIXELS, [[0, 0, 48, 48]]), whole, atol=1e-6)
    for wrong in (0.0, 1.1):
        with pytest.raises(InputError, match=f"box_share: expected more than 0 and at most 1, got {wrong}"):
            umgclip.load(artifacts, device="cpu", box_share=wrong)


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("source", 3, "source: expected the path of a folder, models:/NAME@ALIAS or hf-hub:USER/NAME, got 3"),
        ("source", "", "source: expected the path of a folder, models:/NAME@ALIAS or hf-hub:USER/NAME, got ''"),
        ("adapter", 3, "adapter: expected the path of a folder, got 3"),
        ("device", 1.5, "device: expected a name such as cpu or cuda:1, got 1.5"),
        ("image_px", "224", "image_px: expected a whole number of pixels, got '224'"),
        ("image_px", 0, "image_px: expected a whole number of pixels, got 0"),
        ("image_px", True, "image_px: expected a whole number of pixels, got True"),
        ("resize", 7, "resize: expected one of squash, .*, got 7"),
        ("box_share", "0.7", "box_share: expected more than 0 and at most 1, got '0.7'"),
    ],
)
def test_arguments_of_other_types_are_named(
    make_artifacts: MakeArtifacts, argument: str, value: object, said: str
) -> None:
    arguments: dict = {"source": make_artifacts(), "device": "cpu", argument: value}
    with pytest.raises(InputError, match=said):
        umgclip.load(**arguments)


def test_every_kind_of_image_is_the_same_image(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    model = umgclip.load(make_artifacts(), device="cpu")
    (tmp_path / "photo.png").write_bytes(encode_png(PIXELS))
    kinds = [PIXELS, encode_png(PIXELS), Image.fromarray(PIXELS), tmp_path / "photo.png", str(tmp_path / "photo.png")]
    rows = model.embed_images(kinds, batch=2)
    assert rows.shape == (5, 64)
    np.testing.assert_allclose(rows, rows[:1].repeat(5, axis=0), atol=1e-5)
    assert model.embed_images([]).shape == (0, 64)
    assert model.embed_texts([]).shape == (0, 64)
    assert model.embed_boxes(PIXELS, []).shape == (0, 64)
    assert model.embed_masks(PIXELS, []).shape == (0, 64)


def test_images_of_any_aspect(make_artifacts: MakeArtifacts) -> None:
    artifacts = make_artifacts(resize="pad")
    model = umgclip.load(artifacts, device="cpu")
    wide = np.random.default_rng(1).integers(0, 256, (50, 200, 3), dtype=np.uint8)
    assert model.dense(wide).shape == (64, 2, 8)
    assert model.similarity_map(wide, ["dog"]).shape == (1, 50, 200)
    mask = np.zeros((50, 200), bool)
    mask[:, 150:] = True
    corner, by_mask = model.embed_boxes(wide, [[150, 0, 200, 50]]), model.embed_masks(wide, [mask])
    np.testing.assert_allclose(corner, by_mask, atol=0.2)
    finer = umgclip.load(artifacts, device="cpu", image_px=192, resize="squash")
    assert finer.dense(wide).shape == (64, 16, 16)


def test_a_sigmoid_asks_of_each_label_alone(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts({"init_logit_bias": -3.0}), device="cpu")
    alone, beside = model.classify(PIXELS, ["dog"]), model.classify(PIXELS, ["dog", "cat"])
    np.testing.assert_allclose(alone[:, 0], beside[:, 0], atol=1e-6)


def test_folders_that_hold_a_model(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    artifacts = make_artifacts()
    export(artifacts, None, "open_clip", tmp_path / "exported")
    wanted = umgclip.load(artifacts, device="cpu").embed_images([PIXELS])
    for loaded in (
        umgclip.load(tmp_path / "exported", device="cpu"),
        umgclip.load(str(artifacts / "base"), artifacts / "train", device="cpu"),
        umgclip.load(artifacts / "base", artifacts / "train" / "adapter", device="cpu"),
    ):
        np.testing.assert_allclose(loaded.embed_images([PIXELS]), wanted, atol=1e-5)
    assert np.abs(umgclip.load(artifacts / "base", device="cpu").embed_images([PIXELS]) - wanted).max() > 1e-3


def test_a_text_is_one_text(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(), device="cpu")
    np.testing.assert_allclose(model.embed_texts("a dog"), model.embed_texts(["a dog"]), atol=1e-6)
    assert model.embed_texts("a dog").shape == (1, 64)
    assert model.classify(PIXELS, "dog").shape == (1, 1)
    assert model.similarity_map(PIXELS, "dog").shape == (1, 96, 96)
    assert model.embed_texts(text for text in ("a", "b")).shape == (2, 64)
    assert model.embed_texts(np.array(["a", "b", ""])).shape == (3, 64)
    for wrong, said in ((b"a dog", "got a bytes"), ({"a": 1}, "got a dict"), ({"a"}, "got a set"), (3, "got a int")):
        with pytest.raises(InputError, match=f"texts: expected a text or a list of texts, {said}"):
            model.embed_texts(wrong)
    with pytest.raises(InputError, match=r"texts\[1\]: expected a text, got None"):
        model.embed_texts(["a", None])
    with pytest.raises(InputError, match=r"labels\[1\]: expected a text that is not empty, got ' '"):
        model.classify(PIXELS, ["dog", " "])


def test_a_text_that_is_cut_is_said(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(), device="cpu")
    long = "a dog and " * 40
    with pytest.warns(UserWarning, match="texts: 1 of 2 are longer than the model's 32 tokens and are cut, .* 'a dog"):
        short, cut = model.embed_texts(["a dog", long])
    with pytest.warns(UserWarning, match="texts: 1 of 1"):
        np.testing.assert_array_equal(model.embed_texts(long + "cat")[0], cut)  # the end is what is cut off
    assert np.abs(short - cut).max() > 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed_texts(["dog " * 30, "supercalifragilistic"])  # 30 words and both ends: they just fit


def test_one_image_and_several(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    model = umgclip.load(make_artifacts(), device="cpu")
    (tmp_path / "photo.png").write_bytes(encode_png(PIXELS))
    wide = np.random.default_rng(1).integers(0, 256, (50, 200, 3), dtype=np.uint8)
    wanted = model.embed_images([PIXELS])
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for one in (PIXELS, str(tmp_path / "photo.png"), tmp_path / "photo.png", Image.fromarray(PIXELS), tensor / 255):
        np.testing.assert_allclose(model.embed_images(one), wanted, atol=1e-5)
    for several in (PIXELS[None], tensor[None], (image for image in [PIXELS]), (PIXELS,)):
        np.testing.assert_allclose(model.embed_images(several), wanted, atol=1e-5)
    boxes = [[[0, 0, 48, 48], [10, 20, 96, 96]], [], torch.tensor([[5, 5, 190, 45]])]
    rows = model.embed_boxes([PIXELS, PIXELS, wide], boxes)
    assert [len(each) for each in rows] == [2, 0, 1]
    np.testing.assert_allclose(rows[0], model.embed_boxes(PIXELS, np.array(boxes[0])), atol=1e-5)
    np.testing.assert_allclose(rows[2], model.embed_boxes(wide, boxes[2]), atol=1e-5)
    by_mask = model.embed_masks([PIXELS, wide], [[MASK], np.ones((2, 50, 200), np.uint8) * 255])
    np.testing.assert_allclose(by_mask[0], model.embed_masks(PIXELS, MASK[None]), atol=1e-5)
    assert [each.shape for each in by_mask] == [(1, 64), (2, 64)]
    scores = model.classify([PIXELS, PIXELS, wide], ["dog", "cat"], boxes_xyxy=boxes)
    np.testing.assert_allclose(scores[0], model.classify(PIXELS, ["dog", "cat"], boxes_xyxy=boxes[0]), atol=1e-5)
    assert model.classify([PIXELS, wide], ["dog", "cat"]).shape == (2, 2)
    assert model.embed_boxes([], []) == []
    with pytest.raises(InputError, match="boxes_xyxy: expected one entry per image, 2 in all, got 1"):
        model.embed_boxes([PIXELS, wide], [[[0, 0, 4, 4]]])
    with pytest.raises(InputError, match=r"boxes_xyxy\[1\]\[0\]: expected x0 < x1 .* 200 x 50 pixels"):
        model.embed_boxes([PIXELS, wide], [[[0, 0, 4, 4]], [[0, 60, 4, 70]]])
    with pytest.raises(InputError, match="image: expected one image, got a list"):
        model.dense([PIXELS])
    with pytest.raises(InputError, match="images: expected a path, .* or a list of such, got nothing"):
        model.embed_images(None)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([0, 0, 9, 9], r"expected one row x0, y0, x1, y1 per box, got the number 0; a single box is \[\[x0"),
        (np.arange(8), r"the shape \(boxes, 4\), got the shape \(8,\)"),
        (np.zeros((2, 2, 2)), r"got the shape \(2, 2, 2\)"),
        (np.zeros((4, 2)), r"got the shape \(4, 2\)"),
        (torch.zeros(0, 5), r"got the shape \(0, 5\)"),
        ([[0, 0, 9, 9], [0, 0, 9]], r"boxes_xyxy\[1\]: expected 4 finite numbers x0, y0, x1, y1, got \[0, 0, 9\]"),
        ([[0, 0, 9, float("nan")]], r"boxes_xyxy\[0\]: expected 4 finite numbers"),
        (np.array([[0, 0, np.inf, 9]]), r"boxes_xyxy\[0\]: expected 4 finite numbers"),
        ([["0", "0", "9", "9"]], r"boxes_xyxy\[0\]: expected 4 finite numbers"),
        ([[0, 0, 10**400, 9]], r"boxes_xyxy\[0\]: expected 4 finite numbers"),
        (torch.zeros(1, 4).to_sparse(), "boxes_xyxy: expected a dense tensor with numbers in it, got .* sparse"),
        ([[9, 0, 0, 9]], r"boxes_xyxy\[0\]: expected x0 < x1 and y0 < y1 within 96 x 96 pixels, got \[9.0, 0.0, 0.0"),
        ([[5, 5, 5, 9]], r"boxes_xyxy\[0\]: expected x0 < x1"),
        ([[0, 0, 4, 4], [200, 200, 210, 210]], r"boxes_xyxy\[1\]: expected x0 < x1"),
        ("boxes", r"expected one row x0, y0, x1, y1 per box, got 'boxes'"),
        ({"a": 1}, r"expected one row x0, y0, x1, y1 per box, got"),
    ],
)
def test_boxes_are_never_reshaped(make_artifacts: MakeArtifacts, boxes: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        box_shares(boxes, (96, 96), "boxes_xyxy")


def test_what_boxes_are(make_artifacts: MakeArtifacts) -> None:
    wanted = [[0, 0, 0.5, 0.5], [0.25, 0, 1, 1]]
    for given in (
        [[0, 0, 48, 24], [24, 0, 500, 500]],
        ((0.0, 0, 48, 24), (24, -9, 96, 48)),
        np.array([[0, 0, 48, 24], [24, 0, 96, 48]], np.int64),
        torch.tensor([[0, 0, 48, 24], [24, 0, 96, 48]]),
        torch.tensor([[0, 0, 48, 24], [24, 0, 96, 48]], dtype=torch.bfloat16),
        [np.array([0, 0, 48, 24]), torch.tensor([24, 0, 96, 48])],
    ):
        np.testing.assert_allclose(box_shares(given, (96, 48), "boxes_xyxy"), wanted)
    for none in ([], (), np.zeros((0, 4)), np.zeros(0), torch.zeros(0, 4)):
        assert box_shares(none, (96, 48), "boxes_xyxy").shape == (0, 4)


def test_what_masks_are() -> None:
    tensor = torch.from_numpy(MASK)
    for given in (
        [MASK],
        MASK[None],
        tensor[None],
        tensor[None].bfloat16(),
        [tensor],
        [MASK * 255],
        [MASK * 1.0],
        [Image.fromarray(MASK)],
    ):
        np.testing.assert_array_equal(masks_inside(given, (96, 96), "masks"), [MASK])
    for given, said in (
        (MASK, r"masks: expected one mask per region, the shape \(masks, 96, 96\), got .* a single mask is \[mask\]"),
        ([MASK[:9]], r"masks\[0\]: expected the image's shape \(96, 96\), got \(9, 96\)"),
        ([~MASK & MASK], r"masks\[0\]: expected at least one pixel inside, got an empty mask"),
        ([np.linspace(0, 1, 96 * 96).reshape(96, 96)], "expected bool, or 0 outside .* as in mask > 0.5"),
        ([np.where(MASK, np.nan, 0)], "expected bool, or 0 outside and one other number inside"),
        (3, "masks: expected a list of masks, got 3"),
        ([[[1, 0], [1]]], r"masks\[0\]: expected the image's shape \(96, 96\), got \[\[1, 0\], \[1\]\]"),
    ):
        with pytest.raises(InputError, match=said):
            masks_inside(given, (96, 96), "masks")


def test_labels_are_embedded_once(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(), device="cpu")
    first = model.classify(PIXELS, ["dog", "cat", "dog"])
    assert (model._labels.hits, model._labels.misses) == (0, 3)
    np.testing.assert_allclose(model.classify(PIXELS, ["cat", "dog"]), first[:, 1::-1] / first[:, :2].sum(), atol=1e-5)
    assert model._labels.hits == 2


def test_threads_get_what_one_caller_gets(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(resize="pad"), device="cpu")
    images = [np.random.default_rng(i).integers(0, 256, (60 + i, 90, 3), dtype=np.uint8) for i in range(12)]

    def ask(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return model.classify(image, [f"label {len(image) % 5}", "cat"]), model.embed_boxes(image, [[0, 0, 30, 40]])

    wanted = [ask(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for (scores, boxes), (score, box) in zip(pool.map(ask, images), wanted, strict=True):
            np.testing.assert_allclose(scores, score, atol=1e-6)
            np.testing.assert_allclose(boxes, box, atol=1e-6)


def test_it_can_be_copied_pickled_and_sent_to_another_process(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(resize="pad"), device="cpu")
    wide = np.random.default_rng(1).integers(0, 256, (50, 100, 3), dtype=np.uint8)
    wanted = model.classify(wide, ["dog", "cat"], boxes_xyxy=[[0, 0, 50, 50]])
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(twin.classify(wide, ["dog", "cat"], boxes_xyxy=[[0, 0, 50, 50]]), wanted, atol=1e-6)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(model.classify, wide, ["dog", "cat"], boxes_xyxy=[[0, 0, 50, 50]]).result()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_it_says_what_it_is(make_artifacts: MakeArtifacts) -> None:
    model = umgclip.load(make_artifacts(resize="pad"), device="cpu", box_share=0.8)
    assert repr(model) == ("Model(96 x 96 px by pad, 64 dimensions, template='{a} {}', box_share=0.8, device='cpu')")


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_what_is_saved_is_loaded_again(make_artifacts: MakeArtifacts, tmp_path: Path, resize: str) -> None:
    model = umgclip.load(make_artifacts(resize=resize), device="cpu", box_share=0.9)
    model.save(tmp_path / "saved")
    again = umgclip.load(tmp_path / "saved", device="cpu")
    assert repr(again) == repr(model)
    wide = np.random.default_rng(1).integers(0, 256, (50, 200, 3), dtype=np.uint8)
    box = [[0, 0, 90, 40]]
    np.testing.assert_allclose(again.embed_images(wide), model.embed_images(wide), atol=1e-6)
    np.testing.assert_allclose(again.embed_boxes(wide, box), model.embed_boxes(wide, box), atol=1e-6)
    np.testing.assert_allclose(again.classify(wide, ["dog", "cat"]), model.classify(wide, ["dog", "cat"]), atol=1e-5)
    with pytest.warns(UserWarning, match="image_px=192 is not saved: give it to umgclip.load again"):
        umgclip.load(tmp_path / "saved", device="cpu", image_px=192).save(tmp_path / "larger")
    with pytest.raises(InputError, match="folder: expected a new or empty folder, got .*saved, which holds files"):
        model.save(tmp_path / "saved")
    with pytest.raises(InputError, match="model: expected one that was loaded by umgclip.load, got one"):
        umgclip.api.Model(open_clip.CLIP(**files.tower_config(TowerParams())), device="cpu").save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_is_wrong_is_named(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    artifacts = make_artifacts()
    model = umgclip.load(artifacts, device="cpu")
    with pytest.raises(
        InputError,
        match=r"model: expected models:/NAME@ALIAS, models:/NAME/VERSION, hf-hub:USER/NAME or a folder with .*got",
    ):
        umgclip.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="model: expected models:/NAME@ALIAS or models:/NAME/VERSION, got models:/x"):
        umgclip.load("models:/x")
    with pytest.raises(InputError, match=r"images\[0\]: expected the path of an image file, got nothing.jpg"):
        model.embed_images(["nothing.jpg"])
    with pytest.raises(DataError, match=r"images\[0\]: not a readable image"):
        model.embed_images([b"no image"])
    with pytest.raises(InputError, match=r"images\[1\]: expected \(height, width, 3\), .* got the shape \(4, 4, 2\)"):
        model.embed_images([PIXELS, np.zeros((4, 4, 2), np.uint8)])
    with pytest.raises(
        InputError, match=r"boxes_xyxy\[1\]: expected x0 < x1 .* 96 x 96 pixels, got \[50.0, 0.0, 40.0, 9.0\]"
    ):
        model.embed_boxes(PIXELS, [[0, 0, 9, 9], [50, 0, 40, 9]])
    with pytest.raises(InputError, match=r"masks\[0\]: expected the image's shape \(96, 96\), got \(4, 4\)"):
        model.embed_masks(PIXELS, [np.ones((4, 4), bool)])
    with pytest.raises(InputError, match="labels: expected at least one text, got none"):
        model.classify(PIXELS, [])
    for device in ("cuda:99", "meta"):
        with pytest.raises(
            InputError, match=f"device: expected a device of this machine, such as cpu, got '{device}': "
        ):
            umgclip.load(artifacts, device=device)
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = umgclip.lod
