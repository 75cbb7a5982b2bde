"""Other ways to read open_clip's own ViT, without training, for comparison with the value path.

`raw`: the value path before its tokens are brought to length 1, so that a long token weighs more in a box; FG-CLIP 2
(arXiv:2510.10921) pools its boxes so.
`last`: the tokens of the ordinary last block, which were never trained to mean anything alone.
`surgery`: CLIP Surgery (Li et al., arXiv:2304.05653): a second path through the last half of the blocks, fed by the
first, in which tokens attend by value-value similarity and which has no MLP.
`foveal`: FALIP (Zhuang et al., ECCV 2024): something is added to the class token's row of the attention logits. What is
added is a bell of the box's size, or exactly what FALIP's code adds.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.clip.attention import Attention
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.vision.encoder import DensePath, VisionEncoder, as_map, raw_lengths
from umgclip.model.clip.vision.open_clip_vit import OpenClipVit

Profile = Literal["box", "falip"]
_REGIONS_AT_ONCE = 16
_FALIP_DEVIATION = 100.0  # tokens
_FALIP_LEAST = 1e-6  # keeps what FALIP's code adds above 0 and its division defined
_ROUNDING = 1e-5  # of a token; a share that is a whole number of tokens may come out a little larger


def dense_by(
    encoder: VisionEncoder,
    images: Float[Tensor, "b 3 height width"],
    path: DensePath,
    valid: Bool[Tensor, "b h w"] | None,
) -> Float[Tensor, "b d h w"]:
    """Return the dense map by another read-out path, L2-normalised.

    Raises:
        InputError: the tower is not open_clip's own ViT, or its blocks are not what the path needs.
    """
    if path == "value":
        return encoder(images, valid)[1]
    if path == "raw":
        return _raw(encoder, images, valid)
    vit = _vit(encoder, path)
    x, grid = vit.embed(images, valid)
    if path == "last":
        for block in vit.blocks:
            x = vit.block(block, x, grid)
        return as_map(vit.project(x[:, 1:], norm=True), grid.height, grid.width)
    if valid is not None:
        raise InputError("evaluate.readouts: surgery: expected evaluate.resize squash, got pad")
    depth = len(vit.blocks) // 2
    for block in vit.blocks[: len(vit.blocks) - depth]:
        x = vit.block(block, x, grid)
    second = x
    for block in vit.blocks[len(vit.blocks) - depth :]:
        second = second + _value_value(block, block.ln_1(x))
        x = vit.block(block, x, grid)
    return as_map(vit.project(second[:, 1:], norm=True), grid.height, grid.width)


def foveal(
    encoder: VisionEncoder,
    images: Float[Tensor, "b 3 height width"],
    box_shares: Float[Tensor, "r xyxy"],
    image_of_box: Int[Tensor, "r"],
    peak: float,
    profile: Profile = "box",
) -> Float[Tensor, "r d"]:
    """Global embeddings, L2-normalised, of images whose class token looks at a box.

    Args:
        encoder: open_clip's own ViT with a class token.
        images: normalised pixels.
        box_shares: boxes as shares of the image's sides.
        image_of_box: index of each box's image.
        peak: what is added to the logit of the token at the box's centre.
        profile: shape of what is added to the other tokens of the box: `box`, a Gaussian of half the box's sides as
            deviations, or `falip`, see `_falip`.

    Raises:
        InputError: another tower.
    """
    vit = _vit(encoder, "foveal")
    x, grid = vit.embed(images, None)
    depth = max(1, len(vit.blocks) // 3)
    for block in vit.blocks[: len(vit.blocks) - depth]:
        x = vit.block(block, x, grid)
    embeddings = []
    for first in range(0, len(box_shares), _REGIONS_AT_ONCE):
        part = slice(first, first + _REGIONS_AT_ONCE)
        tokens = x[image_of_box[part]]
        added = _PROFILES[profile](box_shares[part], grid.height, grid.width, peak)
        for block in vit.blocks[len(vit.blocks) - depth :]:
            heads = int(block.attn.num_heads)
            mask = tokens.new_zeros(len(tokens), tokens.shape[1], tokens.shape[1])
            mask[:, 0, 1:] = added
            tokens = vit.block(block, tokens, grid, attn_mask=mask.repeat_interleave(heads, dim=0))
        embeddings.append(vit.project(tokens[:, 0], norm=True))
    return torch.cat(embeddings)


def _raw(
    encoder: VisionEncoder, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
) -> Float[Tensor, "b d h w"]:
    with raw_lengths():
        dense = encoder(images, valid)[1]
    lengths = dense.float().norm(dim=1)
    if torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3):
        raise InputError(
            f"evaluate.readouts: raw_box: expected a tower whose encoder ends with `to_unit`, "
            f"got {type(encoder).__name__}; use whole_box"
        )
    return dense


def _vit(encoder: VisionEncoder, path: str) -> OpenClipVit:
    if not isinstance(encoder, OpenClipVit) or not encoder.reads_class_token:
        raise InputError(
            f"evaluate.readouts: {path}: expected open_clip's own ViT with a class token (ViT-B-32, ViT-B-16, ...), "
            f"got {type(encoder).__name__}"
        )
    if encoder.clustered:
        raise InputError(
            f"evaluate.readouts: {path}: expected a model without train.clustering, because all its blocks run on "
            "all tokens; got one with it: take this read-out away"
        )
    return encoder


def _value_value(block: Any, x: Float[Tensor, "b n channels"]) -> Float[Tensor, "b n channels"]:  # noqa: ANN401 - a block
    """Attention of a block in which queries and keys are the values."""
    attention = Attention(block.attn) if Attention.fits(block.attn) else block.attn
    if not isinstance(block, open_clip.transformer.ResidualAttentionBlock) or not isinstance(attention, Attention):
        raise InputError(
            f"evaluate.readouts: surgery: expected plain attention in every block, got {type(attention).__name__}"
        )
    value = attention.values(x).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(value, value, value)
    return block.ls_1(attention.out_proj(mixed.transpose(1, 2).flatten(2)))


def _gaussians(box_shares: Float[Tensor, "r xyxy"], height: int, width: int, peak: float) -> Float[Tensor, "r n"]:
    """Return a Gaussian over each box on the token grid, its highest value `peak`, 0 outside the box."""
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    x0, y0, x1, y1 = (side[:, None, None] for side in box_shares.unbind(1))
    spread_x, spread_y = (x1 - x0).clamp(min=1e-6) / 2, (y1 - y0).clamp(min=1e-6) / 2
    x, y = columns[None, None, :], rows[None, :, None]
    exponent = -(((x - (x0 + x1) / 2) / spread_x) ** 2 + ((y - (y0 + y1) / 2) / spread_y) ** 2) / 2
    # a box smaller than a token holds no token's centre: the token it lies in stands for it
    half_x, half_y = 0.499 / width, 0.499 / height
    inside = (x + half_x > x0) & (x - half_x < x1) & (y + half_y > y0) & (y - half_y < y1)
    exponent = exponent.masked_fill(~inside, -torch.inf).flatten(1)
    return peak * torch.exp(exponent - exponent.amax(1, keepdim=True).clamp(min=torch.finfo(exponent.dtype).min))


def _falip(box_shares: Float[Tensor, "r xyxy"], height: int, width: int, peak: float) -> Float[Tensor, "r n"]:
    """Return what FALIP's code (pumpkin805/FALIP) adds to the tokens of each box, from near 0 to `peak`; 0 outside.

    It is a Gaussian of 100 tokens about the middle of the tokens that the box touches, scaled from its least to its
    highest value in the box: nearly a parabola, with about 0 at the box's corners.
    """
    sides = box_shares.new_tensor([width, height, width, height])
    # a box from x0 to x1 touches the tokens ceil(x0) - 1 to ceil(x1) - 1, as FALIP counts them
    corners = (box_shares.clamp(0, 1) * sides - _ROUNDING).ceil().clamp(min=1) - 1
    left, top, right, bottom = (corner[:, None, None] for corner in corners.double().unbind(1))
    x = torch.arange(width, device=box_shares.device)[None, None, :]
    y = torch.arange(height, device=box_shares.device)[None, :, None]
    squared = (x - (left + right) / 2) ** 2 + (y - (top + bottom) / 2) ** 2
    bell = torch.exp(-squared / (2 * _FALIP_DEVIATION**2)).float()
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    least = bell.masked_fill(~inside, torch.inf).amin((1, 2), keepdim=True)
    highest = bell.masked_fill(~inside, -torch.inf).amax((1, 2), keepdim=True)
    scaled = (bell - least + _FALIP_LEAST) / (highest - least + _FALIP_LEAST) * peak
    return scaled.masked_fill(~inside, 0.0).flatten(1)


_PROFILES = {"box": _gaussians, "falip": _falip}
