"""The attention of open_clip's blocks as linear layers: torch's own results, open_clip's own files, true gradients."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import write_json
from umgclip.model.adapters.adapt import adapt, add_lora, load_tuned
from umgclip.model.adapters.lora_files import MADE_BY, from_fused
from umgclip.model.clip import files
from umgclip.model.clip.attention import Attention, with_linear_attention
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, TowerParams, TrainParams

MakeClip = Callable[[int], nn.Module]
HEADS, WIDTH, TOKENS, IMAGES = 4, 32, 10, 3
HIDDEN = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
PADDING = torch.arange(TOKENS).expand(IMAGES, -1) >= torch.tensor([[10], [7], [4]])
OWN_ROW = ~torch.eye(TOKENS, dtype=torch.bool)
MASKS: dict[str, dict[str, torch.Tensor]] = {
    "none": {},
    "causal numbers": {"attn_mask": torch.zeros(TOKENS, TOKENS).masked_fill(HIDDEN, -torch.inf)},
    "causal booleans": {"attn_mask": HIDDEN},
    "value path": {"attn_mask": torch.zeros(TOKENS, TOKENS).masked_fill(OWN_ROW, -torch.inf)},
    "key padding": {"key_padding_mask": PADDING},
    "both": {
        "attn_mask": torch.zeros(TOKENS, TOKENS).masked_fill(OWN_ROW, -torch.inf),
        "key_padding_mask": torch.zeros(IMAGES, TOKENS).masked_fill(PADDING, -3e4),
    },
    "one an image and head": {
        "attn_mask": torch.randn(IMAGES * HEADS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(1))
    },
}


def torchs_own(*, batch_first: bool = True, bias: bool = True) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, bias=bias)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    return attention


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("mask", list(MASKS))
def test_it_equals_torchs_attention(mask: str, batch_first: bool, bias: bool) -> None:
    theirs = torchs_own(batch_first=batch_first, bias=bias)
    ours = Attention(copy.deepcopy(theirs))
    x = torch.randn(*((IMAGES, TOKENS) if batch_first else (TOKENS, IMAGES)), WIDTH)
    one, two = (x.clone().requires_grad_() for _ in range(2))
    wanted = theirs(one, one, one, need_weights=False, **MASKS[mask])[0]
    got = ours(two, two, two, need_weights=False, **MASKS[mask])[0]
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-6)
    for result in (wanted, got):
        result.square().sum().backward()
    torch.testing.assert_close(two.grad, one.grad, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(ours.in_proj.weight.grad, theirs.in_proj_weight.grad, atol=1e-4, rtol=1e-5)


def test_a_backward_in_bfloat16_on_a_cpu_goes_through_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def seen(q: torch.Tensor, *others: torch.Tensor, **options: Any) -> torch.Tensor:
        dtypes.append(q.dtype)
        return kernel(q, *others, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
    attention = Attention(torchs_own())
    x = torch.randn(IMAGES, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    exact = attention(x)[0].detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        learning = attention(x, attn_mask=MASKS["causal numbers"]["attn_mask"])[0]
        through_float32 = attention(x)[0]
        with torch.no_grad():
            at_once = attention(x)[0]
    assert dtypes == [torch.float32, torch.float32, torch.float32, torch.bfloat16]
    assert {out.dtype for out in (learning, through_float32, at_once)} == {torch.bfloat16}
    assert (through_float32 - exact).norm() <= 1.02 * (at_once - exact).norm(), "no less exact"


def test_what_it_cannot_do_is_said() -> None:
    x, y = torch.randn(2, IMAGES, TOKENS, WIDTH).unbind()
    with pytest.raises(InputError, match="attention: expected one tensor as query, key and value"):
        Attention(torchs_own())(x, y, y)
    assert not Attention.fits(nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1))
    assert not Attention.fits(nn.MultiheadAttention(WIDTH, HEADS, kdim=16, vdim=16))


@torch.no_grad()
def test_a_model_keeps_its_file_and_its_embeddings(make_clip: MakeClip) -> None:
    plain = make_clip(0).eval()
    linear = with_linear_attention(copy.deepcopy(plain))
    assert list(linear.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in linear.state_dict().items())
    other = make_clip(1)
    with_linear_attention(other).load_state_dict(plain.state_dict())
    plain.load_state_dict(other.state_dict())
    images, tokens = torch.randn(2, 3, 96, 96), torch.randint(1, 400, (2, 32))
    for one, two in zip(DenseClip(linear)(images, tokens), DenseClip(plain)(images, tokens), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    assert with_linear_attention(linear) is linear, "twice is once"


def test_every_delta_has_the_gradient_of_what_it_adds(make_clip: MakeClip) -> None:
    """Analytic to numeric 1 : 1; 1 : 2 is what peft's layer around fused attention had for the out-projection."""
    torch.manual_seed(0)
    adapted = add_lora(make_clip(0).double(), LoraParams(rank=2, alpha=4))
    clip = adapted.get_base_model()
    images = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    for parameter in (p for n, p in clip.named_parameters() if "lora_" in n):
        nn.init.normal_(parameter, std=0.1)
    direction = torch.randn(2, clip.visual.proj.shape[1], dtype=torch.float64)

    def score() -> torch.Tensor:
        return (DenseClip(clip).encode_image(images)[0] * direction).sum()

    score().backward()
    block = clip.visual.transformer.resblocks[0]
    for layer in (block.attn.in_proj, block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
        for factor in (layer.lora_A["default"].weight, layer.lora_B["default"].weight):
            along, eps = torch.randn_like(factor), 1e-5
            analytic = float((factor.grad * along).sum())
            with torch.no_grad():
                values = []
                for sign in (1, -1):
                    factor += sign * eps * along
                    values.append(float(score()))
                    factor -= sign * eps * along
            assert (values[0] - values[1]) / (2 * eps) == pytest.approx(analytic, rel=1e-4)


@torch.no_grad()
def test_merged_deltas_are_those_of_the_forward(make_clip: MakeClip) -> None:
    adapted = add_lora(make_clip(0), LoraParams(rank=2, alpha=4)).eval()
    for parameter in (p for n, p in adapted.named_parameters() if "lora_B" in n):
        nn.init.normal_(parameter, std=0.3)
    layer = adapted.get_base_model().visual.transformer.resblocks[0].attn.out_proj
    delta = 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    before = layer.base_layer.weight.clone()
    images, tokens = torch.randn(2, 3, 96, 96), torch.randint(1, 400, (2, 32))
    wanted = DenseClip(adapted.get_base_model())(images, tokens)
    merged = adapted.merge_and_unload()
    for one, two in zip(DenseClip(merged)(images, tokens), wanted, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    now = merged.state_dict()["visual.transformer.resblocks.0.attn.out_proj.weight"]
    torch.testing.assert_close(now, before + delta, atol=1e-5, rtol=1e-5)


def write_fused(folder: Path, clip: nn.Module, peft_version: str | None) -> dict[str, torch.Tensor]:
    """An adapter as peft's layer around fused attention left it, of rank 2 and factor 2; gives its weights."""
    torch.manual_seed(3)
    weights = {}
    for name, value in clip.state_dict().items():
        module, fused = name.rpartition(".")[0], name.endswith("attn.in_proj_weight")
        if "resblocks" not in name or value.ndim != 2:
            continue
        module = module.replace(".attn.out_proj", ".attn.base_layer.out_proj") if not fused else module
        weights[f"base_model.model.{module}.lora_A.weight"] = 0.1 * torch.randn(2, value.shape[1])
        weights[f"base_model.model.{module}.lora_B.weight"] = 0.1 * torch.randn(value.shape[0], 2)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": None}
    targets = r"(visual\.)?transformer\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"
    write_json(folder / "adapter_config.json", {**config, "target_modules": targets, "peft_version": peft_version})
    return weights


@pytest.fixture
def base(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    files.save(tmp_path / "base", make_clip(0), files.tower_config(tiny))
    return tmp_path / "base"


@pytest.mark.parametrize("peft_version", ["0.21.2", None])
def test_an_adapter_of_fused_attention_is_the_model_that_it_was(
    base: Path, tmp_path: Path, peft_version: str | None
) -> None:
    before = files.load(base)[0].state_dict()
    weights = write_fused(tmp_path / "adapter", files.load(base)[0], peft_version)
    tuned = load_tuned(base, tmp_path / "adapter").state_dict()
    for block in ("visual.transformer.resblocks.0", "transformer.resblocks.0"):
        for place, name, times in (
            ("attn", "attn.in_proj_weight", 1),
            ("attn.base_layer.out_proj", "attn.out_proj.weight", 2),
            ("mlp.c_fc", "mlp.c_fc.weight", 1),
        ):
            a, b = (weights[f"base_model.model.{block}.{place}.lora_{part}.weight"] for part in "AB")
            wanted = before[f"{block}.{name}"] + times * 2 * b @ a
            torch.testing.assert_close(tuned[f"{block}.{name}"], wanted, atol=1e-5, rtol=1e-5)


def test_an_adapter_whose_deltas_cannot_be_told_is_refused(base: Path, tmp_path: Path) -> None:
    write_fused(tmp_path / "new", files.load(base)[0], "0.23.0")
    with pytest.raises(DataError, match=r"peft_version: expected at most 0.21.2 .* got 0.23.0, .* train again"):
        load_tuned(base, tmp_path / "new")
    write_fused(tmp_path / "later", files.load(base)[0], "0.21.2")
    write_json(tmp_path / "later" / MADE_BY, {"format": 3, "versions": {"umgclip": "9.0"}})
    with pytest.raises(DataError, match=r"made_by.json: format: expected at most 2, got 3 of umgclip 9.0; install"):
        load_tuned(base, tmp_path / "later")


def test_an_adapter_says_what_made_it(base: Path, tmp_path: Path) -> None:
    adapted = adapt(files.load(base)[0], TrainParams(lora=LoraParams(rank=2, alpha=4)))
    adapted.save(tmp_path / "adapter")
    said = json.loads((tmp_path / "adapter" / MADE_BY).read_text())
    assert (said["format"], said["kind"]) == (2, "lora")
    assert set(said["versions"]) == {"umgclip", "peft", "open_clip_torch", "torch"}
    assert "visual.transformer.resblocks.0.attn.in_proj" in said["modules"]
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert names.keys() == get_peft_model_state_dict(adapted.peft).keys()
    assert from_fused(dict(names)).keys() == names.keys(), "nothing to convert"


def test_weights_that_are_not_the_configs_are_refused(base: Path, tmp_path: Path) -> None:
    adapt(files.load(base)[0], TrainParams(lora=LoraParams(rank=2, alpha=4))).save(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    first = next(iter(weights))
    save_file({n: v for n, v in weights.items() if n != first}, path)
    with pytest.raises(DataError, match=r"expected the weights of adapter_config.json, got other names \(.*lora_"):
        load_tuned(base, tmp_path / "adapter")
    save_file({**weights, first: torch.zeros(1, 1)}, path)
    with pytest.raises(DataError, match="adapter_model.safetensors: does not fit the base: .*size mismatch"):
        load_tuned(base, tmp_path / "adapter")
