"""The training loop: batches in a fixed order, one optimizer, resumable at any step, on one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.io.atomic import write_json
from umgclip.learning.checkpoint import Checkpoints, TrainingState
from umgclip.learning.precision import autocast_dtype
from umgclip.learning.quarantine import Unreadable
from umgclip.learning.schedule import Report, begin_step, is_kept, optimizer_of
from umgclip.learning.sharded import on_cpu
from umgclip.learning.world import World
from umgclip.model.clip.deterministic import deterministic
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.train.blocks import checkpoint_activations, compile_blocks
from umgclip.train.ema import Average
from umgclip.train.feed import LoadedBatch, TrainFeed, decoders
from umgclip.train.objective.base_texts import BaseTexts, base_texts
from umgclip.train.objective.image_terms import embedder_of, only_images
from umgclip.train.objective.registry import states_of
from umgclip.train.parallel import Parallel
from umgclip.train.resolutions import index_at, resolutions
from umgclip.train.step import Computed, StepScoring, compute

_KEYS_SHOWN = 8
_LEAST_LOSS_SCALE = 1.0  # below it, loss scaling cannot prevent overflow


@dataclass(frozen=True)
class TrainResult:
    """The result of training: last values, weights by name on the CPU (averaged if requested), failures, counts."""

    values: dict[str, float]
    weights: dict[str, Tensor]
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def train(
    tower: DenseClip,
    feed: TrainFeed,
    params: TrainParams,
    checkpoints: Checkpoints,
    report: Report,
    world: World | None = None,
) -> TrainResult:
    """Run the remaining steps; all processes of a world call this together.

    Raises:
        DataError: more samples are unreadable than `train.max_failed` allows.
        InputError: a checkpoint belongs to another run, or the model cannot do what params ask.
        UmgclipError: the loss is no longer a number; the message names the step and samples of its batch.
    """
    world = World() if world is None else world
    # on a GPU, RoIAlign's backward has no deterministic form
    with deterministic() if world.device.type == "cpu" else nullcontext():
        return _train(tower, feed, params, checkpoints, report, world)


def _train(
    tower: DenseClip, feed: TrainFeed, params: TrainParams, checkpoints: Checkpoints, report: Report, world: World
) -> TrainResult:
    of_base = base_texts(tower, params, world.device)  # before anything learns or is divided among processes
    model = _prepare(tower, params, world)
    optimizer = optimizer_of(model.groups(), params)
    scoring, scaler = _scoring(tower, params, world, of_base)
    average = Average(model.weights, params.ema_decay) if params.ema_decay else None
    state = TrainingState(
        weights=model.learning,
        optimizer=optimizer,
        average=None if average is None else average.values,
        scaler=scaler,
        beside=model.state() | {f"terms.{name}": value for name, value in scoring.state.items()},
    )
    start = checkpoints.restore(state)
    unreadable = Unreadable(state.failed, params.max_failed, feed.samples, "train", world.first)
    workers = decoders(params, world.device.type == "cuda", world.on_this_machine)
    values: dict[str, float] = {}
    stages = resolutions(params)
    tower.train()
    with closing(feed.load(start, workers, params.loader.backend)) as source:
        for step in range(start, params.steps):
            began = time.perf_counter()
            loaded = next(source)
            at = stages[index_at(stages, step)]
            model.set_rates(step, optimizer)
            rate = begin_step(step, optimizer, params, at.lr_factor)
            computed = compute(model, loaded, scoring, world)
            unreadable.add(computed.failed)
            state.seen.update(computed.seen)
            values = computed.values
            _require_finite(values["total"], "loss", step, (loaded, computed), checkpoints.path, world)
            if scaler is not None:
                scaler.unscale_(optimizer)
            norm = model.clip(params.grad_clip)
            if scaler is None:  # otherwise the weights and the next checkpoint would be corrupted
                _require_finite(norm, "gradients", step, (loaded, computed), checkpoints.path, world)
                optimizer.step()
            else:
                _step_scaled(scaler, optimizer, step)
            if average is not None:
                average.update(step)
            model.after_step(step)
            took = time.perf_counter() - began
            report(step, {**values, "lr": rate, "grad_norm": norm, "images_per_s": at.batch / took})
            if is_kept(step, params):
                checkpoints.save(step + 1, state)
    tower.eval()
    return TrainResult(values, on_cpu(model.weights if average is None else average.values), state.failed, state.seen)


def _prepare(tower: DenseClip, params: TrainParams, world: World) -> Parallel:
    if not trainable(tower.clip):
        raise DataError("train: expected trainable parameters, found no adapter in the model; check train.adapter")
    if params.parallel == "fsdp2" and params.precision == "fp16":
        raise InputError(
            "train.precision: expected bf16 or fp32 with train.parallel fsdp2, got fp16; change one of them"
        )
    tower.to(world.device)
    embedder = embedder_of(tower, params)  # before blocks are compiled or called twice: it copies the tower
    if params.checkpoint_activations:
        checkpoint_activations(tower)
    if params.compile:
        compile_blocks(tower)
    some_rest = params.adapter == "full" or only_images(params.weights)
    return Parallel(embedder, world, params.parallel, all_learn=some_rest)


def _scoring(
    tower: DenseClip, params: TrainParams, world: World, of_base: BaseTexts | None = None
) -> tuple[StepScoring, torch.amp.GradScaler | None]:
    dtype = autocast_dtype(params.precision, world.device)
    scaler = torch.amp.GradScaler(world.device.type) if dtype is torch.float16 else None
    scoring = StepScoring(
        params=params,
        pairwise=tower.pairwise,
        dtype=dtype,
        tokenizer=tower.tokenizer,
        scale_loss=(lambda loss: loss) if scaler is None else scaler.scale,
        state=states_of(params.weights),
        base_texts=of_base,
    )
    return scoring, scaler


def _step_scaled(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Take a step in float16; skip it if gradients overflow, and scale the next loss less."""
    scaler.step(optimizer)
    scaler.update()
    if scaler.get_scale() < _LEAST_LOSS_SCALE:
        raise UmgclipError(f"train: step {step}: float16 overflows at any loss scale; lower train.lr_peak or use bf16")


def _require_finite(
    value: float, what: str, step: int, seen: tuple[LoadedBatch, Computed], beside: Path, world: World
) -> None:
    """Raise an error if a value is not finite; all processes have the same `value`, so all stop."""
    if math.isfinite(value):
        return
    loaded, computed = seen
    told = world.tell((loaded.keys, computed.odd))
    keys, odd = ([key for part in told for key in part[which]] for which in (0, 1))
    path = beside.with_name("not_finite.json")
    if world.first:
        write_json(path, {"step": step, "values": _texts(computed.values), "keys": keys, "not_finite": odd})
    named = odd or keys
    more = f" and {len(named) - _KEYS_SHOWN} more" if len(named) > _KEYS_SHOWN else ""
    of = "samples whose embeddings are no numbers" if odd else "samples of the batch"
    noun = "a finite loss" if what == "loss" else "finite gradients"
    raise UmgclipError(
        f"train: step {step}: expected {noun}, got {computed.values}; {of}: {', '.join(named[:_KEYS_SHOWN])}{more} "
        f"(all in {path}); lower train.lr_peak, or inspect these samples"
    )


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in values.items()}
