"""A small diffusion transformer that predicts the velocity of noisy image tokens, given tokens of a condition.

The blocks of Flux (Black Forest Labs, 2024) at any size, as GenHancer (Ma et al., ICCV 2025) trains them from scratch:
double-stream blocks, in which image and condition have weights of their own and attend jointly, then single-stream
blocks with attention and MLP side by side. Every block is modulated by the time and the condition's first token.
GenHancer's embedding of a guidance scale is left out, because the scale is a constant there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.params.train import DenoiserParams

_FREQUENCIES = 256  # of the time's embedding, sines and cosines together
_TIME_SCALE, _TIME_PERIOD, _PLACE_PERIOD = 1000.0, 10_000.0, 10_000.0
_MLP_RATIO = 4

Rotation = tuple[Float[Tensor, "places half"], Float[Tensor, "places half"]]


class Denoiser(nn.Module):
    """Noisy tokens on a square grid, their time and a condition to the velocity of each token.

    Args:
        token_dim: numbers in a token of the image.
        condition_dim: numbers in a token of the condition.
        grid: tokens along a side of the image.
        params: sizes of the network.

    Raises:
        InputError: the width cannot be divided among the heads; names the key.
    """

    def __init__(self, token_dim: int, condition_dim: int, grid: int, params: DenoiserParams) -> None:
        super().__init__()
        width, heads = params.width, params.heads
        if width % (4 * heads):
            raise InputError(
                f"train.diffusion.denoiser.width: expected a multiple of 4 x heads ({4 * heads}), got {width}"
            )
        self.tokens_in = nn.Linear(token_dim, width)
        self.condition_in = _projector(condition_dim, width)
        self.vector_in = _projector(condition_dim, width)
        self.time_in = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.double_blocks = nn.ModuleList(DoubleBlock(width, heads) for _ in range(params.double_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(width, heads) for _ in range(params.single_blocks))
        self.last = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, token_dim)
        cosine, sine = rotation(grid, width // heads)
        self.register_buffer("_cosine", cosine, persistent=False)
        self.register_buffer("_sine", sine, persistent=False)

    def forward(
        self, noisy: Float[Tensor, "b n c"], time: Float[Tensor, " b"], condition: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b n c"]:
        """Predict the velocity of every token; the first token of the condition is the one of the whole image."""
        image, text = self.tokens_in(noisy), self.condition_in(condition)
        vector = F.silu(self.time_in(time_features(time)) + self.vector_in(condition[:, 0]))
        place = (self._cosine, self._sine)
        for block in self.double_blocks:
            image, text = block(image, text, vector, place)
        joint = torch.cat([text, image], dim=1)
        for block in self.single_blocks:
            joint = block(joint, vector, place)
        shift, scale = self.last(vector)[:, None].chunk(2, dim=-1)
        predicted: Tensor = self.out(_modulated(joint[:, text.shape[1] :], shift, scale))
        return predicted


class DoubleBlock(nn.Module):
    """Two streams with weights of their own that attend to each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.image, self.text = _Stream(width, heads), _Stream(width, heads)

    def forward(
        self, image: Float[Tensor, "b n w"], text: Float[Tensor, "b m w"], vector: Float[Tensor, "b w"], place: Rotation
    ) -> tuple[Float[Tensor, "b n w"], Float[Tensor, "b m w"]]:
        """Return both streams after joint attention and their own MLPs."""
        of_image, of_text = self.image.modulation_of(vector), self.text.modulation_of(vector)
        parts = zip(self.text.attended(text, of_text), self.image.attended(image, of_image), strict=True)
        query, key, value = (torch.cat(list(pair), dim=2) for pair in parts)
        mixed = attention(query, key, value, place)
        count = text.shape[1]
        return self.image.after(image, mixed[:, count:], of_image), self.text.after(text, mixed[:, :count], of_text)


