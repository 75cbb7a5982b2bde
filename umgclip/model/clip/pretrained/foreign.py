"""Weights under other names than open_clip's: EVA-CLIP's own, Hugging Face's `CLIPModel`; and what is no whole CLIP.

CLIPSelf (Wu et al., ICLR 2024) trains EVA-CLIP's code and keeps its names. FG-CLIP (Xie et al., ICML 2025) trains
transformers' `CLIPModel` with a second text head and longer positions for long captions, which become the long path of
the text tower (`umgclip.model.clip.long_text`). Long-CLIP (Zhang et al., ECCV 2024) keeps open_clip's names and has its
longer positions in two parts, of which the second counts from the 21st on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.layout import LONG_TEXT
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.safe_text import line_of

Weights = Mapping[str, Tensor]
Names = Literal["open_clip", "eva_clip", "hugging_face"]
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


# weights of a second, finer head (FG-CLIP), and what older versions of libraries saved beside the weights
_POSITIONS = ("positional_embedding", "pos_embed")
_TEXT_POSITIONS = (
    "positional_embedding",
    "text.positional_embedding",
    "text_model.embeddings.position_embedding.weight",
)
_LONG = "text_model.embeddings.position_embedding_res.weight"
_LONG_HEADS = ("text_filip_projection", "longtext_head")  # FG-CLIP, FG-CLIP 2
_SECOND = "positional_embedding_res"  # Long-CLIP
_UNCHANGED = 20
_ASK = "is base.model the architecture of these weights?"
_IGNORED = ("position_ids", "input_resolution", "context_length", "vocab_size")


def names_of(weights: Weights, where: str) -> Names:
    """Return which naming scheme the weights of a whole CLIP follow.

    Args:
        weights: as `umgclip.model.clip.pretrained.checkpoint_file` reads them.
        where: what to call them in an error.

    Raises:
        InputError: they are no whole CLIP of a kind that gives dense features; says what they are.
    """
    kind = _kind(weights)
    if kind in ("open_clip", "eva_clip", "hugging_face"):
        return kind  # type: ignore[return-value]
    raise InputError(f"base.pretrained: {where}: expected the weights of a whole CLIP, got {kind}")


def _kind(weights: Weights) -> str:
    """Return one of `Names`, or a description of what the weights are instead."""
    if any(".lora_A." in name or ".lora_B." in name for name in weights):
        return "a LoRA adapter; merge it into its base first"
    if any(name.startswith(("visual.layer1.", "layer1.")) for name in weights):
        return "a ResNet, which has no dense features here; take a ViT, SigLIP, EVA-02 or ConvNeXt"
    image, text = _towers(weights)
    if image and not text:
        return f"an image tower alone ({next(iter(weights))}, ... and no text tower)"
    if text and not image:
        return f"a text tower alone ({next(iter(weights))}, ... and no image tower)"
    if _HUGGING_FACE in weights:
        if "visual_projection.weight" in weights:
            return "hugging_face"
        return "Hugging Face's SigLIP; give the folder with its config.json, or open_clip's tag (webli)"
    if "vision_encoder.pos_embed" in weights:
        return "TIPSv2; give the folder with its config.json"
    if _EVA in weights:
        return "eva_clip"
    if image:
        return "open_clip"
    return f"other weights ({', '.join(list(weights)[:3])}, ...)"


def _towers(weights: Weights) -> tuple[bool, bool]:
    """Return whether there is an image tower, and a text tower, under any known names."""
    alone = ("class_embedding", "conv1.weight", "cls_token", "patch_embed.proj.weight", "embeddings.class_embedding")
    image = any(name.startswith(("visual.", "vision_model.")) for name in weights) or any(n in weights for n in alone)
    texts = ("token_embedding.weight", "text.", "text_model.")
    return image, any(name.startswith(texts) for name in weights)


def text_config(text_cfg: Mapping[str, Any], weights: Weights, *, long_text: bool = True) -> dict[str, Any]:
    """Return a text config with the lengths that the weights were trained with.

    open_clip would squeeze positions that were stretched for long texts into the length of the named model.

    Args:
        text_cfg: open_clip's config of the text tower.
        weights: as for `load`.
        long_text: have the second path for long texts, where the weights have one.
    """
    config = dict(text_cfg)
    rows = next((len(weights[name]) for name in _TEXT_POSITIONS if name in weights and weights[name].ndim), 0)
    if rows and "hf_model_name" not in text_cfg and not text_cfg.get("embed_cls"):
        config["context_length"] = rows
    if long_text and _LONG in weights and any(f"{head}.weight" in weights for head in _LONG_HEADS):
        config[LONG_TEXT] = {"context_length": len(weights[_LONG])}
    return config


def long_path(weights: Weights) -> dict[str, Tensor]:
    """Return the weights of the long path of an FG-CLIP, under the names of `LongText`.

    Its positions are in two tables of one length: the first 20 of one, and the others of the other.

    Raises:
        KeyError: a table is missing.
    """
    head = next(head for head in _LONG_HEADS if f"{head}.weight" in weights)
    positions = torch.cat([weights[_LONG.replace("_res", "_ori")][:_UNCHANGED], weights[_LONG][_UNCHANGED:]])
    named = {f"{LONG_TEXT}.positions": positions}
    for kind in ("weight", "bias"):
        if f"{head}.{kind}" in weights:
            named[f"{LONG_TEXT}.projection.{kind}"] = weights[f"{head}.{kind}"]
    return named


@torch.no_grad()
def load(clip: Any, weights: Weights, where: str, *, antialias: bool = True) -> None:  # noqa: ANN401 - no base class
    """Put the weights of a whole CLIP, under anybody's names, into an open_clip model.

    Args:
        clip: of the architecture that the weights are of; its positions may be of another grid.
        weights: as `umgclip.model.clip.pretrained.checkpoint_file` reads them.
        where: what to call them in an error.
        antialias: how positions of another grid are resized, as open_clip does (True) or CLIPSelf and FG-CLIP (False).

    Raises:
        InputError: they are no whole CLIP, or of another architecture; names a weight that is missing, superfluous or
            of another shape.
    """
    names = names_of(weights, where)
    if names == "eva_clip":
        named = _from_eva(weights, clip, antialias)
    else:
        named = _from_hugging_face(weights, where) if names == "hugging_face" else dict(weights)
    if names == "hugging_face" and hasattr(clip, LONG_TEXT):
        named |= long_path(weights)
    if _SECOND in named:
        named["positional_embedding"] = torch.cat(
            [named["positional_embedding"][:_UNCHANGED], named.pop(_SECOND)[_UNCHANGED:]]
        )
    if "positional_embedding" in named and not hasattr(clip, "positional_embedding"):
        named = open_clip.model.convert_to_custom_text_state_dict(named)
    expected = clip.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in named and name in expected:
            named[name] = named[name].reshape(expected[name].shape)
    for name in expected:  # open_clip resizes lengths, and ends at other widths without a name
        if name.endswith(_POSITIONS) and name in named and named[name].shape[-1:] != expected[name].shape[-1:]:
            raise _other_shape(name, named[name], expected[name], where)
    try:
        open_clip.model.resize_pos_embed(named, clip, antialias=antialias)
        open_clip.model.resize_text_pos_embed(named, clip)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:  # a grid of no cells, or of no square
        raise InputError(
            f"base.pretrained: {where}: its positions cannot be resized to the model's grid: {line_of(error)}; {_ASK}"
        ) from error
    _check(named, expected, where, strict=names == "open_clip")
    clip.load_state_dict(
        {name: value.to(expected[name].dtype) for name, value in named.items() if name in expected}, strict=False
    )


def _other_shape(name: str, actual: Tensor, wanted: Tensor, where: str) -> InputError:
    shapes = f"expected {tuple(wanted.shape)}, got {tuple(actual.shape)}"
    return InputError(f"base.pretrained: {where}: {name}: {shapes}; {_ASK}")


def _check(named: Weights, expected: Weights, where: str, *, strict: bool) -> None:
    """Check that every weight exists with the right shape; with open_clip's names, also that there is no other."""
    if missing := sorted(name for name in expected if name != "logit_bias" and name not in named):
        lack = f"expected {missing[0]} ({len(missing)} weights), found none"
        raise InputError(f"base.pretrained: {where}: {lack}; {_ASK}")
    for name, value in expected.items():
        if name not in named:
            continue
        if named[name].shape != value.shape:
            raise _other_shape(name, named[name], value, where)
        if value.is_floating_point() and not named[name].is_floating_point():
            raise InputError(
                f"base.pretrained: {where}: {name}: expected float32, float16 or bfloat16, got {named[name].dtype}; "
                "quantised weights cannot be tuned"
            )
    if "logit_bias" in expected and "logit_bias" not in named:
        raise InputError(f"base.pretrained: {where}: expected logit_bias of a SigLIP, found none; {_ASK}")
    extra = sorted(name for name in named if name not in expected and not name.endswith(_IGNORED))
    if strict and extra:
        raise InputError(f"base.pretrained: {where}: {extra[0]} ({len(extra)} weights) has no place; {_ASK}")


