"""A model in the terms of transformers, and how the layers of open_clip and timm are called there.

The tables are those of the way in (`umgclip.model.clip.pretrained.hugging_face_names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.pretrained.hugging_face_names import OPEN_CLIP_LAYERS, TIMM_LAYERS
from umgclip.model.clip.tower import DenseClip

Kind = Literal["clip", "siglip", "siglip2"]


class Unsuited(Exception):
    """A part of a model that a class of transformers has no place for."""


@dataclass(frozen=True)
class TransformersModel:
    """A model in the terms of transformers.

    Attributes:
        kind: transformers' `model_type`.
        config: arguments of its config class.
        weights: all of them, by its names.
    """

    kind: Kind
    config: dict[str, Any]
    weights: dict[str, Tensor]


class Remaining:
    """Weights by open_clip's names, of which each is taken once, so that none is lost without a word."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)

    def pop(self, name: str) -> Tensor:
        """Take a weight by its name, for good.

        Raises:
            Unsuited: the model lacks it.
        """
        if name not in self._weights:
            raise Unsuited(f"it has no {name}")
        return self._weights.pop(name)

    def numbers(self, prefix: str) -> list[int]:
        """Return the numbers of the blocks below a prefix, in order."""
        rest = (name.removeprefix(prefix) for name in self._weights if name.startswith(prefix))
        return sorted({int(name.split(".")[0]) for name in rest})

    def check(self) -> None:
        """Check that every weight was taken.

        Raises:
            Unsuited: names one that was not.
        """
        if self._weights:
            raise Unsuited(f"it has {min(self._weights)}, for which there is no place")


def with_kinds(remaining: Remaining, ours: str, theirs: str) -> dict[str, Tensor]:
    """Take the weight and the bias of a layer, under its other name."""
    return {f"{theirs}.{kind}": remaining.pop(f"{ours}.{kind}") for kind in ("weight", "bias")}


def layers(remaining: Remaining, ours: str, theirs: str, *, timm: bool) -> dict[str, Tensor]:
    """Take all blocks of a tower; the fused projection becomes a query's, a key's and a value's.

    Args:
        remaining: weights by our names.
        ours: what stands before the number of a block, such as `visual.transformer.resblocks.`.
        theirs: what shall stand there, such as `vision_model.encoder.layers.`.
        timm: blocks by timm's names, or open_clip's.

    Raises:
        Unsuited: a weight of a block is missing.
    """
    named = {}
    for number in remaining.numbers(ours):
        old, new = f"{ours}{number}.", f"{theirs}{number}."
        for kind in ("weight", "bias"):
            fused = remaining.pop(f"{old}attn.qkv.{kind}" if timm else f"{old}attn.in_proj_{kind}")
            for part, rows in zip("qkv", fused.chunk(3), strict=True):
                named[f"{new}self_attn.{part}_proj.{kind}"] = rows
            for their_layer, our_layer in (TIMM_LAYERS if timm else OPEN_CLIP_LAYERS).items():
                named[f"{new}{their_layer}.{kind}"] = remaining.pop(f"{old}{our_layer}.{kind}")
    return named


def activation(module: nn.Module) -> str:
    """Return transformers' name of an activation.

    Raises:
        Unsuited: it is none that CLIP or SigLIP have there.
    """
    if isinstance(module, open_clip.transformer.QuickGELU):
        return "quick_gelu"
    if isinstance(module, nn.GELU):
        return "gelu_pytorch_tanh" if module.approximate == "tanh" else "gelu"
    if type(module).__name__ == "GELUTanh":  # timm's
        return "gelu_pytorch_tanh"
    if type(module).__name__ == "GELU":
        return "gelu"
    raise Unsuited(f"its activation is {type(module).__name__}")


def epsilon(*norms: Any) -> float:  # noqa: ANN401 - layer norms of torch and of others
    """Return the epsilon that all layer norms of a tower share, as transformers has one for each tower.

    Raises:
        Unsuited: they differ, or one is no layer norm.
    """
    values = sorted({float(getattr(norm, "eps", "nan")) for norm in norms})
    if len(values) != 1 or values[0] != values[0]:
        raise Unsuited(f"its norms have different epsilons ({', '.join(map(str, values))})")
    return values[0]


def side_of(tower: DenseClip) -> tuple[int, int]:
    """Return the sides of image and patch in pixels, which are squares there.

    Raises:
        Unsuited: one is no square.
    """
    for what, (height, width) in (("images", tower.image_hw), ("patches", tower.patch_px)):
        if height != width:
            raise Unsuited(f"its {what} are {width} x {height} pixels, and there they are squares")
    return tower.image_hw[0], tower.patch_px[0]
