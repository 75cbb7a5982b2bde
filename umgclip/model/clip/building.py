"""A CLIP with random weights from its config: open_clip's own, and towers whose numbers open_clip's config cannot say.

Three keys are ours; plain open_clip refuses a config that has them.

* `vision_cfg.timm_options`: sizes of a timm ViT beside its name, because a folder of Hugging Face names no timm model.
* `text_cfg.text_kind`: a text tower that open_clip has not (`umgclip.model.clip.mean_pooled_text`).
* `text_cfg.long_text`: the `context_length` of a second path for long texts (`umgclip.model.clip.long_text`).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import timm
from torch import nn

from umgclip.errors import InputError
from umgclip.model.clip.layout import LONG_TEXT
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.long_text import LongText
from umgclip.model.clip.mean_pooled_text import MeanPooledText
from umgclip.model.clip.no_code import no_remote_code
from umgclip.safe_text import line_of

TIMM_OPTIONS, TEXT_KIND = "timm_options", "text_kind"
TEXT_KINDS = {"mean_pooled": MeanPooledText}
# anything else could make timm read files (`checkpoint_path`)
_ALLOWED = {
    "patch_size": int,
    "embed_dim": int,
    "depth": int,
    "num_heads": int,
    "mlp_ratio": float,
    "img_size": int,
    "reg_tokens": int,
    "act_layer": str,
    "pos_embed_grid_size": list,
    "pos_embed_interp_mode": str,
    "pos_embed_antialias": bool,
}
_STAND_IN = {"image_size": 8, "patch_size": 8, "width": 8, "head_width": 8, "layers": 1}
# what open_clip raises for sizes and names that it does not check
_BUILDING = (
    TypeError, ValueError, RuntimeError, AssertionError, ArithmeticError, LookupError, AttributeError, MemoryError,
)  # fmt: skip


def build(model_cfg: Mapping[str, Any]) -> nn.Module:
    """Build an open_clip model with random weights; nothing is downloaded.

    Raises:
        InputError: the config asks for a class without a text tower of its own (CoCa), or for files of the hub that
            cannot be had.
    """
    config = copy.deepcopy(dict(model_cfg))
    by_transformers = "hf_model_name" in config["text_cfg"]
    custom = config.pop("custom_text", False) or by_transformers
    if "multimodal_cfg" in config:
        raise InputError("base.model: expected open_clip's CLIP or CustomTextCLIP (ViT-B-32, ...), got a CoCa")
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if by_transformers:
        config["text_cfg"]["hf_model_pretrained"] = False
    path = config["text_cfg"].pop(LONG_TEXT, None)
    try:
        # what takes a second to import: transformers, which alone could bring code along
        with no_remote_code("base.model: its text tower") if by_transformers else nullcontext():
            if TIMM_OPTIONS in config["vision_cfg"] or TEXT_KIND in config["text_cfg"]:
                clip = _with_other_towers(config)
            else:
                clip = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
            return clip if path is None else _with_long_text(clip, config, int(path["context_length"]))
    except OSError as error:
        raise InputError(f"base.model: cannot build its text tower: {line_of(error)}") from error
    except _BUILDING as error:
        raise InputError(f"base.model: open_clip cannot build it: {line_of(error)}") from error


def is_plain(model_cfg: Mapping[str, Any]) -> bool:
    """Return whether plain open_clip can build a model of this config."""
    text_cfg = model_cfg["text_cfg"]
    return TIMM_OPTIONS not in model_cfg["vision_cfg"] and TEXT_KIND not in text_cfg and LONG_TEXT not in text_cfg


class SizedTimm(open_clip.timm_model.TimmModel):
    """open_clip's image tower around a timm ViT, with the ViT's sizes given; it projects nothing."""

    def __init__(self, vision_cfg: Mapping[str, Any]) -> None:
        """Build from `vision_cfg` with its `timm_options`.

        Raises:
            InputError: an option that is not allowed.
        """
        nn.Module.__init__(self)
        options = _options(vision_cfg[TIMM_OPTIONS])
        size = vision_cfg["image_size"]
        self.image_size = tuple(size) if isinstance(size, list | tuple) else (size, size)
        self.trunk = timm.create_model(
            str(vision_cfg["timm_model_name"]),
            num_classes=0,
            global_pool=vision_cfg["timm_pool"],
            pretrained=False,
            **options,
        )
        self.head = nn.Sequential(OrderedDict())


def _with_other_towers(config: dict[str, Any]) -> nn.Module:
    vision, text = config["vision_cfg"], config["text_cfg"]
    kind = text.pop(TEXT_KIND, None)
    if kind is not None and kind not in TEXT_KINDS:
        raise InputError(f"base.model: {TEXT_KIND}: expected {', '.join(TEXT_KINDS)}, got {str(kind)[:80]!r}")
    stand_ins = {}
    if TIMM_OPTIONS in vision:
        stand_ins["vision_cfg"] = _STAND_IN
    if kind is not None:
        stand_ins["text_cfg"] = {**text, "vocab_size": 2, "layers": 1}
    clip: Any = open_clip.CustomTextCLIP(**(config | stand_ins))
    if TIMM_OPTIONS in vision:
        clip.visual = SizedTimm(vision)
    if kind is not None:
        clip.text = TEXT_KINDS[kind](text, int(config["embed_dim"]))
        clip.vocab_size = clip.text.vocab_size
    return clip


def _with_long_text(clip: Any, config: Mapping[str, Any], length: int) -> nn.Module:  # noqa: ANN401
    text = config["text_cfg"]
    clip.long_text = LongText(
        width=int(text.get("width", 512)),
        embed_dim=int(config["embed_dim"]),
        length=length,
        short_length=int(clip.context_length),
        bias=bool(text.get("proj_bias", False)),
    )
    clip.context_length = length
    return clip


def _options(given: Any) -> dict[str, Any]:  # noqa: ANN401 - from a file
    if not isinstance(given, Mapping):
        raise InputError(f"base.model: {TIMM_OPTIONS}: expected names and values, got {str(given)[:80]!r}")
    for name, value in given.items():
        wanted = _ALLOWED.get(name)
        if wanted is None:
            raise InputError(f"base.model: {TIMM_OPTIONS}: expected {', '.join(_ALLOWED)}, got {str(name)[:80]!r}")
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise InputError(f"base.model: {TIMM_OPTIONS}.{name}: expected {wanted.__name__}, got {str(value)[:80]!r}")
    return dict(given)