class _Stream(nn.Module):
    """One of the two streams of a double block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.attention = _Projections(width, heads)
        self.out = nn.Linear(width, width)
        hidden = _MLP_RATIO * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))

    def modulation_of(self, vector: Float[Tensor, "b w"]) -> tuple[Tensor, ...]:
        """Return shift, scale and gate of attention, then those of the MLP."""
        return tuple(self.modulation(vector)[:, None].chunk(6, dim=-1))

    def attended(self, tokens: Tensor, by: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values."""
        queries: tuple[Tensor, Tensor, Tensor] = self.attention(_modulated(tokens, by[0], by[1]))
        return queries

    def after(self, tokens: Tensor, mixed: Tensor, by: tuple[Tensor, ...]) -> Tensor:
        """Add what attention gave, and then the MLP."""
        tokens = tokens + by[2] * self.out(mixed)
        added: Tensor = by[5] * self.mlp(_modulated(tokens, by[3], by[4]))
        return tokens + added


class SingleBlock(nn.Module):
    """Attention and MLP side by side on image and condition together."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 3 * width)
        self.attention = _Projections(width, heads)
        self.hidden = nn.Linear(width, _MLP_RATIO * width)
        self.out = nn.Linear((1 + _MLP_RATIO) * width, width)

    def forward(
        self, tokens: Float[Tensor, "b n w"], vector: Float[Tensor, "b w"], place: Rotation
    ) -> Float[Tensor, "b n w"]:
        """Return all tokens after the block; the image's come last."""
        shift, scale, gate = self.modulation(vector)[:, None].chunk(3, dim=-1)
        inner = _modulated(tokens, shift, scale)
        query, key, value = self.attention(inner)
        mixed = attention(query, key, value, place)
        both = torch.cat([mixed, F.gelu(self.hidden(inner), approximate="tanh")], dim=-1)
        added: Tensor = gate * self.out(both)
        return tokens + added


class _Projections(nn.Module):
    """Queries, keys and values by heads; queries and keys of root mean square 1 (QK-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.query_norm, self.key_norm = (nn.RMSNorm(width // heads, eps=1e-6) for _ in range(2))

    def forward(self, tokens: Float[Tensor, "b n w"]) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return self.query_norm(query.float()), self.key_norm(key.float()), value


def attention(
    query: Float[Tensor, "b h n e"], key: Float[Tensor, "b h n e"], value: Float[Tensor, "b h n e"], place: Rotation
) -> Float[Tensor, "b n w"]:
    """Attend with queries and keys of the image, which come last, turned by their places (RoPE)."""
    query, key = turned(query, place), turned(key, place)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def turned(rows: Float[Tensor, "b h n e"], place: Rotation) -> Float[Tensor, "b h n e"]:
    """Turn pairs of numbers by the angles of each token's place; tokens before those of the image stay as they are."""
    cosine, sine = place
    still, moving = rows[:, :, : -len(cosine)], rows[:, :, -len(cosine) :]
    first, second = moving[..., 0::2], moving[..., 1::2]
    pairs = torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
    return torch.cat([still, pairs.flatten(-2).to(rows.dtype)], dim=2)


def rotation(grid: int, head_dim: int) -> Rotation:
    """Return cosines and sines of the angles of a square grid's places, in row order.

    The first half of a head's pairs turns with the row, the second half with the column (two-dimensional RoPE).
    """
    quarter = head_dim // 4
    speeds = _PLACE_PERIOD ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * speeds
    by_row, by_column = angles.repeat_interleave(grid, dim=0), angles.repeat(grid, 1)
    both = torch.cat([by_row, by_column], dim=1)
    return both.cos().float(), both.sin().float()


def time_features(time: Float[Tensor, " b"]) -> Float[Tensor, "b f"]:
    """Return cosines and sines of times from 0 to 1 at many frequencies, as diffusion models embed them."""
    half = _FREQUENCIES // 2
    speeds = torch.exp(-math.log(_TIME_PERIOD) * torch.arange(half, device=time.device) / half)
    angles = _TIME_SCALE * time[:, None] * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer-normalise without weights, then scale and shift."""
    return (1 + scale) * F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) + shift


def _projector(inner: int, width: int) -> nn.Sequential:
    """Return GenHancer's projector of the tower's tokens."""
    return nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, width), nn.GELU(), nn.Linear(width, width))
