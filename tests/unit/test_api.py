"""The model alone: what is loaded, and that its numbers are the tower's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError, InputError
from umgclip.geometry.masks import to_grid
from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.images import encode_png
from umgclip.model import files
from umgclip.model.adapters import adapt, load_tuned
from umgclip.model.readout import pool_boxes, pool_masks
from umgclip.model.tower import DenseClip
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


def test_what_is_wrong_is_named(make_artifacts: MakeArtifacts, tmp_path: Path) -> None:
    artifacts = make_artifacts()
    model = umgclip.load(artifacts, device="cpu")
    with pytest.raises(
        InputError, match=r"model: expected models:/NAME@ALIAS, models:/NAME/VERSION or a folder with .*got"
    ):
        umgclip.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="model: expected models:/NAME@ALIAS or models:/NAME/VERSION, got models:/x"):
        umgclip.load("models:/x")
    with pytest.raises(InputError, match="image: expected the path of an image file, got nothing.jpg"):
        model.embed_images(["nothing.jpg"])
    with pytest.raises(DataError, match="image: not a readable image"):
        model.embed_images([b"no image"])
    with pytest.raises(InputError, match=r"image: expected an RGB array \(height, width, 3\) of uint8, got \(4, 4\)"):
        model.embed_images([np.zeros((4, 4), np.uint8)])
    with pytest.raises(
        InputError, match=r"boxes_xyxy\[1\]: expected x0 < x1 .* 96 x 96 pixels, got \[50.0, 0.0, 40.0, 9.0\]"
    ):
        model.embed_boxes(PIXELS, [[0, 0, 9, 9], [50, 0, 40, 9]])
    with pytest.raises(InputError, match=r"masks\[0\]: expected the image's shape \(96, 96\), got \(4, 4\)"):
        model.embed_masks(PIXELS, [np.ones((4, 4), bool)])
    with pytest.raises(InputError, match="classify: expected labels"):
        model.classify(PIXELS, [])
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = umgclip.lod