def _from_eva(weights: Weights, clip: Any, antialias: bool) -> dict[str, Tensor]:  # noqa: ANN401
    """Convert EVA-CLIP's weights: timm maps the names of its image tower; its text tower has open_clip's names."""
    if not isinstance(getattr(clip.visual, "trunk", None), nn.Module):
        raise InputError("base.model: expected one of open_clip's EVA models for weights with EVA-CLIP's names")
    named = {name: value for name, value in weights.items() if not name.startswith("visual.")}
    image = checkpoint_filter_fn(dict(weights), clip.visual.trunk, antialias=antialias)
    return named | {f"visual.trunk.{name}": value for name, value in image.items()}


def _from_hugging_face(weights: Weights, where: str) -> dict[str, Tensor]:
    try:
        return _renamed(weights)
    except KeyError as error:
        raise InputError(f"base.pretrained: {where}: expected {error.args[0]}, found none") from error


def _renamed(weights: Weights) -> dict[str, Tensor]:
    named = {
        "visual.proj": weights["visual_projection.weight"].T.contiguous(),
        "text_projection": weights["text_projection.weight"].T.contiguous(),
        "logit_scale": weights["logit_scale"],
    }
    for prefix, tower, names in (("vision_model.", "visual.", _VISION), ("text_model.", "", _TEXT)):
        expected = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        for theirs, ours in names.items():
            named |= {f"{tower}{ours}{n.removeprefix(theirs)}": v for n, v in expected.items() if _is_of(n, theirs)}
        blocks = sorted({int(name.split(".")[2]) for name in expected if name.startswith("encoder.layers.")})
        for number in blocks:
            named |= _block(expected, f"encoder.layers.{number}.", f"{tower}transformer.resblocks.{number}.")
    return named


def _is_of(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _block(tower_weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    """Convert one block: query, key and value become open_clip's fused projection."""
    named = {}
    for kind in ("weight", "bias"):
        parts = [tower_weights[f"{theirs}self_attn.{name}_proj.{kind}"] for name in ("q", "k", "v")]
        named[f"{ours}attn.in_proj_{kind}"] = torch.cat(parts)
        named[f"{ours}attn.out_proj.{kind}"] = tower_weights[f"{theirs}self_attn.out_proj.{kind}"]
        named |= {f"{ours}{new}.{kind}": tower_weights[f"{theirs}{old}.{kind}"] for old, new in _LAYER.items()}
    return named
