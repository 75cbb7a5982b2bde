"""SigLIP and SigLIP 2 as Hugging Face has them: fixed sides (`SiglipModel`) and NaFlex (`Siglip2Model`).

open_clip has the weights of fixed sides by tag. A folder of Hugging Face becomes open_clip's text tower beside timm's
NaFlex ViT, which has the same layers for any size, and resizes positions as the authors of each do. FG-CLIP 2 (Xie et
al., arXiv 2510.10921) is a SigLIP 2 NaFlex with a second text path for long texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.clip.building import TIMM_OPTIONS
from umgclip.model.clip.pretrained.hugging_face_names import blocks, text_tower

TYPES = ("siglip", "siglip2", "fgclip2")
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"}
# the defaults of transformers' configs
_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "patch_size": 16, "image_size": 224, "num_patches": 256,
}  # fmt: skip
_TEXT = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "vocab_size": 32000, "max_position_embeddings": 64,
}  # fmt: skip
_ACT, _EPS = "gelu_pytorch_tanh", 1e-6


def model_config(config: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Return the config of a SigLIP, fixed or NaFlex.

    Args:
        config: the folder's `config.json`.
        where: what to call it in an error.

    Raises:
        InputError: an activation or a norm that these models do not have.
    """
    vision = _VISION | dict(config.get("vision_config") or {})
    text = _TEXT | dict(config.get("text_config") or {})
    for part in (vision, text):
        act, eps = part.get("hidden_act", _ACT), float(part.get("layer_norm_eps", _EPS))
        if (act, eps) != (_ACT, _EPS):
            raise InputError(f"base.pretrained: {where}: expected hidden_act {_ACT} and {_EPS}, got {act}, {eps}")
    naflex = "num_patches" in (config.get("vision_config") or {}) or config.get("model_type") != "siglip"
    patch = int(vision["patch_size"])
    side = math.isqrt(int(vision["num_patches"])) if naflex else int(vision["image_size"]) // patch
    return {
        "embed_dim": int(text.get("projection_size") or text["hidden_size"]),
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": side * patch,
            "timm_model_name": "naflexvit_base_patch16_siglip",
            "timm_pool": "map",
            "timm_proj": "none",
            TIMM_OPTIONS: {
                "patch_size": patch,
                "embed_dim": int(vision["hidden_size"]),
                "depth": int(vision["num_hidden_layers"]),
                "num_heads": int(vision["num_attention_heads"]),
                # timm rounds the product down
                "mlp_ratio": (int(vision["intermediate_size"]) + 0.5) / int(vision["hidden_size"]),
                "pos_embed_grid_size": [side, side],
                "pos_embed_interp_mode": "bilinear" if naflex else "bicubic",
                "pos_embed_antialias": naflex,
            },
        },
        "text_cfg": {
            "context_length": int(text["max_position_embeddings"]),
            "vocab_size": int(text["vocab_size"]),
            "hf_tokenizer_name": str(config.get("_name_or_path") or where.parent.name),
            "tokenizer_kwargs": {"clean": "canonicalize" if config.get("model_type") == "siglip" else "lower"},
            "width": int(text["hidden_size"]),
            "heads": int(text["num_attention_heads"]),
            "layers": int(text["num_hidden_layers"]),
            "mlp_ratio": (int(text["intermediate_size"]) + 0.5) / int(text["hidden_size"]),
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": _EPS},
            "act_kwargs": {"approximate": "tanh"},
        },
    }


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a SigLIP under the names of open_clip and timm.

    Raises:
        KeyError: one is missing.
    """
    named = text_tower(weights, "text.")
    named["text.text_projection.weight"] = weights["text_model.head.weight"]
    named["text.text_projection.bias"] = weights["text_model.head.bias"]
    named |= {name: weights[name].reshape(()) for name in ("logit_scale", "logit_bias")}
    vision, trunk = "vision_model.", "visual.trunk."
    patches = weights[f"{vision}embeddings.patch_embedding.weight"]
    if patches.ndim > 2:  # a convolution; the other reads the pixels of a patch row by row, colours last
        patches = patches.permute(0, 2, 3, 1).flatten(1)
    positions = weights[f"{vision}embeddings.position_embedding.weight"]
    side = math.isqrt(len(positions))
    named[f"{trunk}embeds.proj.weight"] = patches
    named[f"{trunk}embeds.proj.bias"] = weights[f"{vision}embeddings.patch_embedding.bias"]
    named[f"{trunk}embeds.pos_embed"] = positions[: side * side].unflatten(0, (side, side))[None]
    for kind in ("weight", "bias"):
        named[f"{trunk}norm.{kind}"] = weights[f"{vision}post_layernorm.{kind}"]
    named |= blocks(weights, f"{vision}encoder.layers.", f"{trunk}blocks.", timm=True)
    return named | pooling_head(weights, f"{vision}head.", f"{trunk}attn_pool.")


def pooling_head(weights: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Return a pooling head under timm's names: torch's fused projection becomes a query's and one of keys and values.

    Raises:
        KeyError: a weight is missing.
    """
    named = {f"{ours}latent": weights[f"{theirs}probe"]}
    for kind in ("weight", "bias"):
        fused = weights[f"{theirs}attention.in_proj_{kind}"]
        width = len(fused) // 3
        named[f"{ours}q.{kind}"], named[f"{ours}kv.{kind}"] = fused[:width], fused[width:]
        named[f"{ours}proj.{kind}"] = weights[f"{theirs}attention.out_proj.{kind}"]
        named[f"{ours}norm.{kind}"] = weights[f"{theirs}layernorm.{kind}"]
        for layer in ("fc1", "fc2"):
            named[f"{ours}mlp.{layer}.{kind}"] = weights[f"{theirs}mlp.{layer}.{kind}"]
    return named
