"""Patches replaced by a mask token at the input of a ViT, for objectives that hide a part of the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.errors import InputError


def patch_projection(visual: Any) -> nn.Conv2d:  # noqa: ANN401 - open_clip's towers share no base class
    """Return the convolution that makes tokens of patches.

    Raises:
        InputError: the tower has no such layer, as a ConvNeXt, whose cells mix pixels from the start.
    """
    trunk = getattr(visual, "trunk", None)
    layer = (
        getattr(visual, "conv1", None) if trunk is None else getattr(getattr(trunk, "patch_embed", None), "proj", None)
    )
    if not isinstance(layer, nn.Conv2d) or not hasattr(visual if trunk is None else trunk, _BLOCKS[trunk is None]):
        name = type(visual if trunk is None else trunk).__name__
        raise InputError(f"train.weights.patch_ema: expected 0 for a tower that is no ViT, got a weight and {name}")
    return layer


_BLOCKS = {True: "transformer", False: "blocks"}  # open_clip's own tower, or timm's


@contextmanager
def masked_patches(visual: Any, mask: Bool[Tensor, "b h w"], token: Float[Tensor, " channels"]) -> Iterator[None]:  # noqa: ANN401
    """Replace patches by a token while this context lasts: after their projection, before the positions are added.

    Args:
        visual: an image tower, a ViT.
        mask: the patches that are hidden.
        token: stands in their place.

    Raises:
        InputError: the tower is no ViT.
    """

    def replace(_layer: nn.Module, _inputs: Any, cells: Tensor) -> Tensor:  # noqa: ANN401
        return torch.where(mask[:, None], token.to(cells.dtype)[None, :, None, None], cells)

    handle = patch_projection(visual).register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
