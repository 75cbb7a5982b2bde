"""A CLIP on disk is open_clip's own folder; what does not fit is explained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory
from torch import nn
from torchvision.transforms.functional import normalize, to_tensor

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.model import files
from umgclip.model.tower import DenseClip
from umgclip.params import TowerParams

MakeClip = Callable[[int], nn.Module]


@pytest.fixture
def folder(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    path = tmp_path / "base"
    path.mkdir()
    files.save(path, make_clip(0), files.tower_config(tiny))
    return path


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], None]:
    """Add a model to open_clip's list for one test."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))

    def add(name: str, config: dict[str, Any]) -> None:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)

    return add


def test_save_and_load_give_the_same_model(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> None:
    clip = make_clip(1)
    digest = files.save(tmp_path, clip, files.tower_config(tiny))
    loaded, config = files.load(tmp_path)
    assert digest == sha256_file(tmp_path / files.WEIGHTS)
    assert config == files.tower_config(tiny)
    assert not loaded.training
    for name, value in clip.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_the_same_weights_are_the_same_bytes(folder: Path, tiny: TowerParams, tmp_path: Path) -> None:
    clip, config = files.load(folder)
    assert files.save(tmp_path, clip, config) == sha256_file(folder / files.WEIGHTS)


@torch.no_grad()
def test_plain_open_clip_reads_the_folder(folder: Path, tiny: TowerParams) -> None:
    plain = open_clip.create_model(f"local-dir:{folder}").eval()
    images, tokens = torch.randn(2, 3, 96, 96), open_clip.SimpleTokenizer(context_length=32)(["a dog", "sand"])
    out = DenseClip(files.load(folder)[0])(images, tokens)
    torch.testing.assert_close(out.image, plain.encode_image(images, normalize=True), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.text, plain.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)
    assert tuple(plain.visual.preprocess_cfg["mean"]) == open_clip.OPENAI_DATASET_MEAN


@pytest.mark.parametrize("name", [files.CONFIG, files.WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"base: expected {name}, found none; `umgclip base` writes it"):
        files.load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / files.CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["width"] = 32
    (folder / files.CONFIG).write_text(json.dumps(config))
    with pytest.raises(DataError, match="open_clip_model.safetensors: does not fit open_clip_config.json: .*CLIP"):
        files.load(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / files.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="open_clip_model.safetensors: does not fit open_clip_config.json: "):
        files.load(folder)


def test_a_checkpoint_of_a_named_model(
    folder: Path, tiny: TowerParams, register: Callable[[str, dict[str, Any]], None]
) -> None:
    register("small-test", files.tower_config(tiny))
    clip, config = files.load_pretrained("small-test", str(folder / files.WEIGHTS))
    assert config == files.tower_config(tiny)
    assert not clip.training
    expected = files.load(folder)[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in clip.state_dict().items())


def test_a_pretrained_model_that_cannot_be_had(
    folder: Path, tiny: TowerParams, tmp_path: Path, register: Callable[[str, dict[str, Any]], None]
) -> None:
    config = files.tower_config(tiny)
    register("small-test", config)
    register("wide-test", {**config, "vision_cfg": {**config["vision_cfg"], "width": 96}})
    weights = str(folder / files.WEIGHTS)
    with pytest.raises(InputError, match=r"base.model: expected a model of open_clip.list_models\(\), got 'ViT-X'"):
        files.load_pretrained("ViT-X", "openai")
    with pytest.raises(
        InputError,
        match=r"base.pretrained: expected scratch, a file, a folder with .* or one of .*openai.*; got 'opnai'",
    ):
        files.load_pretrained("ViT-B-32", "opnai")
    with pytest.raises(InputError, match=r"base.pretrained: cannot load '.*' for wide-test: "):
        files.load_pretrained("wide-test", weights)
    rubbish = tmp_path / "rubbish.safetensors"
    rubbish.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"base.pretrained: cannot load '.*rubbish.safetensors' for small-test: "):
        files.load_pretrained("small-test", str(rubbish))
    pickled = tmp_path / "rubbish.pt"
    pickled.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"base.pretrained: cannot load '.*rubbish.pt' for small-test: "):
        files.load_pretrained("small-test", str(pickled))


def test_the_tokenizer_is_open_clips(tiny: TowerParams) -> None:
    texts = ["a dog", "Ein  Café &amp; mehr", "", "word " * 100, "a dog"]
    tokenize = files.Tokenizer(tiny.context_length)
    expected = open_clip.SimpleTokenizer(context_length=tiny.context_length)(texts)
    assert torch.equal(tokenize(texts), expected)
    assert torch.equal(tokenize(texts), expected), "from the cache"
    assert tokenize([]).shape == (0, tiny.context_length)


def test_pixels_are_normalised_as_torchvision_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 36, 3), dtype=np.uint8)
    mirrored = pixels[:, :, ::-1]  # a view with negative strides, as a flip gives
    expected = [
        normalize(to_tensor(image.copy()), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        for image in mirrored
    ]
    torch.testing.assert_close(files.to_input(mirrored), torch.stack(expected), atol=1e-5, rtol=1e-5)
