"""Number formats, averages and recomputation: what they change, and what they must not."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from umgclip.errors import InputError, UmgclipError
from umgclip.learning import precision
from umgclip.learning.precision import autocast_dtype
from umgclip.params import TrainParams
from umgclip.train import loop, stage
from umgclip.train.ema import Average
from umgclip.train.stage import TrainInputs

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "dtype"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_format_that_is_named_is_taken(name: str, dtype: torch.dtype | None) -> None:
    assert autocast_dtype(name, CPU) is dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, None)])
def test_auto_is_bf16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype | None
) -> None:
    monkeypatch.setattr(precision, "processor_has_bf16", lambda: native)
    assert autocast_dtype("auto", CPU) is dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_a_half_type_on_any_gpu(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _device: "GPU")
    gpu = torch.device("cuda", 0)
    assert autocast_dtype("auto", gpu) is dtype
    if not native:
        with pytest.raises(InputError, match=r"train.precision: expected fp16 or fp32, GPU has no bf16"):
            autocast_dtype("bf16", gpu)


def test_float16_trains_with_its_loss_scaled(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    """The same loss on the same weights; afterwards steps whose scale was too high are left out, so runs part."""
    curves = {}
    for name in ("fp32", "fp16"):
        stage.run(params.model_copy(update={"precision": name}), inputs, tmp_path / name)
        curves[name] = pd.read_csv(inputs.plots)["total"].tolist()
    assert curves["fp16"][0] == pytest.approx(curves["fp32"][0], rel=1e-3)
    assert all(math.isfinite(total) for total in curves["fp16"])
    weights = load_file(tmp_path / "fp16" / "adapter" / "adapter_model.safetensors")
    moved = [value.abs().max().item() for name, value in weights.items() if "lora_B" in name]
    assert moved
    assert min(moved) > 0, "lora_B starts at 0"


def test_float16_that_overflows_at_every_scale_stops() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    scaler.scale(weight.sum() * torch.inf).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(UmgclipError, match="step 7: float16 overflows at any loss scale"):
        loop._step_scaled(scaler, optimizer, 7)
    assert weight.tolist() == [1, 1], "the step was left out"


def test_the_average_follows_its_formula() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    average, expected = Average({"w": weight}, 0.5), 1.0
    for step in range(20):
        with torch.no_grad():
            weight.add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.item()
    assert average.values["w"].item() == pytest.approx(expected, rel=1e-5)


def test_the_averaged_adapter_is_what_is_saved(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    def learned(decay: float) -> dict[str, torch.Tensor]:
        out = tmp_path / str(decay)
        stage.run(params.model_copy(update={"ema_decay": decay}), inputs, out)
        return load_file(out / "adapter" / "adapter_model.safetensors")

    plain, averaged = learned(0.0), learned(0.9)
    name = next(name for name in plain if "lora_B" in name)
    assert 0 < averaged[name].abs().sum() < plain[name].abs().sum(), "it starts at 0 and lags behind"


def test_an_averaged_run_goes_on_to_the_same_bytes(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    smooth = params.model_copy(update={"ema_decay": 0.9})

    def interrupt(step: int, _values: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    stage.run(smooth, inputs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stage.run(smooth, inputs, tmp_path / "resumed", report=interrupt)
    stage.run(smooth, inputs, tmp_path / "resumed")
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


@pytest.mark.parametrize("kind", ["convpass", "full"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_kind_of_adapter_trains(
    params: TrainParams, inputs: TrainInputs, tmp_path: Path, kind: str, accumulate: int
) -> None:
    changes = {"adapter": kind, "accumulate": accumulate, "checkpoint_activations": accumulate > 1, "lr_peak": 1e-4}
    summary = stage.run(params.model_copy(update=changes), inputs, tmp_path / "train")
    assert float(dict(summary.rows)["last total"]) > 0


def test_half_precision_of_divided_weights_is_refused(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.precision: expected bf16 or fp32 with train.parallel fsdp2, got fp16"):
        stage.run(params.model_copy(update={"parallel": "fsdp2", "precision": "fp16"}), inputs, tmp_path / "train")
