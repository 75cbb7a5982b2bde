"""Checkpoints whose weights have other names than open_clip gives them: EVA-CLIP's own and Hugging Face's.

CLIPSelf (Wu et al., ICLR 2024) trains EVA-CLIP's code and keeps its names. FG-CLIP (Xie et al., ICML 2025) trains
transformers' `CLIPModel` with a second text head and longer positions for long captions, which are left out here: an
open_clip text tower is the short one.
"""

from __future__ import annotations

import pickle  # noqa: S403 - only the name of its error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.factory import load_state_dict
from open_clip.model import resize_pos_embed
from safetensors import SafetensorError
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from umgclip.errors import InputError

Weights = Mapping[str, Tensor]
_EVA, _HUGGING_FACE = "visual.blocks.0.norm1.weight", "vision_model.encoder.layers.0.layer_norm1.weight"
_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
_VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm": "ln_pre",  # their spelling
    "post_layernorm": "ln_post",
}
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
}


def read(path: Path) -> Weights | None:
    """The weights of a checkpoint with foreign names; None where the names are open_clip's, or it is no checkpoint."""
    try:
        weights = load_state_dict(str(path))
    except (RuntimeError, OSError, ValueError, SafetensorError, pickle.UnpicklingError, StopIteration):
        return None
    return weights if _EVA in weights or _HUGGING_FACE in weights else None


@torch.no_grad()
def load(clip: Any, weights: Weights, where: str) -> None:  # noqa: ANN401 - open_clip's models share no base class
    """Put foreign weights into an open_clip model.

    Args:
        clip: of the architecture that the weights are of.
        weights: as `read` gives them.
        where: what to call them in an error.

    Raises:
        InputError: a weight is missing, or of another shape.
    """
    named = _from_eva(weights, clip) if _EVA in weights else _from_hugging_face(weights)
    if "visual.positional_embedding" in named:
        resize_pos_embed(named, clip)
    named["logit_scale"] = named["logit_scale"].reshape(clip.logit_scale.shape)
    own = clip.state_dict()
    wanted = {name for name in own if name != "logit_bias"}
    if missing := sorted(wanted - set(named)):
        raise InputError(f"base.pretrained: {where}: expected {missing[0]} ({len(missing)} weights), found none")
    named = {name: value.to(own[name].dtype) for name, value in named.items() if name in own}
    try:
        clip.load_state_dict(named, strict=False)
    except RuntimeError as error:
        raise InputError(f"base.pretrained: {where}: {str(error).splitlines()[-1].strip()}") from error


def _from_eva(weights: Weights, clip: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """The library timm knows how EVA's image tower is named; the text tower already has open_clip's names."""
    if not isinstance(getattr(clip.visual, "trunk", None), nn.Module):
        raise InputError("base.model: expected one of open_clip's EVA models for weights with EVA-CLIP's names")
    named = {name: value for name, value in weights.items() if not name.startswith("visual.")}
    image = checkpoint_filter_fn(dict(weights), clip.visual.trunk)
    return named | {f"visual.trunk.{name}": value for name, value in image.items()}


def _from_hugging_face(weights: Weights) -> dict[str, Tensor]:
    named = {
        "visual.proj": weights["visual_projection.weight"].T.contiguous(),
        "text_projection": weights["text_projection.weight"].T.contiguous(),
        "logit_scale": weights["logit_scale"],
    }
    for prefix, tower, names in (("vision_model.", "visual.", _VISION), ("text_model.", "", _TEXT)):
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        for theirs, ours in names.items():
            named |= {f"{tower}{ours}{n.removeprefix(theirs)}": v for n, v in own.items() if _is_of(n, theirs)}
        blocks = sorted({int(name.split(".")[2]) for name in own if name.startswith("encoder.layers.")})
        for number in blocks:
            named |= _block(own, f"encoder.layers.{number}.", f"{tower}transformer.resblocks.{number}.")
    return named


def _is_of(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _block(own: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    """One block: query, key and value as open_clip's fused projection."""
    named = {}
    for kind in ("weight", "bias"):
        parts = [own[f"{theirs}self_attn.{name}_proj.{kind}"] for name in ("q", "k", "v")]
        named[f"{ours}attn.in_proj_{kind}"] = torch.cat(parts)
        named[f"{ours}attn.out_proj.{kind}"] = own[f"{theirs}self_attn.out_proj.{kind}"]
        named |= {f"{ours}{new}.{kind}": own[f"{theirs}{old}.{kind}"] for old, new in _LAYER.items()}
    return named
