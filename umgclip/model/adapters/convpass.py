"""Convpass adapters (Jie & Deng, 2022): small convolutions over the token grid beside attention and MLP of each block.

`x += MHSA(LN x) + s CP(LN x); x += MLP(LN x) + s CP(LN x)` with `CP(u) = Up(drop(g(Conv3x3(g(Down u)))))`. Up starts at
zero and the convolution at the identity, so training starts from the base. A class token is a map of one cell. The
grid comes with each forward, so any size will do, and padding stays zero.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.vision.token_grid import current_grid
from umgclip.params import ConvpassParams

_CENTRE = 1  # of a kernel of 3


class Convpass(nn.Module):
    """The convolutional branch beside attention or MLP."""

    def __init__(self, width: int, params: ConvpassParams) -> None:
        super().__init__()
        self.down = nn.Linear(width, params.hidden)
        self.conv = nn.Conv2d(params.hidden, params.hidden, 3, padding=1)
        self.up = nn.Linear(params.hidden, width)
        self.dropout = nn.Dropout(params.dropout)
        nn.init.xavier_uniform_(self.down.weight)
        with torch.no_grad():
            for value in (self.down.bias, *self.conv.parameters(), *self.up.parameters()):
                value.zero_()
            self.conv.weight[:, :, _CENTRE, _CENTRE] = torch.eye(params.hidden)

    def forward(self, u: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens of the grid that is running.

        Raises:
            InputError: no grid is known, for the block was not called by an encoder of this package.
        """
        grid = current_grid()
        if grid is None:
            raise InputError("convpass: expected to be called through DenseClip, which knows the grid; got a bare call")
        x = F.gelu(self.down(u))
        places = x[:, grid.prefix :].transpose(1, 2).unflatten(2, (grid.height, grid.width))
        if grid.valid is not None:
            places = places * grid.valid[:, None].to(places.dtype)
        mixed = self.conv(places).flatten(2).transpose(1, 2)
        # of a map of one cell a convolution with padding sees the kernel's centre only
        alone = F.linear(x[:, : grid.prefix], self.conv.weight[:, :, _CENTRE, _CENTRE], self.conv.bias)
        return self.up(self.dropout(F.gelu(torch.cat([alone, mixed], dim=1))))


class WithConvpass(nn.Module):
    """A layer with a parallel branch; all other attributes are those of the layer."""

    def __init__(self, inner: nn.Module, width: int, params: ConvpassParams) -> None:
        super().__init__()
        self.inner = inner
        self.convpass = Convpass(width, params)
        self.scale = params.scale

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - nn.Module's own
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x: Tensor, *others: Any, **options: Any) -> Any:  # noqa: ANN401 - what the layer takes and gives
        """Add the branch's output to the layer's; of a tuple (attention and its weights), to the first."""
        out, branch = self.inner(x, *others, **options), self.scale * self.convpass(x)
        return (out[0] + branch, *out[1:]) if isinstance(out, tuple) else out + branch


def add_convpass(clip: nn.Module, params: ConvpassParams) -> None:
    """Freeze a CLIP and put a branch beside attention and MLP of each block of its image tower, in place.

    Raises:
        InputError: the image tower has no blocks of tokens.
    """
    blocks = _blocks(clip.visual)
    clip.requires_grad_(False)
    for block in blocks:
        norm: Any = block.ln_1 if hasattr(block, "ln_1") else block.norm1
        width = int(norm.normalized_shape[0])
        block.attn = WithConvpass(block.attn, width, params)
        block.mlp = WithConvpass(block.mlp, width, params)


def _blocks(visual: Any) -> list[Any]:  # noqa: ANN401 - open_clip's towers share no base class
    if hasattr(visual, "transformer"):
        return list(visual.transformer.resblocks)
    trunk: Any = getattr(visual, "trunk", None)
    if not hasattr(trunk, "blocks"):
        raise InputError(
            f"train.adapter: expected lora or full, for convpass wants a ViT and the image tower is a "
            f"{type(trunk or visual).__name__}; got convpass"
        )
    return list(trunk.blocks)
