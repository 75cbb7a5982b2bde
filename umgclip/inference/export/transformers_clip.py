"""open_clip's ViT and causal text tower as transformers' `CLIPModel`: the config and the weights by its names."""

from __future__ import annotations

from typing import Any

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
from umgclip.model.clip.text import is_causal, text_module
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.open_clip_vit import OpenClipVit

_START, _END = 49406, 49407  # of CLIP's byte pairs


def handles(tower: DenseClip) -> bool:
    """Return whether the image tower is one of open_clip's own ViTs."""
    return OpenClipVit.handles(tower.clip.visual)


def as_clip_model(tower: DenseClip) -> TransformersModel:
    """Return a model in the terms of `CLIPModel`.

    Raises:
        Unsuited: `CLIPModel` has no place for a part of it; names the part.
    """
    visual, text = tower.clip.visual, text_module(tower.clip)
    if visual.pool_type != "tok":
        raise Unsuited("it averages its patch tokens, and CLIPModel reads the class token")
    if not is_causal(text):
        raise Unsuited("its text tower is not CLIP's, which reads causally and is projected by a matrix")
    side, patch = side_of(tower)
    return TransformersModel(
        kind="clip",
        config={
            "projection_dim": tower.embed_dim,
            "vision_config": {
                **_sizes(visual.transformer, visual.ln_post),
                "projection_dim": tower.embed_dim,
                "image_size": side,
                "patch_size": patch,
            },
            "text_config": {
                **_sizes(text.transformer, text.ln_final),
                "projection_dim": tower.embed_dim,
                "vocab_size": int(text.token_embedding.weight.shape[0]),
                "max_position_embeddings": int(text.positional_embedding.shape[0]),
                "bos_token_id": _START,
                "eos_token_id": _END,
                "pad_token_id": _END,
            },
        },
        weights=_weights(tower),
    )


def _sizes(transformer: Any, last_norm: Any) -> dict[str, Any]:  # noqa: ANN401 - open_clip's modules
    block = transformer.resblocks[0]
    return {
        "hidden_size": int(transformer.width),
        "intermediate_size": int(block.mlp.c_fc.out_features),
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": int(block.attn.num_heads),
        "hidden_act": activation(block.mlp.gelu),
        "layer_norm_eps": epsilon(block.ln_1, block.ln_2, last_norm),
    }


def _weights(tower: DenseClip) -> dict[str, Tensor]:
    clip = tower.clip
    remaining = Remaining(clip.state_dict())
    text = "text." if hasattr(clip, "text") else ""
    vision = "vision_model.embeddings."
    named = {
        "logit_scale": remaining.pop("logit_scale").reshape(()),
        "visual_projection.weight": remaining.pop("visual.proj").T,
        "text_projection.weight": remaining.pop(f"{text}text_projection").T,
        f"{vision}class_embedding": remaining.pop("visual.class_embedding"),
        f"{vision}patch_embedding.weight": remaining.pop("visual.conv1.weight"),
        f"{vision}position_embedding.weight": remaining.pop("visual.positional_embedding"),
        "text_model.embeddings.token_embedding.weight": remaining.pop(f"{text}token_embedding.weight"),
        "text_model.embeddings.position_embedding.weight": remaining.pop(f"{text}positional_embedding"),
    }
    for ours, theirs in (
        ("visual.ln_pre", "vision_model.pre_layrnorm"),  # their spelling
        ("visual.ln_post", "vision_model.post_layernorm"),
        (f"{text}ln_final", "text_model.final_layer_norm"),
    ):
        named |= with_kinds(remaining, ours, theirs)
    named |= layers(remaining, "visual.transformer.resblocks.", "vision_model.encoder.layers.", timm=False)
    named |= layers(remaining, f"{text}transformer.resblocks.", "text_model.encoder.layers.", timm=False)
    remaining.check()
    return named
