"""Translation of a Hugging Face folder to open_clip's terms: CLIP, SigLIP, SigLIP 2 and TIPSv2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.clip.files import Positions
from umgclip.model.clip.layout import LONG_TEXT
from umgclip.model.clip.pretrained import foreign, siglip, tipsv2

CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
_TEXT_POSITIONS = "text_model.embeddings.position_embedding.weight"
_GELU = {"quick_gelu": True, "gelu": False}
# the defaults of transformers' CLIPVisionConfig and CLIPTextConfig
_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32,
}  # fmt: skip
_TEXT = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
    "vocab_size": 49408, "max_position_embeddings": 77,
}  # fmt: skip
# transformers' PIL filters by number
_FILTERS = {2: "bilinear", 3: "bicubic"}


def read_config(folder: Path) -> dict[str, Any] | None:
    """Read the `config.json` of a CLIP in a folder; None where there is none, or it is another model's.

    Raises:
        InputError: it is not JSON.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"base.pretrained: {path}: expected JSON: {str(error).splitlines()[0]}") from error
    return config if isinstance(config, dict) and "vision_config" in config else None


def uses_quick_gelu(config: Mapping[str, Any], where: Path) -> bool:
    """Return whether the towers were trained with QuickGELU, which is transformers' default for a CLIP.

    Raises:
        InputError: the two towers differ, or use another activation.
    """
    towers = [config.get(part) or {} for part in ("vision_config", "text_config")]
    acts = [str(tower.get("hidden_act", "quick_gelu")) for tower in towers]
    if acts[0] != acts[1] or acts[0] not in _GELU:
        raise InputError(
            f"base.pretrained: {where}: hidden_act: expected quick_gelu or gelu in both towers, got {acts}"
        )
    return _GELU[acts[0]]


@dataclass(frozen=True)
class Translated:
    """A model of Hugging Face in the terms of open_clip.

    Attributes:
        config: open_clip's config of it.
        weights: under names that `umgclip.model.clip.pretrained.foreign` knows.
        preprocess: what its images need, where no file says it.
        positions: how its authors resize positions to other grids; None: as the names of the weights say.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    preprocess: dict[str, Any]
    positions: Positions | None = None


def translated(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], where: Path, *, long_text: bool = True
) -> Translated:
    """Translate the model of a folder.

    Args:
        config: the folder's `config.json`.
        weights: its weights.
        where: the path of the config, for errors.
        long_text: have the second path for long texts, where the weights have one (FG-CLIP, FG-CLIP 2).

    Raises:
        InputError: the model is of another kind, or a weight is missing; names what can be read.
    """
    kind = str(config.get("model_type", "?"))
    try:
        if kind in tipsv2.TYPES:
            model_cfg, named = tipsv2.model_config(config, where), tipsv2.renamed(weights, config)
            return Translated(model_cfg, named, dict(tipsv2.PREPROCESS), "bilinear")
        is_siglip = kind in siglip.TYPES
        model_cfg = siglip.model_config(config, where) if is_siglip else model_config(config, weights, where)
        model_cfg["text_cfg"] = foreign.text_config(model_cfg["text_cfg"], weights, long_text=long_text)
        if not is_siglip:
            return Translated(model_cfg, dict(weights), {})
        named = siglip.renamed(weights)
        named |= foreign.long_path(weights) if LONG_TEXT in model_cfg["text_cfg"] else {}
        return Translated(model_cfg, named, dict(siglip.PREPROCESS))
    except KeyError as error:
        raise InputError(f"base.pretrained: {where.parent}: expected {error.args[0]}, found none") from error


def model_config(config: Mapping[str, Any], weights: Mapping[str, Tensor], where: Path) -> dict[str, Any]:
    """Return the open_clip config of a `CLIPModel` (OpenAI's, LAION's, FG-CLIP).

    Args:
        config: the folder's `config.json`.
        weights: its weights, which tell the length of the short text tower where there are two.
        where: what to call it in an error.

    Raises:
        InputError: it is not a CLIP, or of a kind that open_clip's CLIP is not.
    """
    kind = str(config.get("model_type", "?"))
    if kind != "clip":
        raise InputError(
            f"base.pretrained: {where}: model_type: expected clip, {', '.join((*siglip.TYPES, *tipsv2.TYPES))}, "
            f"got {kind!r}"
        )
    vision = _VISION | dict(config.get("vision_config") or {})
    text = _TEXT | dict(config.get("text_config") or {})
    for part in (vision, text):
        if float(part.get("layer_norm_eps", 1e-5)) != 1e-5:
            raise InputError(f"base.pretrained: {where}: layer_norm_eps: expected 1e-5, got {part['layer_norm_eps']}")
    length = int(weights[_TEXT_POSITIONS].shape[0]) if _TEXT_POSITIONS in weights else text["max_position_embeddings"]
    return {
        "embed_dim": int(config.get("projection_dim", 512)),
        "quick_gelu": uses_quick_gelu(config, where),
        "vision_cfg": {
            "image_size": int(vision["image_size"]),
            "patch_size": int(vision["patch_size"]),
            "width": int(vision["hidden_size"]),
            "layers": int(vision["num_hidden_layers"]),
            "head_width": int(vision["hidden_size"]) // int(vision["num_attention_heads"]),
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
        },
        "text_cfg": {
            "context_length": length,
            "vocab_size": int(text["vocab_size"]),
            "width": int(text["hidden_size"]),
            "heads": int(text["num_attention_heads"]),
            "layers": int(text["num_hidden_layers"]),
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }


def preprocess_config(folder: Path) -> dict[str, Any]:
    """Return open_clip's preprocess config from `preprocessor_config.json`; empty where there is none.

    Raises:
        InputError: it is not JSON.
    """
    path = folder / PREPROCESSOR_FILE
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"base.pretrained: {path}: expected JSON: {str(error).splitlines()[0]}") from error
    out: dict[str, Any] = {}
    if config.get("do_normalize") is False:
        out |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    for theirs, ours in (("image_mean", "mean"), ("image_std", "std")):
        if config.get(theirs) and config.get("do_normalize") is not False:
            out[ours] = [float(value) for value in config[theirs]]
    if config.get("resample") in _FILTERS:
        out["interpolation"] = _FILTERS[config["resample"]]
    return out
