"""Adapters on disk and back: the tuned model is plain open_clip again, and knows its base."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, TowerParams

MakeClip = Callable[[int], nn.Module]


@pytest.fixture
def base(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    files.save(folder, make_clip(0), files.tower_config(tiny))
    return folder


def trained(base: Path, images: torch.Tensor, tokens: torch.Tensor) -> PeftModel:
    """An adapted base after two steps (the first moves only the second factors, which start at zero)."""
    adapted = add_lora(files.load(base)[0], LoraParams(rank=4, alpha=8))
    tower = DenseClip(adapted.get_base_model())
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.02)
    for _ in range(2):
        out = tower(images, tokens)
        loss = (out.image @ out.text.T).diagonal().sum() + out.dense.std()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return adapted.eval()


def test_a_trained_adapter_survives_the_disk(base: Path, tiny: TowerParams, tmp_path: Path) -> None:
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    tokens = files.Tokenizer(tiny.context_length)(["a dog", "an owl on sand"])
    adapted = trained(base, images, tokens)
    adapter = tmp_path / "train" / "adapter"
    adapted.save_pretrained(str(adapter))
    with torch.no_grad():
        expected = DenseClip(adapted.get_base_model())(images, tokens)
        tuned = load_tuned(base, adapter)
        actual = DenseClip(tuned)(images, tokens)
        untuned = DenseClip(files.load(base)[0])(images, tokens)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert (actual.dense - untuned.dense).abs().max() > 0.01
    assert not tuned.training
    assert set(tuned.state_dict()) == set(files.load(base)[0].state_dict()), "plain open_clip again"


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "train" / "adapter"
    add_lora(files.load(base)[0], LoraParams(rank=2)).save_pretrained(str(adapter))
    write_json(adapter.parent / "train.json", {"base_sha256": "0123456789abcdef"})
    with pytest.raises(DataError, match="trained on base weights 0123456789ab, got [0-9a-f]{12} in"):
        load_tuned(base, adapter)


def test_a_missing_adapter_says_what_makes_one(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"adapter: expected adapter_config.json, found none; `umgclip train` writes"):
        load_tuned(base, tmp_path / "adapter")


def test_a_dropout_reaches_attention_too(make_clip: MakeClip) -> None:
    clip = add_lora(make_clip(0), LoraParams(rank=2, dropout=0.5)).get_base_model()
    attention = clip.visual.transformer.resblocks[0].attn
    torch.nn.init.normal_(attention.in_proj.lora_B["default"].weight)
    x = torch.randn(1, 5, attention.embed_dim)
    assert not torch.equal(attention.train()(x)[0], attention(x)[0])
    assert torch.equal(attention.eval()(x)[0], attention(x)[0])
