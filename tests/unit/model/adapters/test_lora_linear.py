"""Our layer around a linear one against peft's: to the bit in float32, and in its files."""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners import lora
from torch import Tensor, nn

from umgclip.model.adapters.lora_linear import LoraLinear


def adapted(layer: type[nn.Module] | None, *, alpha: int = 32, dropout: float = 0.0) -> PeftModel:
    torch.manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=alpha, lora_dropout=dropout, target_modules=["0"])
    if layer is not None:
        config._register_custom_module({nn.Linear: layer})
    model = get_peft_model(nn.Sequential(nn.Linear(24, 40)), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


def outcome(model: nn.Module, x: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
    """The output, and the gradients of the input and of everything that learns."""
    x = x.clone().requires_grad_()
    torch.manual_seed(3)  # of a dropout
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        out = model(x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype))
    return [out.detach(), x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]  # type: ignore[list-item]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_it_is_pefts_layer_to_the_bit(dropout: float) -> None:
    x = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(2))
    ours, theirs = (outcome(adapted(layer, dropout=dropout), x) for layer in (LoraLinear, None))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def test_a_factor_that_is_no_power_of_two_rounds_once_less() -> None:
    x = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(2))
    ours, theirs = (outcome(adapted(layer, alpha=24), x) for layer in (LoraLinear, None))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_as_near_to_float32_as_pefts() -> None:
    x = torch.randn(64, 24, generator=torch.Generator().manual_seed(2))
    exact = outcome(adapted(None), x)
    ours, theirs = (outcome(adapted(layer), x, torch.bfloat16) for layer in (LoraLinear, None))
    assert ours[0].dtype == theirs[0].dtype == torch.bfloat16
    for one, other, value in zip(ours, theirs, exact, strict=True):
        assert (one - value).norm() <= 1.02 * (other - value).norm()


def test_peft_reads_what_it_saves_and_merges_it(tmp_path: Path) -> None:
    model = adapted(LoraLinear)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(2))
    wanted = model(x)
    model.save_pretrained(str(tmp_path))
    torch.manual_seed(0)
    read = PeftModel.from_pretrained(nn.Sequential(nn.Linear(24, 40)), str(tmp_path))
    assert type(read.base_model.model[0]) is lora.Linear
    torch.testing.assert_close(read(x), wanted)
    torch.testing.assert_close(copy.deepcopy(model).merge_and_unload()(x), wanted)


def test_what_is_unusual_is_pefts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(LoraLinear)
    x = torch.randn(3, 24)
    with model.disable_adapter():
        assert torch.equal(model(x), model.base_model.model[0].base_layer(x))
    model.merge_adapter()
    assert torch.equal(model(x), model.base_model.model[0].base_layer(x))
