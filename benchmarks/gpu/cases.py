"""What is measured, in the order in which it is measured: the most wanted first, since time may run out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu.device import device_of
from benchmarks.gpu.training import TINY, Training

Figures = dict[str, float]
Measure = Callable[..., Figures]
# largest or smallest value that a figure should have
TARGETS = {
    "waiting_share_threads": "<= 0.03", "waiting_share_processes": "<= 0.03", "memory_over_captions": "<= 1.15",
    "time_over_captions": "<= 1.05", "lora_over_open_clip": ">= 1.0", "full_over_open_clip": ">= 0.9",
    "over_feature_pass (box mask)": "<= 1.3", "over_feature_pass (box mask crop maskout)": "<= 1.3",
    "over_bare_forward": ">= 1.0", "p95_over_p50": "<= 1.2", "one_client_p50_over_forward": "<= 1.1",
    "inside": ">= 1",
}  # fmt: skip
_BATCHES = {  # at 224, 336 and 448 px
    "ViT-B-16": (256, 128, 64),
    "ViT-L-14": (128, 64, 32),
    "EVA02-L-14": (128, 64, 32),
}
_SIDES = (224, 336, 448)
_CLUSTERS = {"after_block": 4, "grid": 14}


@dataclass(frozen=True)
class Case:
    """One measurement, which runs in a process of its own.

    Attributes:
        name: of its row.
        function: `module:function` that measures it.
        arguments: of the function; the device follows as `device`.
        limit_s: most seconds that it may take.
    """

    name: str
    function: str
    arguments: tuple[tuple[str, Any], ...]
    limit_s: float = 90.0


def _case(name: str, function: str, limit_s: float = 90.0, **arguments: Any) -> Case:  # noqa: ANN401
    return Case(name, f"benchmarks.gpu.{function}", tuple(arguments.items()), limit_s)


def cases(*, small: bool) -> list[Case]:
    """Return what is measured at real size, or with tiny models on a CPU."""
    model, grown = (TINY, "small") if small else ("ViT-B-16", "ViT-B-16")
    first = Training(TINY, 96, 4, rounds=1, regions=3) if small else Training(model, 224, 128)
    few = Training(TINY, 96, 4, rounds=1, regions=3) if small else Training(model, 224, 16, rounds=1)
    listed = [
        _case(f"CPU and GPU alike, fp32, {grown}", "reading:agreement", setting=few, precision="fp32"),
        _case(f"CPU and GPU alike, bf16, {grown}", "reading:agreement", setting=few, precision="bf16"),
        _case(f"train over open_clip, {grown}", "training:step_over_open_clip", setting=first),
        _case(f"train waits for data, {grown}", "training:share_of_waiting", setting=first, steps=2 if small else 12),
        _case(f"evaluate, {grown}", "reading:evaluation", model=model, images=6 if small else 256,
              regions=3 if small else 10),
        _case(f"serve, {grown}", "serving:served", model=model, clients=4 if small else 32,
              seconds=1.0 if small else 6.0),
        _case(f"annotate with the built-in teacher, {grown}", "reading:annotation", model=model,
              images=2 if small else 24),
    ]  # fmt: skip
    listed += _grid(small=small)
    listed += _modes(first, small=small)
    listed += [
        _case(f"annotator {kind}", "cases:annotator", kind=kind, small=small, limit_s=120.0) for kind in _kinds()
    ]
    return listed


def _grid(*, small: bool) -> list[Case]:
    if small:
        setting = Training(TINY, 48, 4, rounds=1, regions=3)
        return [_case("train, tiny, 48 px", "training:step_with_regions", setting=setting)]
    return [
        _case(f"train, {model}, {side} px", "training:step_with_regions",
              setting=Training(model, side, batch, rounds=4))
        for model, batches in _BATCHES.items()
        for side, batch in zip(_SIDES, batches, strict=True)
    ]  # fmt: skip


def _modes(first: Training, *, small: bool) -> list[Case]:
    """Return settings of the section `train` that change how a step is computed."""
    where = f"{first.model}, {first.image_px} px"
    large = first if small else Training(first.model, 448, 64)
    clusters = {"after_block": 1, "grid": 4} if small else _CLUSTERS

    def with_keys(setting: Training, **keys: Any) -> Training:  # noqa: ANN401 - values of params
        return Training(setting.model, setting.image_px, setting.batch, setting.rounds, setting.regions,
                        tuple(keys.items()))  # fmt: skip

    alone = {
        "accumulate": with_keys(first, accumulate=2 if small else 4),
        "checkpoint_activations": with_keys(first, checkpoint_activations=True),
        "compile": with_keys(first, compile=True, adapter="full", lr_peak=1.0e-4),
        "clustering": with_keys(large, clustering=clusters),
    }
    listed = [
        _case(f"train, {one.model}, {one.image_px} px, {name}", "training:step_alone", setting=one, limit_s=150.0)
        for name, one in alone.items()
    ]
    return listed + [
        _case(f"train, {where}, {kind} on all GPUs", "training:step_of_processes",
              setting=with_keys(first, parallel=kind), most=2, limit_s=120.0)
        for kind in ("fsdp2", "ddp")
    ]  # fmt: skip


def _kinds() -> list[str]:
    """Return the kinds of annotators, those with few weights first."""
    from umgclip.params.annotators import KINDS

    late = ("sam3", "qwen3_vl", "blip2", "face", "vlm")
    return [*sorted(set(KINDS) - set(late)), *late]


def annotator(kind: str, device: torch.device, *, small: bool) -> Figures:
    """Measure every role of a kind with random weights of its published size.

    Raises:
        RuntimeError: it has no weights to measure.
    """
    from benchmarks.real_size.measure import Load, measure, unmeasured

    if (reason := unmeasured(kind)) is not None:
        raise RuntimeError(reason)
    many = 1 if device.type == "cpu" else 8
    load = Load(device.type, "auto", many, many if small else 2 * many, 2 if small else 10, small)
    rows = measure(kind, load)
    return {f"{row['role']}_images_per_s": row["images_per_s"] for row in rows} | {
        "memory_gb": max(row["memory_gb"] for row in rows)
    }


def run(case: Case, kind: str) -> Figures:
    """Run a case in this process on the device `cpu` or `cuda`."""
    from importlib import import_module

    module, _, function = case.function.partition(":")
    measure: Measure = getattr(import_module(module), function)
    return measure(**dict(case.arguments), device=device_of(kind))
