"""Photographs of any aspect through each export and its consumer's own loader: the embeddings of `umgclip.load`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from peft import PeftModel
from PIL import Image

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.model.clip import files
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.tokenizer import Tokenizer
from umgclip.model.clip.usage import USAGE, read_usage
from umgclip.params import LoraParams, RegisterParams, TowerParams, TrainParams

MakeTuned = Callable[..., Path]
LORA = LoraParams(rank=4, alpha=8)
REGISTER = RegisterParams(template="a photo of {a} {}.", box_share=0.8)
EVERYTHING = {
    "resize", "interpolation", "antialias", "mean", "std", "fill", "image_size_hw", "cell_hw_px", "template",
    "dense_reach",
    "box_share", "context_length", "tokenizer", "embed_dim", "pairwise", "logit_scale", "logit_bias",
    "open_clip_preprocess_cfg", "clustering",
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Of many aspects and sizes, with edges, gradients and noise."""
    return list(_photographs(12))


def _photographs(count: int) -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        width, height = (int(side) for side in rng.integers(60, 400, 2))
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / rng.uniform(3, 40) + y / rng.uniform(3, 40) + rng.uniform(0, 6)) for _ in "rgb"]
        pixels = np.stack(waves, axis=2) * 90 + 128 + rng.normal(0, 12, (height, width, 3))
        x0, y0 = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        pixels[y0 : y0 + height // 3, x0 : x0 + width // 4] = rng.integers(0, 256, 3)
        yield Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def least_cosine(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((found / np.linalg.norm(found, axis=1, keepdims=True) * wanted).sum(1).min())


@torch.no_grad()
def by_open_clip(clip: Any, transform: Callable[[Image.Image], torch.Tensor], images: list[Image.Image]) -> np.ndarray:
    return clip.eval().encode_image(torch.stack([transform(image) for image in images]), normalize=True).numpy()


def test_open_clip_makes_of_photographs_what_the_model_does(
    make_tuned: MakeTuned, tmp_path: Path, photographs: list[Image.Image]
) -> None:
    root, out = make_tuned(TrainParams(lora=LORA)), tmp_path / "out"
    export(root, None, "open_clip", out, REGISTER)
    model = umgclip.load(root, device="cpu")
    wanted = model.embed_images(photographs)
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{out}")
    assert least_cosine(by_open_clip(clip, transform, photographs), wanted) > 0.99999
    assert clip.visual.preprocess_cfg["resize_mode"] == "squash"
    again = umgclip.load(out, device="cpu")
    assert least_cosine(again.embed_images(photographs), wanted) > 0.99999
    assert (again.template, again.box_share, again.resize) == ("a photo of {a} {}.", 0.8, "squash")
    assert set(json.loads((out / USAGE).read_text())) == EVERYTHING | {"weights_sha256"}


def test_a_padded_model_stays_one(make_tuned: MakeTuned, tmp_path: Path, photographs: list[Image.Image]) -> None:
    root, out = make_tuned(TrainParams(lora=LORA, resize="pad")), tmp_path / "out"
    summary = export(root, None, "open_clip", out)
    assert "difference" in dict(summary.rows)
    model, again = umgclip.load(root, device="cpu"), umgclip.load(out, device="cpu")
    assert (model.resize, again.resize) == ("pad", "pad")
    wanted = model.embed_images(photographs)
    assert least_cosine(again.embed_images(photographs), wanted) > 0.99999
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{out}")
    assert clip.visual.preprocess_cfg["resize_mode"] == "longest"
    padded = by_open_clip(clip, transform, photographs)
    squashed = umgclip.load(root, device="cpu", resize="squash").embed_images(photographs)
    assert (padded * wanted).sum(1).mean() > (squashed * wanted).sum(1).mean() - 0.05  # nearest, and not the same


def test_peft_alone_with_what_lies_beside_the_adapter(
    make_tuned: MakeTuned, tmp_path: Path, photographs: list[Image.Image]
) -> None:
    root, out = make_tuned(TrainParams(lora=LORA)), tmp_path / "out"
    export(root, None, "peft", out, REGISTER)
    said = json.loads((out / USAGE).read_text())
    base = with_linear_attention(open_clip.create_model(f"local-dir:{root / 'base'}"))
    tuned = PeftModel.from_pretrained(base, str(out)).get_base_model()
    transform = image_transform_v2(PreprocessCfg(**said["open_clip_preprocess_cfg"]), is_train=False)
    wanted = umgclip.load(root, device="cpu").embed_images(photographs)
    assert least_cosine(by_open_clip(tuned, transform, photographs), wanted) > 0.99999
    again = umgclip.load(root / "base", out, device="cpu")
    assert least_cosine(again.embed_images(photographs), wanted) > 0.99999
    assert (again.template, again.box_share) == ("a photo of {a} {}.", 0.8)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.usefixtures("operators_listed_once")
def test_onnx_by_its_own_metadata(
    make_tuned: MakeTuned, tmp_path: Path, photographs: list[Image.Image], resize: str
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    root, out = make_tuned(TrainParams(lora=LORA, resize=resize)), tmp_path / "out"
    export(root, None, "onnx", out, REGISTER)
    session = runtime.InferenceSession(str(out / "image.onnx"), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert set(said) >= EVERYTHING
    assert (said["resize"], said["template"], said["box_share"]) == (resize, "a photo of {a} {}.", "0.8")
    feeds = [by_the_metadata(image, said) for image in photographs]
    feed = {name: np.stack([each[name] for each in feeds]) for name in feeds[0]}
    [found] = session.run(["image"], feed)
    wanted = umgclip.load(root, device="cpu").embed_images(photographs)
    assert least_cosine(found, wanted) > 0.99999
    text = runtime.InferenceSession(str(out / "text.onnx"), providers=["CPUExecutionProvider"])
    length = int(text.get_modelmeta().custom_metadata_map["context_length"])
    tokens = open_clip.SimpleTokenizer(context_length=length)(["a dog", "an owl"])
    [texts] = text.run(["text"], {"tokens": tokens.numpy()})
    assert least_cosine(texts, umgclip.load(root, device="cpu").embed_texts(["a dog", "an owl"])) > 0.99999


def by_the_metadata(image: Image.Image, said: dict[str, str]) -> dict[str, np.ndarray]:
    """What docs/models.md tells somebody to do who has the graph and nothing of this package."""
    (height, width), (cell_h, cell_w) = json.loads(said["image_size_hw"]), json.loads(said["cell_hw_px"])
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    rows, columns = height // cell_h, width // cell_w
    valid = np.zeros((rows, columns), bool)
    if said["resize"] == "pad":
        scale = min(height / image.height, width / image.width)
        rows = min(rows, max(1, round(image.height * scale / cell_h)))
        columns = min(columns, max(1, round(image.width * scale / cell_w)))
    valid[:rows, :columns] = True
    canvas = np.zeros((height, width, 3), np.float32)
    small = image.resize((columns * cell_w, rows * cell_h), filters[said["interpolation"]])
    canvas[: rows * cell_h, : columns * cell_w] = np.asarray(small)
    pixels = (canvas / 255 - np.array(json.loads(said["mean"]))) / np.array(json.loads(said["std"]))
    fed = {"pixels": pixels.transpose(2, 0, 1).astype(np.float32)}
    return {**fed, "valid": valid} if said["resize"] == "pad" else fed


@pytest.mark.parametrize(
    "said",
    [
        {"resize_mode": "shortest"},
        {"resize_mode": "longest", "fill_color": 128},
        {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.4, 0.3]},
        {},
    ],
)
def test_a_folder_of_open_clips_is_used_as_it_says(
    tiny: TowerParams, tmp_path: Path, photographs: list[Image.Image], said: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    files.save(tmp_path, files.build(config), config)
    write_json(tmp_path / files.CONFIG, {"model_cfg": config, "preprocess_cfg": said})
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    model = umgclip.load(tmp_path, device="cpu")
    assert least_cosine(model.embed_images(photographs), by_open_clip(clip, transform, photographs)) > 0.99999
    assert model.resize == said.get("resize_mode", "shortest")
    corner = [[image.width - 9, 0, image.width, 9] for image in photographs]  # cut away by `shortest`, yet read
    boxes = model.embed_boxes(photographs, [[box] for box in corner])
    assert all(np.isfinite(rows).all() and rows.shape == (1, 64) for rows in boxes)


def test_values_that_there_are_not_are_refused(tmp_path: Path) -> None:
    for given, said in (
        ({"resize_mode": "crop"}, "preprocess_cfg.resize_mode: expected one of squash, .* got 'crop'"),
        ({"interpolation": "nearest"}, "preprocess_cfg.interpolation: expected bicubic or bilinear, got 'nearest'"),
        ({"mean": [0.5, 0.5]}, r"preprocess_cfg.mean: expected three numbers, got \[0.5, 0.5\]"),
        ({"fill_color": 300}, "preprocess_cfg.fill_color: expected a grey level from 0 to 255, got 300"),
    ):
        with pytest.raises(DataError, match=said):
            Preprocess.of(given)
    assert Preprocess.of({"mean": 0.5}).mean == (0.5, 0.5, 0.5)
    assert replace(Preprocess(), fit="pad").for_open_clip((8, 8))["resize_mode"] == "longest"
    write_json(tmp_path / USAGE, {"resize": "squash", "template": "a photo", "box_share": 0.7})
    with pytest.raises(DataError, match="template: expected a text with {} where the label goes, got 'a photo'"):
        read_usage(tmp_path)


def test_what_is_cut_is_known(tmp_path: Path) -> None:
    tokenizer = Tokenizer(8)
    assert tokenizer.cut(["one two three four five six", "one two three four five six seven", "é" * 40]) == [
        "one two three four five six seven", "é" * 40,
    ]  # fmt: skip
