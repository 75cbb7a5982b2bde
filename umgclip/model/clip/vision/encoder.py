"""The interface of every image tower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from torch import Tensor

# of a dense map: tokens that see themselves only in the last block, the same before they are brought to length 1, the
# ordinary last block, CLIP Surgery's second path
DensePath = Literal["value", "raw", "last", "surgery"]
_unit_length = ContextVar("unit_length", default=True)


@runtime_checkable
class VisionEncoder(Protocol):
    """The interface of an image tower's encoder.

    Attributes:
        patch_px: height and width in pixels of what one cell of the dense map stands for.
        embed_dim: dimension of the embeddings.
    """

    patch_px: tuple[int, int]
    embed_dim: int

    def __call__(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings, L2-normalised. What stands in cells that are not valid has no influence."""


def to_unit(x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
    """Bring embeddings to length 1, the last step of every encoder; leave them as they are inside `raw_lengths`."""
    return F.normalize(x, dim=-1) if _unit_length.get() else x


@contextmanager
def raw_lengths() -> Iterator[None]:
    """Make encoders that are called inside leave the lengths of their embeddings as they are."""
    token = _unit_length.set(False)
    try:
        yield
    finally:
        _unit_length.reset(token)


def mean_of_valid(tokens: Float[Tensor, "b n d"], valid: Bool[Tensor, "b h w"] | None) -> Float[Tensor, "b d"]:
    """Return the mean over the tokens that hold image."""
    if valid is None:
        return tokens.mean(dim=1)
    weight = valid.flatten(1).to(tokens.dtype)
    return (tokens * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True)


def as_map(tokens: Float[Tensor, "b n d"], height: int, width: int) -> Float[Tensor, "b d h w"]:
    """Tokens in row order as a map."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))


def repeat_edges(dense: Float[Tensor, "b d h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
    """Fill the cells without image with the nearest cell that has some.

    A box that ends at the image's edge is read by interpolation between cells: it then meets the edge again, as it
    does at the border of a map without padding.

    Args:
        dense: the map.
        valid: for each image a rectangle that starts at the top left.
    """
    rows, columns = valid.any(dim=2).sum(dim=1), valid.any(dim=1).sum(dim=1)
    row = torch.minimum(torch.arange(dense.shape[2], device=dense.device)[None], rows[:, None] - 1)
    column = torch.minimum(torch.arange(dense.shape[3], device=dense.device)[None], columns[:, None] - 1)
    places = (row[:, :, None] * dense.shape[3] + column[:, None, :]).flatten(1)
    return dense.flatten(2).gather(2, places[:, None].expand(-1, dense.shape[1], -1)).unflatten(2, dense.shape[2:])
