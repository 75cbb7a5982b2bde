"""The names that transformers' CLIP and SigLIP give to the layers of a transformer, in open_clip's and timm's terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# transformers' name of each layer of a block, and open_clip's or timm's
OPEN_CLIP_LAYERS = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
TIMM_LAYERS = {
    "layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
    "self_attn.out_proj": "attn.proj",
}  # fmt: skip


def blocks(weights: Mapping[str, Tensor], theirs: str, ours: str, *, timm: bool) -> dict[str, Tensor]:
    """Return all blocks of a tower under other names; query, key and value become one fused projection.

    Args:
        weights: by transformers' names.
        theirs: what stands before the number of a block, such as `text_model.encoder.layers.`.
        ours: what shall stand there.
        timm: timm's names, or open_clip's.

    Raises:
        KeyError: a weight of a block is missing.
    """
    numbers = sorted({int(name[len(theirs) :].split(".")[0]) for name in weights if name.startswith(theirs)})
    named = {}
    for number in numbers:
        old, new = f"{theirs}{number}.", f"{ours}{number}."
        for kind in ("weight", "bias"):
            fused = torch.cat([weights[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"])
            named[f"{new}attn.qkv.{kind}" if timm else f"{new}attn.in_proj_{kind}"] = fused
            for their_layer, our_layer in (TIMM_LAYERS if timm else OPEN_CLIP_LAYERS).items():
                named[f"{new}{our_layer}.{kind}"] = weights[f"{old}{their_layer}.{kind}"]
    return named


def text_tower(weights: Mapping[str, Tensor], ours: str) -> dict[str, Tensor]:
    """Return a text tower under open_clip's names, but for its last projection.

    Args:
        weights: with names that begin with `text_model.`.
        ours: what shall stand before open_clip's names.

    Raises:
        KeyError: a weight is missing.
    """
    embeddings = "text_model.embeddings."
    named = {
        f"{ours}token_embedding.weight": weights[f"{embeddings}token_embedding.weight"],
        f"{ours}positional_embedding": weights[f"{embeddings}position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        named[f"{ours}ln_final.{kind}"] = weights[f"text_model.final_layer_norm.{kind}"]
    return named | blocks(weights, "text_model.encoder.layers.", f"{ours}transformer.resblocks.", timm=False)
