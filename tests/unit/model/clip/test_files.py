"""A CLIP on disk is open_clip's own folder; what does not fit is explained."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import nn
from torchvision.transforms.functional import normalize, to_tensor

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TowerParams

MakeClip = Callable[[int], nn.Module]


@pytest.fixture
def folder(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    path = tmp_path / "base"
    path.mkdir()
    files.save(path, make_clip(0), files.tower_config(tiny))
    return path


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
    with pytest.raises(DataError, match="open_clip_model.safetensors: damaged or exchanged: expected SHA-256 "):
        files.load(folder)
    config = json.loads((folder / files.CONFIG).read_text(encoding="utf-8"))
    (folder / files.CONFIG).write_text(json.dumps(config | {"umgclip": {}}), encoding="utf-8")
    with pytest.raises(DataError, match="open_clip_model.safetensors: does not fit open_clip_config.json: "):
        files.load(folder)


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


@pytest.mark.parametrize("kind", ["T5TokenizerFast", "CLIPTokenizer", "GemmaTokenizer", "BertTokenizer"])
def test_a_tokenizer_without_its_words_is_refused(tiny: TowerParams, tmp_path: Path, kind: str) -> None:
    """transformers makes one that reads every word as the same, and says nothing."""
    config = files.tower_config(tiny)
    config["text_cfg"] |= {"hf_tokenizer_name": "somebody/some-model"}
    files.save(tmp_path, files.build(files.tower_config(tiny)), config)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}), encoding="utf-8")
    said = r"base.tokenizer: expected a tokenizer with its words \(tokenizer.json\), got .* reads cat, dog, tree all as"
    with pytest.raises(InputError, match=said):
        files.load(tmp_path)
