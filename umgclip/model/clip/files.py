"""A CLIP on disk: open_clip's own folder layout (`open_clip_config.json` + safetensors) and its hash.

`open_clip.create_model("local-dir:FOLDER")` loads such a folder. A tokenizer that open_clip does not bring along has
its files beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError
from torch import nn

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.io.json_file import read_object
from umgclip.io.weights import read_weights, write_weights
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.building import build
from umgclip.model.clip.clustered import KEY, read_clustering, set_clustering
from umgclip.model.clip.integrity import OWN, SHA256, base_sha256, require_finite
from umgclip.model.clip.layout import CONFIG, TOKENIZER_FILES, WEIGHTS, text_length
from umgclip.model.clip.preprocess import Preprocess, to_input
from umgclip.model.clip.tokenizer import Tokenizer, read_tokenizer
from umgclip.model.clip.vision.clustering import clustering_of
from umgclip.model.clip.vision.reach import FARTHEST, REACH, reach_of, set_reach
from umgclip.params import TowerParams
from umgclip.safe_text import line_of

_TOWERS = ("vision_cfg", "text_cfg")
# how positions are resized to other grids: bicubic with antialiasing (open_clip) or without (CLIPSelf, FG-CLIP), or
# bilinear with it (TIPSv2)
Positions = Literal["antialiased", "plain", "bilinear"]
POSITIONS: tuple[Positions, ...] = get_args(Positions)

__all__ = [
    "CONFIG",
    "TOKENIZER_FILES",
    "OWN",
    "POSITIONS",
    "Positions",
    "WEIGHTS",
    "Tokenizer",
    "build",
    "describe",
    "load",
    "needs_tokenizer_files",
    "positions_of",
    "save",
    "save_tokenizer",
    "set_positions",
    "to_input",
    "tower_config",
]


def tower_config(tower: TowerParams) -> dict[str, Any]:
    """Return the open_clip model config of the small tower."""
    return {
        "embed_dim": tower.embed_dim,
        "vision_cfg": {
            "image_size": tower.image_px,
            "patch_size": tower.patch_px,
            "width": tower.width,
            "layers": tower.layers,
            "head_width": tower.width // tower.heads,
        },
        "text_cfg": {
            "context_length": tower.context_length,
            "vocab_size": 49408,
            "width": tower.text_width,
            "heads": tower.text_heads,
            "layers": tower.text_layers,
        },
    }


def save(
    folder: Path,
    clip: Any,  # noqa: ANN401 - open_clip's models share no base class
    model_cfg: Mapping[str, Any],
    preprocess: Mapping[str, Any] | None = None,
) -> str:
    """Write config and weights into an existing folder.

    Args:
        folder: the folder.
        clip: the model.
        model_cfg: open_clip's config of it.
        preprocess: open_clip's config of its images; its own when None.

    Returns:
        SHA-256 of the weights.
    """
    given = preprocess or getattr(clip.visual, "preprocess_cfg", None)
    if given is None:  # made in memory, for this package, which squashes images by default
        height, width = clip.visual.image_size
        given = Preprocess(fit="squash").for_open_clip((int(height), int(width)))
    digest = write_weights(folder / WEIGHTS, clip.state_dict())
    clustering = clustering_of(clip.visual)
    settings: dict[str, Any] = {SHA256: digest}
    settings |= {} if positions_of(clip) == "antialiased" else {"positions": positions_of(clip)}
    settings |= {REACH: reach_of(clip.visual)} if reach_of(clip.visual) else {}
    settings |= {} if clustering is None else {KEY: clustering.model_dump()}
    write_json(folder / CONFIG, {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(given), OWN: settings})
    return digest


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a folder written by `save`: the model in eval mode, which knows its preprocessing and tokenizer, its config.

    The attention of open_clip's own blocks is `umgclip.model.clip.attention`'s.

    Raises:
        DataError: a file is missing or does not fit, or the weights are not those that were written, or no numbers.
    """
    if (folder / WEIGHTS).is_file():
        base_sha256(folder)
    clip, config = load_unchecked(folder)
    require_finite(clip, folder / WEIGHTS)
    return clip, config


def load_unchecked(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model without checking its hash, for callers that have checked it.

    Raises:
        DataError: a file is missing or does not fit.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected {name}, found none; `umgclip base` writes it")
    content = read_object(folder / CONFIG)
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not all(isinstance(config.get(tower), dict) for tower in _TOWERS):
        raise DataError(f"{folder / CONFIG}: model_cfg: expected {' and '.join(_TOWERS)}")
    clip = with_linear_attention(build(config))
    try:
        clip.load_state_dict(read_weights(folder / WEIGHTS))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise DataError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {str(error).splitlines()[0]}") from error
    settings = content.get(OWN)
    positions: Any = settings.get("positions", "antialiased") if isinstance(settings, dict) else "antialiased"
    if positions not in POSITIONS:
        wanted = ", ".join(POSITIONS)
        raise DataError(f"{folder / CONFIG}: positions: expected {wanted}, got {str(positions)[:80]!r}")
    try:
        describe(clip, config, content.get("preprocess_cfg"), folder)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{folder / CONFIG}: preprocess_cfg, text_cfg: {line_of(error)}") from error
    set_positions(clip, positions)
    set_reach(clip, read_reach(settings if isinstance(settings, dict) else {}, folder / CONFIG))
    set_clustering(clip, read_clustering(settings if isinstance(settings, dict) else {}, folder / CONFIG))
    return clip.eval(), config


def describe(clip: Any, model_cfg: Mapping[str, Any], preprocess: Any, folder: Path | None) -> None:  # noqa: ANN401
    """Write down on the model what its inputs have to be, as open_clip does."""
    if preprocess:
        clip.visual.preprocess_cfg = dict(preprocess)
    clip.umgclip_config = dict(model_cfg)
    clip.umgclip_tokenizer = Tokenizer(int(clip.context_length), model_cfg["text_cfg"], folder)


def set_positions(clip: Any, positions: Positions) -> None:  # noqa: ANN401
    """Write down on the model how positional embeddings are resized to grids that are not its own."""
    clip.visual.umgclip_positions = positions


def positions_of(clip: Any) -> Positions:  # noqa: ANN401
    """Return how the model's positional embeddings are resized: antialiased as in open_clip by default."""
    return getattr(clip.visual, "umgclip_positions", "antialiased")


def read_reach(settings: Mapping[str, Any], where: Path) -> int:
    """Return how far the dense tokens of a model look, as a file beside its weights says; 0 where it does not.

    Raises:
        DataError: it is no whole number of cells.
    """
    reach = settings.get(REACH, 0)
    if type(reach) is not int or not 0 <= reach <= FARTHEST:
        raise DataError(f"{where}: {REACH}: expected a whole number from 0 to {FARTHEST}, got {str(reach)[:80]!r}")
    return reach


def needs_tokenizer_files(model_cfg: Mapping[str, Any]) -> bool:
    """Return whether the model's tokenizer is one that open_clip does not ship."""
    return bool(model_cfg["text_cfg"].get("hf_tokenizer_name"))


def save_tokenizer(folder: Path, model_cfg: Mapping[str, Any], source: str | None) -> None:
    """Put the files of a model's tokenizer into its folder.

    Args:
        folder: the model's.
        model_cfg: its config.
        source: a folder that has the files; None fetches what the config names.

    Raises:
        InputError: the files cannot be had.
    """
    text = model_cfg["text_cfg"]
    wanted = source or str(text["hf_tokenizer_name"])
    read_tokenizer(wanted, text, text_length(text)).save_pretrained(str(folder))
