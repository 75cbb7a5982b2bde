"""A plain LoRA is merged as peft merges it, to the bit; everything else is left to peft."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from umgclip.io.json_file import read_object
from umgclip.model.adapters import lora_files
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.adapters.lora_files import merged
from umgclip.model.adapters.plain_lora import merge_plain
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from umgclip.params import LoraParams

MakeClip = Callable[[int], nn.Module]


def write(folder: Path, clip: nn.Module, **options: Any) -> Path:
    """An adapter with random factors, written by peft."""
    adapted = add_lora(clip, LoraParams(rank=3, alpha=7)) if not options else with_options(clip, **options)
    generator = torch.Generator().manual_seed(1)
    for name, value in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(value.data, std=0.3, generator=generator)
    adapted.save_pretrained(str(folder))
    return folder


def with_options(clip: nn.Module, **options: Any) -> nn.Module:
    config = LoraConfig(**({"r": 3, "lora_alpha": 7, "target_modules": ["mlp.c_fc", "mlp.c_proj"]} | options))
    return get_peft_model(with_linear_attention(clip), config)


def by_peft(clip: nn.Module, adapter: Path) -> nn.Module:
    """peft's own way: wrap the model, load the factors, merge."""
    config = LoraConfig.from_pretrained(str(adapter))
    wrapped = get_peft_model(with_linear_attention(clip), config)
    set_peft_model_state_dict(wrapped, load_file(adapter / ADAPTER_WEIGHTS))
    return wrapped.merge_and_unload()


def merge_alone(clip: nn.Module, adapter: Path) -> bool:
    return merge_plain(clip, read_object(adapter / ADAPTER_CONFIG), load_file(adapter / ADAPTER_WEIGHTS))


@pytest.mark.parametrize("options", [{}, {"target_modules": ["mlp.c_fc", "out_proj"]}, {"lora_dropout": 0.1}])
def test_the_weights_are_those_that_peft_merges(make_clip: MakeClip, tmp_path: Path, options: dict[str, Any]) -> None:
    adapter = write(tmp_path, make_clip(0), **options)
    clip, before = with_linear_attention(make_clip(0)), make_clip(0).state_dict()

    assert merge_alone(clip, adapter)

    expected = by_peft(make_clip(0), adapter)
    assert list(clip.state_dict()) == list(expected.state_dict())
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in clip.state_dict().items())
    changed = [name for name, value in clip.state_dict().items() if not torch.equal(value, before[name])]
    assert len(changed) == len(load_file(adapter / ADAPTER_WEIGHTS)) / 2
    assert [p.requires_grad for p in clip.parameters()] == [p.requires_grad for p in expected.parameters()]


@pytest.mark.parametrize(
    "options", [{"use_rslora": True}, {"alpha_pattern": {"c_fc": 3}}, {"rank_pattern": {"c_fc": 2}}, {"use_dora": True}]
)
def test_other_options_are_left_to_peft(make_clip: MakeClip, tmp_path: Path, options: dict[str, Any]) -> None:
    adapter = write(tmp_path, make_clip(0), **options)
    clip = with_linear_attention(make_clip(0))
    before = {name: value.clone() for name, value in clip.state_dict().items()}

    assert not merge_alone(clip, adapter)

    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())
    tuned = merged(with_linear_attention(make_clip(0)), adapter).state_dict()
    expected = by_peft(make_clip(0), adapter).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in tuned.items())


@pytest.mark.parametrize(
    "change",
    [
        {"r": 4},
        {"r": 0},
        {"r": True},
        {"lora_alpha": None},
        {"peft_type": "LOHA"},
        {"target_modules": "nothing"},
        {"target_modules": "("},
        {"target_modules": None},
        {"target_modules": "all-linear"},
        {"bias": "all"},
        {"modules_to_save": ["ln_final"]},
        {"some_new_option": 1},
    ],
)
def test_a_config_that_says_something_else_changes_nothing(make_clip: MakeClip, tmp_path: Path, change: Any) -> None:
    adapter = write(tmp_path, make_clip(0))
    config = json.loads((adapter / ADAPTER_CONFIG).read_text())
    (adapter / ADAPTER_CONFIG).write_text(json.dumps(config | change))
    clip = with_linear_attention(make_clip(0))
    before = {name: value.clone() for name, value in clip.state_dict().items()}

    assert not merge_alone(clip, adapter)

    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())


def test_weights_of_other_layers_or_formats_change_nothing(make_clip: MakeClip, tmp_path: Path) -> None:
    adapter = write(tmp_path, make_clip(0))
    config, weights = read_object(adapter / ADAPTER_CONFIG), load_file(adapter / ADAPTER_WEIGHTS)
    first = next(iter(weights))
    rest = {name: value for name, value in weights.items() if name != first}
    clip = with_linear_attention(make_clip(0))

    for odd in (
        {},
        rest,
        rest | {"x": weights[first]},
        rest | {first: weights[first].half()},
        rest | {first: weights[first][:1]},
    ):
        assert not merge_plain(clip, config, odd)


def test_the_usual_adapter_is_read_without_peft(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = write(tmp_path, make_clip(0))
    monkeypatch.setattr(lora_files, "_present", lambda *_: pytest.fail("peft was asked"))

    merged(with_linear_attention(make_clip(0)), adapter)
