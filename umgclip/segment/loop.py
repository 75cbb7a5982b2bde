"""Training the decoder: batches in a fixed order, one optimizer, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import UmgclipError
from umgclip.learning.checkpoint import Checkpoints, TrainingState
from umgclip.learning.precision import autocast_dtype
from umgclip.learning.quarantine import Unreadable
from umgclip.learning.schedule import Report, begin_step, is_kept, optimizer_of
from umgclip.model.clip.deterministic import deterministic
from umgclip.model.segmenter.network import Segmenter
from umgclip.params.segment import SegmentParams
from umgclip.segment.feed import LoadedTargets, SegmentFeed
from umgclip.segment.targets import Targets


@dataclass(frozen=True)
class SegmentResult:
    """The result of training: last values, unreadable samples (by key, with shard and reason), counts."""

    values: dict[str, float]
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)


def train(
    segmenter: Segmenter,
    feed: SegmentFeed,
    texts: Float[Tensor, "t d"],
    params: SegmentParams,
    checkpoints: Checkpoints,
    report: Report,
) -> SegmentResult:
    """Run the remaining steps on the segmenter's device.

    Args:
        segmenter: what learns.
        feed: batches.
        texts: an embedding of each of the feed's labels.
        params: the section `segment`.
        checkpoints: of this run.
        report: called with every step's number and values.

    Raises:
        DataError: more samples are unreadable than `segment.max_failed` allows.
        InputError: a checkpoint belongs to another run.
        UmgclipError: the loss is no longer a number; names the step.
    """
    on_cpu = texts.device.type == "cpu"
    with deterministic() if on_cpu else nullcontext():  # on a GPU, sampling's backward has no deterministic form
        return _Run(segmenter, texts, params).go(feed, checkpoints, report)


class _Run:
    def __init__(self, segmenter: Segmenter, texts: Tensor, params: SegmentParams) -> None:
        from umgclip.model.segmenter.heads import Criterion

        self._segmenter, self._texts, self._params = segmenter, texts, params
        self._criterion = Criterion(params.decoder, params.weights, params.points, params.matching)
        self._weights = segmenter.learned()
        self._optimizer = optimizer_of(_groups(self._weights, params.weight_decay), params)
        self._dtype = autocast_dtype(params.precision, texts.device)

    def go(self, feed: SegmentFeed, checkpoints: Checkpoints, report: Report) -> SegmentResult:
        params, values = self._params, dict[str, float]()
        state = TrainingState(self._weights, self._optimizer)
        start = checkpoints.restore(state)
        unreadable = Unreadable(state.failed, params.max_failed, feed.samples, "segment")
        self._segmenter.train()
        with closing(feed.load(start)) as source:
            for step in range(start, params.steps):
                began = time.perf_counter()
                loaded = next(source)
                unreadable.add(loaded.failed)
                state.seen.update(loaded.seen)
                rate = begin_step(step, self._optimizer, params)
                values = self._step(step, loaded)
                took = time.perf_counter() - began
                unnamed = {"unnamed": float(loaded.unnamed)}
                report(step, {**values, **unnamed, "lr": rate, "images_per_s": params.batch / took})
                if is_kept(step, params):
                    checkpoints.save(step + 1, state)
        self._segmenter.eval()
        return SegmentResult(values, state.failed, state.seen)

    def _step(self, step: int, loaded: LoadedTargets) -> dict[str, float]:
        """Do one update; none if no sample of the batch has a named mask."""
        if loaded.targets is None:
            return dict.fromkeys(("total", "cross_entropy", "mask", "dice", "grad_norm"), 0.0)
        loss, values = self._loss(loaded.targets, self._texts[loaded.rows.to(self._texts.device)])
        _require_finite("loss", float(loss.detach()), step, values)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self._weights.values(), self._params.grad_clip))
        _require_finite(
            "gradients", norm, step, values
        )  # otherwise the weights and the next checkpoint would be corrupted
        self._optimizer.step()
        return {"total": float(loss.detach()), **values, "grad_norm": norm}

    def _loss(self, targets: Targets, texts: Tensor) -> tuple[Tensor, dict[str, float]]:
        device = texts.device
        valid = None if targets.valid is None else targets.valid.to(device)
        with torch.autocast(device.type, dtype=self._dtype, enabled=self._dtype is not None):
            layers = self._segmenter(targets.images.to(device), valid)
            logits = [self._segmenter.logits(queries, texts) for queries in layers]
        return self._criterion(
            [queries.masks.float() for queries in layers],
            [each.float() for each in logits],
            [masks.to(device) for masks in targets.masks],
            [labels.to(device) for labels in targets.labels],
        )


def _groups(weights: dict[str, nn.Parameter], decay: float) -> list[dict[str, object]]:
    """Group the weights: matrices and kernels decay; biases, norms and the scale do not."""
    return [
        {"params": [p for p in weights.values() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _require_finite(what: str, value: float, step: int, values: dict[str, float]) -> None:
    if not math.isfinite(value):
        raise UmgclipError(f"segment: step {step}: expected finite {what}, got {values}; lower segment.lr_peak")
