"""Estimated cost of a recipe from its parameters: GPU hours and memory. Nothing of it is measured.

The work is that of the towers' matrices: 2 operations for each weight and token, and 4 n^2 w for the attention of n
tokens of width w in each block; a backward pass costs two forward ones, and half of that where weights are frozen. A
GPU is an A100 (312 TFLOPS in bf16) that reaches a third of it. Memory is weights, gradients and Adam in float32, and
34 w bytes of activations for each token and block in bf16 (Korthikanti et al. 2022); 2 w, and one block in full, where
blocks are computed twice. The decoder of `segment` counts as much as the frozen tower that it reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from umgclip.model.clip import files
from umgclip.model.clip.pretrained.load import named_config
from umgclip.params import BaseParams, SegmentParams, TrainParams
from umgclip.recipes.reading import Estimated, RecipeFacts

_OPERATIONS_S = 312e12 / 3  # of an A100 in bf16
_BYTES_LEARNT, _BYTES_FROZEN = 16, 4
_BYTES_ACTIVATIONS, _BYTES_RECOMPUTED = 34, 2
_TOKENS_TEXT = 77
_NEGATIVES = 10  # of a region, at most
_ADAPTER_SHARE = 0.02  # of the weights, which learns


@dataclass(frozen=True)
class TowerSize:
    """The sizes of one tower: weights without embeddings of tokens, blocks and channels."""

    weights: int
    blocks: int
    width: int

    def operations(self, tokens: int) -> float:
        """Return the operations of a forward pass of so many tokens."""
        return 2.0 * self.weights * tokens + 4.0 * self.blocks * self.width * tokens**2

    def activations(self, tokens: int, recomputed: bool) -> int:
        """Return the bytes of the activations of so many tokens."""
        block = tokens * self.width
        if not recomputed:
            return self.blocks * block * _BYTES_ACTIVATIONS
        return self.blocks * block * _BYTES_RECOMPUTED + block * _BYTES_ACTIVATIONS


@dataclass(frozen=True)
class TowerSizes:
    """Both towers of a model, and its side and patch in pixels."""

    image: TowerSize
    text: TowerSize
    image_px: int
    patch_px: int

    def tokens(self, side: int) -> int:
        """Return the tokens of a square image, the class token included."""
        return (side // self.patch_px) ** 2 + 1


def towers(base: BaseParams) -> TowerSizes:
    """Measure the towers of a base without its weights: the model is built on no device.

    Raises:
        InputError: open_clip knows no such model or tag.
    """
    config = named_config(base.model, base.pretrained)
    assert config is not None  # noqa: S101 - a folder has none; recipes name tags
    with torch.device("meta"):
        clip: Any = files.build(config)
    image = [*clip.visual.modules()]
    text = [module for module in clip.modules() if module not in set(image)]
    patch = next(module for module in image if isinstance(module, nn.Conv2d)).kernel_size[0]
    return TowerSizes(_tower(image), _tower(text), int(config["vision_cfg"]["image_size"]), int(patch))


def _tower(modules: list[nn.Module]) -> TowerSize:
    blocks = [module for module in modules if hasattr(module, "attn") and hasattr(module, "mlp")]
    width = next(p.shape[-1] for p in blocks[0].parameters() if p.ndim == 2)
    parts = [module for module in modules if not isinstance(module, nn.Embedding)]
    return TowerSize(sum(p.numel() for m in parts for p in m.parameters(recurse=False)), len(blocks), int(width))


def estimate(facts: RecipeFacts, base: BaseParams, train: TrainParams, segment: SegmentParams) -> Estimated:
    """Estimate the hours of one GPU for each stage that needs one, and the memory of one GPU in `train`."""
    model = towers(base)
    stages = [
        (one.image_px, steps, one.batch or train.batch)
        for one, steps in zip(train.stages, train.stage_steps, strict=True)
    ] or [(train.image_px or model.image_px, train.steps, train.batch)]
    work = sum(steps * batch * _step(model, train, side) for side, steps, batch in stages)
    work += _teacher(model, facts, train)
    whole, crop = (model.image.operations(model.tokens(side)) for side in (model.image_px, model.image_px // 2))
    decoder = 0.0
    if any(command.startswith("umgclip segment") for command in facts.run):
        forward = model.image.operations(model.tokens(segment.image_px or model.image_px))
        decoder = 2 * segment.steps * segment.batch * forward
    return Estimated(
        train_gpu_hours=_hours(work),
        embed_gpu_hours=_hours(facts.images * (whole + facts.crops * crop)),
        memory_gb=_round(max(_memory(model, train, side, batch / facts.gpus) for side, _, batch in stages) / 1e9),
        segment_gpu_hours=_hours(decoder),
    )


def _step(model: TowerSizes, train: TrainParams, side: int) -> float:
    """Return the operations of one image and its texts in a step."""
    learnt = (train.full.blocks or model.image.blocks) / model.image.blocks if train.adapter == "full" else 0.5
    again = (1 if train.checkpoint_activations else 0) + (1 if train.accumulate > 1 else 0)
    sides = _sides(train, side)
    forward = sum(model.image.operations(model.tokens(one)) for one in sides) / len(sides)
    image = forward * (1 + again + 2 * learnt)
    return image + _texts(train) * model.text.operations(_TOKENS_TEXT) * (3 + again)


def _sides(train: TrainParams, side: int) -> list[int]:
    """Return the sides that steps draw from: those of windows, or the only one."""
    return train.windows.sides if train.weights.windows and train.windows.sides else [side]


def _teacher(model: TowerSizes, facts: RecipeFacts, train: TrainParams) -> float:
    """Return the operations of the windows that a teacher reads: once for an image and a side if its maps are kept."""
    if not train.weights.windows:
        return 0.0
    sides, stride = _sides(train, 2 * model.image_px), train.windows.stride_px or model.patch_px * 3 // 2
    windows = sum((math.ceil((side - model.image_px) / stride) + 1) ** 2 for side in sides)
    times = facts.images if train.windows.cache else train.images_shown / len(sides)
    return times * windows * model.image.operations(model.tokens(model.image_px))


def _texts(train: TrainParams) -> int:
    """Return how many texts of an image are encoded in a step."""
    weights, regions = train.weights, train.regions_per_image
    texts = 1 if weights.image_text else 0
    texts += 3 if weights.long_text else 0  # one of 196 or 248 tokens
    texts += regions if weights.region_text or weights.pixel else 0
    return texts + (_NEGATIVES * regions if weights.hard_negatives or weights.cmr else 0)


def _memory(model: TowerSizes, train: TrainParams, side: int, batch: float) -> float:
    """Return the bytes that one GPU needs at a side, for its part of a batch."""
    image, text, full = model.image, model.text, train.adapter == "full"
    share = (train.full.blocks or image.blocks) / image.blocks if full else 1.0
    learnt = (share if full else _ADAPTER_SHARE) * image.weights
    learnt += text.weights if full and train.full.text_tower else 0
    frozen = image.weights + text.weights - learnt
    recomputed, at_once = train.checkpoint_activations, batch / train.accumulate
    activations = at_once * share * image.activations(model.tokens(max(_sides(train, side))), recomputed)
    activations += at_once * text.activations(_texts(train) * _TOKENS_TEXT, recomputed)
    return learnt * _BYTES_LEARNT + frozen * _BYTES_FROZEN + activations


def _hours(operations: float) -> float:
    return _round(operations / _OPERATIONS_S / 3600)


def _round(value: float) -> float:
    """Round to two digits, for the estimate is no better."""
    return float(f"{value:.2g}")
