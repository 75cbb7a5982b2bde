"""The training loop: batches in a fixed order, one optimizer, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from umgclip.data.batch import Batch, Item, View, collate, read_teacher
from umgclip.data.stream import batches, decode, prefetched, shuffled
from umgclip.errors import DataError, UmgclipError
from umgclip.io.shards import RawSample
from umgclip.model.adapters import FrozenAttention
from umgclip.model.deterministic import deterministic
from umgclip.model.files import Tokenizer
from umgclip.model.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.train import objective
from umgclip.train.checkpoint import Checkpoints

_SHUFFLE_BUFFER = 4000
Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Dropped:
    """What validation put aside: whole images by key, single regions by key."""

    images: frozenset[str]
    regions: dict[str, frozenset[str]]


class Feed:
    """Batches of annotated samples; batch n is the same whatever was asked for before."""

    def __init__(self, params: TrainParams, dataset: Path, dropped: Dropped, tower: DenseClip) -> None:
        self._params, self._dataset, self._dropped = params, dataset, dropped
        self._embed_dim = tower.embed_dim
        self._view = View(
            image_px=params.image_px,
            grid=params.image_px // tower.patch_px[0],
            regions_per_image=params.regions_per_image,
            written_caption_share=params.written_caption_share,
            min_window=params.min_window,
            relight=params.relight,
        )

    def from_step(self, start: int) -> Iterator[Batch]:
        """Batches without end, from batch `start` on."""
        stream = shuffled(
            self._dataset, self._params.seed, _SHUFFLE_BUFFER, keep=lambda raw: raw.key not in self._dropped.images
        )
        for step, raws in enumerate(batches(stream, self._params.batch, start), start=start):
            rng = np.random.default_rng([self._params.seed, step])
            yield collate([self._item(raw) for raw in raws], self._view, self._embed_dim, rng)

    def _item(self, raw: RawSample) -> Item:
        sample = decode(raw, str(self._dataset))
        return Item(sample, read_teacher(raw.embeddings), self._dropped.regions.get(raw.key, frozenset()))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@deterministic()
def train(
    tower: DenseClip, feed: Feed, params: TrainParams, checkpoints: Checkpoints, report: Report
) -> dict[str, float]:
    """Run the steps that are not done yet; gives throughput and the last losses.

    Raises:
        UmgclipError: the loss is no longer a number; the message names the step.
    """
    weights = trainable(tower.clip)
    if not weights:
        raise DataError("train: expected something to train, found no adapter in the model")
    frozen = FrozenAttention(tower.clip)
    optimizer = torch.optim.AdamW(
        weights.values(), lr=params.lr_peak, betas=(0.9, 0.98), weight_decay=params.weight_decay, fused=True
    )
    start = checkpoints.restore(weights, optimizer)
    tokenizer = Tokenizer(tower.context_length)
    dtype = autocast_dtype(params.precision)
    values: dict[str, float] = {}
    tower.train()
    source = prefetched(feed.from_step(start))
    for step in range(start, params.steps):
        began = time.perf_counter()
        batch = next(source)
        rate = params.lr_peak * schedule(step, params.steps, params.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(params.seed * 1_000_003 + step)
        frozen.restore(tower.clip)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            total, values = objective.loss(tower, batch, params.weights, tokenizer)
        if not math.isfinite(values["total"]):
            raise UmgclipError(f"train: step {step}: expected a finite loss, got {values}; lower train.lr_peak")
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = float(nn.utils.clip_grad_norm_(weights.values(), params.grad_clip))
        if not math.isfinite(norm):  # or the weights, and the next checkpoint, would be spoilt
            raise UmgclipError(f"train: step {step}: expected finite gradients, got {values}; lower train.lr_peak")
        optimizer.step()
        took = time.perf_counter() - began
        report(step, {**values, "lr": rate, "grad_norm": norm, "images_per_s": params.batch / took})
        if (step + 1) % params.checkpoint_every == 0 and step + 1 < params.steps:
            checkpoints.save(step + 1, weights, optimizer)
    tower.eval()
    return values


def schedule(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then a cosine to 0, as a share of the peak."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def autocast_dtype(precision: str) -> torch.dtype | None:
    """bf16 where the processor has instructions for it and params allow it; None is plain float32."""
    if precision == "bf16" or (precision == "auto" and processor_has_bf16()):
        return torch.bfloat16
    return None


def processor_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices natively (avx512_bf16 or amx_bf16)."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
