"""SigLIP towers of open_clip and timm as transformers' `SiglipModel`, or `Siglip2Model` for images of any aspect."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from umgclip.inference.export.transformers_names import (
    Remaining,
    TransformersModel,
    Unsuited,
    activation,
    epsilon,
    layers,
    side_of,
    with_kinds,
)
from umgclip.model.clip.text import text_module
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.timm_naflex import TimmNaFlex
from umgclip.model.clip.vision.timm_vit import TimmVit

_TRUNK = "visual.trunk."


def handles(tower: DenseClip) -> bool:
    """Return whether the image tower is a timm ViT, of fixed sides or NaFlex, with SigLIP's pooling head."""
    visual = tower.clip.visual
    trunk: Any = getattr(visual, "trunk", None)
    if TimmNaFlex.handles(visual):
        return True
    return (
        TimmVit.handles(visual)
        and type(trunk).__name__ == "VisionTransformer"
        and trunk.attn_pool is not None
        and trunk.num_prefix_tokens == 0
    )


def as_siglip_model(tower: DenseClip, *, any_aspect: bool) -> TransformersModel:
    """Return a model in the terms of `SiglipModel` or `Siglip2Model`.

    Args:
        tower: a model for which `handles` is true.
        any_aspect: images keep their aspect. Towers of SigLIP 2 NaFlex do so without a canvas, as `Siglip2Model`.

    Raises:
        Unsuited: the class has no place for a part of it; names the part.
    """
    visual, text = tower.clip.visual, text_module(tower.clip)
    _require_siglip_text(text)
    if list(visual.head.children()):
        raise Unsuited("it projects its pooled image, and SiglipModel does not")
    if tower.logit_bias() is None:
        raise Unsuited("it was trained with a softmax and has no logit bias")
    naflex = TimmNaFlex.handles(visual)
    any_aspect = any_aspect and naflex and _resizes_as_naflex(visual.trunk.embeds)
    side, patch = side_of(tower)
    if any_aspect:
        grid = visual.trunk.embeds.pos_embed.shape
        size: dict[str, Any] = {"num_patches": int(grid[1] * grid[2])}
    else:
        size = {"image_size": side}
    return TransformersModel(
        kind="siglip2" if any_aspect else "siglip",
        config={
            "vision_config": {**_vision_sizes(visual.trunk), **size, "patch_size": patch},
            "text_config": {
                **_text_sizes(text),
                "vocab_size": int(text.token_embedding.weight.shape[0]),
                "max_position_embeddings": int(text.positional_embedding.shape[0]),
                "projection_size": tower.embed_dim,
                "bos_token_id": None,
                "eos_token_id": None,
                "pad_token_id": None,
            },
        },
        weights=_weights(tower, naflex=naflex, any_aspect=any_aspect),
    )


def _resizes_as_naflex(embeds: Any) -> bool:  # noqa: ANN401 - timm's
    """Return whether positions are stretched to a grid as SigLIP 2 NaFlex does, and not as SigLIP of fixed sides."""
    return bool(embeds.pos_embed_antialias) and embeds.pos_embed_interp_mode == "bilinear"


def _require_siglip_text(text: Any) -> None:  # noqa: ANN401 - open_clip's modules
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    projection = getattr(text, "text_projection", None)
    if (
        pool != "last"
        or getattr(text, "attn_mask", None) is not None
        or getattr(text, "cls_emb", None) is not None
        or not isinstance(projection, torch.nn.Linear)
        or projection.bias is None
    ):
        raise Unsuited("its text tower is not SigLIP's, which reads all tokens and projects the last with a bias")


def _vision_sizes(trunk: Any) -> dict[str, Any]:  # noqa: ANN401 - a timm ViT
    block, pool = trunk.blocks[0], trunk.attn_pool
    act = activation(block.mlp.act)
    if activation(pool.mlp.act) != act or pool.num_heads != block.attn.num_heads:
        raise Unsuited("its pooling head has another activation or number of heads than its blocks")
    return {
        "hidden_size": int(trunk.num_features),
        "intermediate_size": int(block.mlp.fc1.out_features),
        "num_hidden_layers": len(trunk.blocks),
        "num_attention_heads": int(block.attn.num_heads),
        "hidden_act": act,
        "layer_norm_eps": epsilon(block.norm1, block.norm2, trunk.norm, pool.norm),
    }


