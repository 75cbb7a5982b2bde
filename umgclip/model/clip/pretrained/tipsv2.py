"""TIPSv2 (Google DeepMind, arXiv 2604.12012) from its Hugging Face folder, `Tipsv2Model`.

timm has its image tower, whose first class token was trained on web captions and is the global embedding; the second
(a register here) was trained on synthetic captions. Its text tower is `umgclip.model.clip.mean_pooled_text`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.clip.building import TEXT_KIND, TIMM_OPTIONS

TYPES = ("tipsv2",)
PREPROCESS = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear", "resize_mode": "squash"}
# the defaults of transformers' configs
_VISION: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_ratio": 4, "image_size": 448,
    "patch_size": 14, "num_register_tokens": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
}  # fmt: skip
_TEXT: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 64, "hidden_act": "relu", "layer_norm_eps": 1e-5,
    "pad_token_id": 0, "scale_sqrt_depth": True,
}  # fmt: skip
_FIXED: dict[str, dict[str, Any]] = {
    "vision_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-6},
    "text_config": {"hidden_act": "relu", "layer_norm_eps": 1e-5, "scale_sqrt_depth": True},
}
_TEMPERATURE = 0.005065968260169029


def model_config(config: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Return the config of a TIPSv2.

    Args:
        config: the folder's `config.json`.
        where: what to call it in an error.

    Raises:
        InputError: it is of a kind that the published models are not.
    """
    vision: dict[str, Any] = _VISION | dict(config.get("vision_config") or {})
    text: dict[str, Any] = _TEXT | dict(config.get("text_config") or {})
    for part, actual in (("vision_config", vision), ("text_config", text)):
        for name, wanted in _FIXED[part].items():
            if actual[name] != wanted:
                raise InputError(
                    f"base.pretrained: {where}: {part}.{name}: expected {wanted}, got {str(actual[name])[:80]!r}"
                )
    if vision.get("use_swiglu_ffn"):
        raise InputError(
            f"base.pretrained: {where}: expected TIPSv2 B, L or So (a plain MLP), got one with use_swiglu_ffn (g)"
        )
    width, heads = int(vision["hidden_size"]), int(vision["num_attention_heads"])
    return {
        "embed_dim": width,
        "custom_text": True,
        "vision_cfg": {
            "image_size": int(vision["image_size"]),
            "timm_model_name": "vit_base_patch14_reg1_tipsv2",
            "timm_pool": "token",
            "timm_proj": "none",
            TIMM_OPTIONS: {
                "patch_size": int(vision["patch_size"]),
                "img_size": int(vision["image_size"]),
                "embed_dim": width,
                "depth": int(vision["num_hidden_layers"]),
                "num_heads": heads,
                "mlp_ratio": float(vision["mlp_ratio"]) + 0.5 / width,  # timm rounds the product down
                "reg_tokens": int(vision["num_register_tokens"]),
            },
        },
        "text_cfg": {
            TEXT_KIND: "mean_pooled",
            "context_length": int(text["max_position_embeddings"]),
            "vocab_size": int(text["vocab_size"]),
            "hf_tokenizer_name": str(config.get("_name_or_path") or where.parent.name),
            "width": int(text["hidden_size"]),
            "heads": int(text["num_attention_heads"]),
            "layers": int(text["num_hidden_layers"]),
            "mlp_ratio": (int(text["intermediate_size"]) + 0.5) / int(text["hidden_size"]),
            "pad_id": int(text["pad_token_id"]),
        },
    }


def renamed(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a TIPSv2 under the names of open_clip and timm.

    Its files name the text tower's layers as open_clip does, and the image tower's nearly as timm does.

    Raises:
        KeyError: one is missing.
    """
    default = torch.tensor(float(config.get("temperature_init_value", _TEMPERATURE)))
    temperature = weights.get("temperature", default)
    named = {"logit_scale": torch.tensor(-math.log(float(temperature)))}
    prefix = "text_encoder."
    named |= {f"text.{name.removeprefix(prefix)}": v for name, v in weights.items() if name.startswith(prefix)}
    prefix, trunk = "vision_encoder.", "visual.trunk."
    for name, value in weights.items():
        if name.startswith(f"{prefix}blocks.") or name.startswith((f"{prefix}norm.", f"{prefix}patch_embed.")):
            ours = name.removeprefix(prefix).replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2")
            named[f"{trunk}{ours}"] = value
    positions = weights[f"{prefix}pos_embed"]
    named[f"{trunk}cls_token"] = weights[f"{prefix}cls_token"] + positions[:, :1]
    named[f"{trunk}pos_embed"] = positions[:, 1:]
    named[f"{trunk}reg_token"] = weights[f"{prefix}register_tokens"]
    return named
