"""LoRA, Convpass and full tuning on open_clip's architectures: who learns, what is kept, what comes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.model.adapters.adapt import adapt, adapter_kind, load_tuned
from umgclip.model.adapters.convpass import Convpass, add_convpass
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER_CONFIG
from umgclip.model.clip.tower import ClipOutput, DenseClip
from umgclip.model.clip.vision.token_grid import TokenGrid, run_block
from umgclip.params import ConvpassParams, FullParams, LoraParams, TowerParams, TrainParams

MakeNamed = Callable[[str], nn.Module]
MakeClip = Callable[[int], nn.Module]
LORA = TrainParams(adapter="lora", lora=LoraParams(rank=2, alpha=4))
LORA_IMAGE = TrainParams(adapter="lora", lora=LoraParams(rank=2, alpha=4, text_tower=False))
CONVPASS = TrainParams(adapter="convpass", convpass=ConvpassParams(hidden=4, dropout=0.0))
FULL = TrainParams(adapter="full")
FULL_IMAGE = TrainParams(adapter="full", full=FullParams(text_tower=False))


def run(tower: DenseClip) -> ClipOutput:
    height, width = tower.patch_px
    images = torch.randn(2, 3, 2 * height, 3 * width, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(1, 1000, (3, tower.context_length), generator=torch.Generator().manual_seed(1))
    return tower(images, tokens)


def step(tower: DenseClip, rate: float = 0.02) -> None:
    learning = [p for p in tower.clip.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=rate)
    for _ in range(2):  # the first moves only the factors that start at zero
        optimizer.zero_grad()
        backward(run(tower))
        optimizer.step()


def backward(out: ClipOutput) -> None:
    (out.dense.flatten(1).std() + (out.image @ out.text.T).std()).backward()


@pytest.mark.parametrize(
    ("name", "params", "learns"),
    [
        ("ViT-B-32", LORA, "lora_"),
        ("ViT-B-16-SigLIP", LORA, "lora_"),
        ("EVA02-B-16", LORA, "lora_"),
        ("EVA02-B-16", LORA_IMAGE, "lora_"),
        ("convnext_base", LORA, "lora_"),
        ("ViT-B-32", CONVPASS, ".convpass."),
        ("ViT-B-16-SigLIP", CONVPASS, ".convpass."),
        ("EVA02-B-16", CONVPASS, ".convpass."),
        ("convnext_base", FULL_IMAGE, "visual."),
    ],
)
def test_exactly_the_adapter_learns_and_comes_back_from_disk(
    make_named: MakeNamed,
    shallow: Callable[[str], dict[str, Any]],
    tmp_path: Path,
    name: str,
    params: TrainParams,
    learns: str,
) -> None:
    (tmp_path / "base").mkdir()
    base = make_named(name)
    files.save(tmp_path / "base", base, shallow(name))
    with torch.no_grad():
        before = run(DenseClip(base))
    adapted = adapt(base, params)
    tower = DenseClip(adapted.clip)
    with torch.no_grad():
        for one, two in zip(run(tower.eval()), before, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    step(tower.train(), rate=0.05)
    tower.zero_grad()
    backward(run(tower))
    with_gradient = {n for n, p in tower.clip.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    learning = {n for n, p in tower.clip.named_parameters() if p.requires_grad}
    assert learning - {"logit_scale", "logit_bias"} == with_gradient
    assert all(learns in n for n in with_gradient)
    assert any("text" in n or n.startswith("transformer") for n in with_gradient) == (params is LORA)
    digest = adapted.save(tmp_path / "train" / "adapter")
    assert len(digest) == 64
    assert adapter_kind(tmp_path / "train" / "adapter") == adapted.kind == params.adapter
    tuned = load_tuned(tmp_path / "base", tmp_path / "train" / "adapter")
    with torch.no_grad():
        after = run(tower.eval())
        for one, two in zip(run(DenseClip(tuned)), after, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert (after.dense - before.dense).abs().max() > 1e-3
    if params.adapter != "convpass":
        assert set(tuned.state_dict()) == set(files.load(tmp_path / "base")[0].state_dict()), "plain open_clip again"


def test_full_tuning_leaves_a_frozen_text_tower_alone(make_clip: MakeClip) -> None:
    names = [n for n, p in adapt(make_clip(0), FULL_IMAGE).clip.named_parameters() if p.requires_grad]
    assert all(n.startswith("visual.") or n == "logit_scale" for n in names)
    adapted = adapt(make_clip(0), FULL)
    assert adapted.counts()[0] == adapted.counts()[1]


def learning(clip: nn.Module) -> set[str]:
    return {name for name, parameter in clip.named_parameters() if parameter.requires_grad}


def test_only_the_last_blocks_of_the_image_tower_learn(make_clip: MakeClip) -> None:
    every = learning(make_clip(0))
    blocks = max(int(name.split(".")[3]) for name in every if name.startswith("visual.transformer.resblocks."))
    last = {name for name in every if name.startswith(f"visual.transformer.resblocks.{blocks}.")}
    params = TrainParams(adapter="full", full={"text_tower": False, "blocks": 1})
    assert learning(adapt(make_clip(0), params).clip) == last
    params = TrainParams(adapter="full", full={"blocks": 1})
    text = {name for name in every if not name.startswith("visual.") and name != "logit_scale"}
    assert learning(adapt(make_clip(0), params).clip) == last | text
    with pytest.raises(InputError, match=rf"train.full.blocks: expected at most the image tower's {blocks + 1} blocks"):
        adapt(make_clip(0), TrainParams(adapter="full", full={"blocks": blocks + 2}))


def test_convpass_equals_its_formula(make_clip: MakeClip) -> None:
    torch.manual_seed(0)
    branch = Convpass(8, ConvpassParams(hidden=3, dropout=0.0))
    for parameter in branch.parameters():
        nn.init.normal_(parameter)
    tokens = torch.randn(2, 1 + 6, 8)
    got = run_block(branch, tokens, TokenGrid(2, 3, 1), recompute=False)
    low = torch.nn.functional.gelu(branch.down(tokens))
    for image in range(2):
        cls = torch.nn.functional.conv2d(
            low[image, 0].reshape(1, 3, 1, 1), branch.conv.weight, branch.conv.bias, padding=1
        )
        torch.testing.assert_close(got[image, 0], branch.up(torch.nn.functional.gelu(cls.flatten())))
        grid = low[image, 1:].T.reshape(1, 3, 2, 3)
        mixed = torch.nn.functional.conv2d(grid, branch.conv.weight, branch.conv.bias, padding=1)
        torch.testing.assert_close(got[image, 5], branch.up(torch.nn.functional.gelu(mixed[0, :, 1, 1])))


@torch.no_grad()
def test_convpass_does_not_see_padding(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    add_convpass(clip, ConvpassParams(dropout=0.0))
    for name, parameter in clip.named_parameters():
        if ".convpass." in name:
            parameter.normal_(std=0.1)
    images, valid = torch.randn(1, 3, 96, 96), torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, :5, :6] = True
    other = images.clone()
    other[:, :, 60:], other[:, :, :, 72:] = 3.0, -3.0
    tower = DenseClip(clip)
    for one, two in zip(tower.encode_image(images, valid), tower.encode_image(other, valid), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_convpass_recomputes_its_activations(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    add_convpass(clip, ConvpassParams(dropout=0.0))
    clip.set_grad_checkpointing(True)
    DenseClip(clip).train().encode_image(torch.randn(1, 3, 96, 96))[1].std().backward()
    assert clip.visual.transformer.resblocks[0].mlp.convpass.up.bias.grad.abs().max() > 0


def test_what_a_model_cannot_do_is_said(make_named: MakeNamed, make_clip: MakeClip) -> None:
    with pytest.raises(InputError, match="train.adapter: expected lora or full, for convpass wants a ViT .* ConvNeXt"):
        adapt(make_named("convnext_base"), CONVPASS)
    with pytest.raises(InputError, match="convpass: expected to be called through DenseClip"):
        clip = adapt(make_clip(0), CONVPASS).clip
        clip.encode_image(torch.zeros(1, 3, 96, 96))


def test_files_that_do_not_fit_are_refused(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    files.save(tmp_path / "base", make_clip(0), files.tower_config(tiny))
    adapter = tmp_path / "adapter"
    adapt(make_clip(0), CONVPASS).save(adapter)
    config = json.loads((adapter / ADAPTER_CONFIG).read_text())
    (adapter / ADAPTER_CONFIG).write_text(json.dumps({**config, "hidden": 5}))
    with pytest.raises(DataError, match="adapter_model.safetensors: does not fit the base: size mismatch"):
        load_tuned(tmp_path / "base", adapter)
    (adapter / ADAPTER_CONFIG).write_text(json.dumps({**config, "umgclip_adapter": "bottleneck"}))
    with pytest.raises(DataError, match="umgclip_adapter: expected lora, convpass or full, got 'bottleneck'"):
        load_tuned(tmp_path / "base", adapter)
    (adapter / ADAPTER_CONFIG).write_text(json.dumps({"umgclip_adapter": "full"}))
    with pytest.raises(DataError, match="expected the weights of .* config, got other names"):
        load_tuned(tmp_path / "base", adapter)