def _text_sizes(text: Any) -> dict[str, Any]:  # noqa: ANN401 - open_clip's text tower
    block = text.transformer.resblocks[0]
    return {
        "hidden_size": int(text.transformer.width),
        "intermediate_size": int(block.mlp.c_fc.out_features),
        "num_hidden_layers": len(text.transformer.resblocks),
        "num_attention_heads": int(block.attn.num_heads),
        "hidden_act": activation(block.mlp.gelu),
        "layer_norm_eps": epsilon(block.ln_1, block.ln_2, text.ln_final),
    }


def _weights(tower: DenseClip, *, naflex: bool, any_aspect: bool) -> dict[str, Tensor]:
    remaining = Remaining(tower.clip.state_dict())
    vision, text = "vision_model.", "text_model."
    named = {name: remaining.pop(name).reshape(1) for name in ("logit_scale", "logit_bias")}
    named[f"{text}embeddings.token_embedding.weight"] = remaining.pop("text.token_embedding.weight")
    named[f"{text}embeddings.position_embedding.weight"] = remaining.pop("text.positional_embedding")
    named |= with_kinds(remaining, "text.ln_final", f"{text}final_layer_norm")
    named |= with_kinds(remaining, "text.text_projection", f"{text}head")
    named |= layers(remaining, "text.transformer.resblocks.", f"{text}encoder.layers.", timm=False)
    part = "embeds" if naflex else "patch_embed"
    patches = remaining.pop(f"{_TRUNK}{part}.proj.weight")
    if naflex and not any_aspect:  # the pixels of a patch row by row, colours last: a convolution has colours first
        side = tower.patch_px
        patches = patches.unflatten(1, (side[0], side[1], 3)).permute(0, 3, 1, 2)
    named[f"{vision}embeddings.patch_embedding.weight"] = patches
    named[f"{vision}embeddings.patch_embedding.bias"] = remaining.pop(f"{_TRUNK}{part}.proj.bias")
    positions = remaining.pop(f"{_TRUNK}embeds.pos_embed" if naflex else f"{_TRUNK}pos_embed")
    if not any_aspect:
        positions = _at_own_side(tower)
    named[f"{vision}embeddings.position_embedding.weight"] = positions.reshape(-1, positions.shape[-1])
    named |= with_kinds(remaining, f"{_TRUNK}norm", f"{vision}post_layernorm")
    named |= layers(remaining, f"{_TRUNK}blocks.", f"{vision}encoder.layers.", timm=True)
    named |= _pooling_head(remaining, f"{_TRUNK}attn_pool.", f"{vision}head.")
    remaining.check()
    return named


@torch.no_grad()
def _at_own_side(tower: DenseClip) -> Tensor:
    """Return the positions of the grid of the model's own side, which a training at another side has changed."""
    visual = tower.clip.visual
    kind = TimmNaFlex if TimmNaFlex.handles(visual) else TimmVit
    (height, width), (patch_h, patch_w) = tower.image_hw, tower.patch_px
    return kind(visual).positions(height // patch_h, width // patch_w)


def _pooling_head(remaining: Remaining, ours: str, theirs: str) -> dict[str, Tensor]:
    """Return the pooling head: a query's projection and one of keys and values become torch's fused one."""
    named = {f"{theirs}probe": remaining.pop(f"{ours}latent")}
    for kind in ("weight", "bias"):
        fused = torch.cat([remaining.pop(f"{ours}q.{kind}"), remaining.pop(f"{ours}kv.{kind}")])
        named[f"{theirs}attention.in_proj_{kind}"] = fused
    for our_part, their_part in (
        ("proj", "attention.out_proj"), ("norm", "layernorm"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2"),
    ):  # fmt: skip
        named |= with_kinds(remaining, f"{ours}{our_part}", f"{theirs}{their_part}")
    return named
