"""A pretrained CLIP: by open_clip's tag, from a checkpoint of whatever origin, or from a model's folder."""

from __future__ import annotations

import dataclasses
import difflib
import json
import pickle  # noqa: S403 - only the name of its error
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from torch import nn

from umgclip.errors import InputError
from umgclip.model.clip import files
from umgclip.model.clip.integrity import base_sha256, require_finite
from umgclip.model.clip.layout import CONFIG, WEIGHTS
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.no_code import no_remote_code
from umgclip.model.clip.pretrained import foreign, hugging_face
from umgclip.model.clip.pretrained.checkpoint_file import CheckpointFile, find_weights, read_checkpoint
from umgclip.model.clip.pretrained.hub import quick_without_hub

Auto = Literal["auto"]
Positions = Literal["auto", "antialiased", "plain", "bilinear"]
_NUMPY = (".npz", ".npy")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model in eval mode, its open_clip config, and what was decided for it (as rows for people)."""

    clip: nn.Module
    model_cfg: dict[str, Any]
    positions: files.Positions

    @property
    def quick_gelu(self) -> bool:
        """The activation of the towers: True for QuickGELU."""
        return bool(self.model_cfg.get("quick_gelu", False))


@dataclasses.dataclass(frozen=True)
class Choices:
    """Settings that a checkpoint does not always contain.

    Attributes:
        quick_gelu: `auto` takes what the model's name, the tag, the archive (OpenAI's TorchScript) or a config beside
            the file says.
        positions: how positional embeddings are resized to other grids; `auto` does it as the weights' authors do:
            plain bicubic for EVA-CLIP's and Hugging Face's (CLIPSelf, FG-CLIP), else antialiased, as open_clip.
        long_text: have the second path for long texts of weights that have one (FG-CLIP).
    """

    quick_gelu: bool | Auto = "auto"
    positions: Positions = "auto"
    long_text: bool = True


def load_pretrained(name: str, pretrained: str, choices: Choices | None = None) -> Pretrained:
    """Load a pretrained CLIP from a tag, file or folder.

    Args:
        name: as in `open_clip.list_models()`; of no effect for a folder, whose config says what it is.
        pretrained: a tag; a file (safetensors, PyTorch, OpenAI's TorchScript, the index of a sharded one; under the
            names of open_clip, EVA-CLIP or Hugging Face's `CLIPModel`); or a folder with `open_clip_config.json`, or
            with Hugging Face's `config.json`.
        choices: what to decide otherwise than the weights say of themselves.

    Raises:
        InputError: open_clip knows no such model or tag, or the weights cannot be had or used; one line that names file
            and key.
    """
    chosen = choices or Choices()
    path = Path(pretrained)
    known = named_config(name, pretrained)
    if known is None:
        return _load_folder(path, chosen)
    if not path.is_file() or path.suffix in _NUMPY:
        return _load_tag(name, pretrained, chosen)
    return _load_file(name, known, path, chosen)


def named_config(name: str, pretrained: str) -> dict[str, Any] | None:
    """Return the architecture of a tag or checkpoint before anything is fetched or read; None for a folder.

    Args:
        name: `base.model`.
        pretrained: `base.pretrained`.

    Raises:
        InputError: open_clip knows no such model or tag, and there is no such file or folder; names the key.
    """
    path = Path(pretrained)
    if pretrained and path.is_dir():
        return None
    # not what open_clip would read from a folder or the hub, `local-dir:...`: weights come by base.pretrained alone
    known = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if known is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        hint = f"such as {', '.join(near)}" if near else "such as ViT-B-32"
        raise InputError(f"base.model: expected a model of open_clip.list_models(), {hint}, got {name!r}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and not path.is_file():
        raise InputError(
            f"base.pretrained: expected scratch, a file, a folder with {CONFIG} or one of {', '.join(tags)}; "
            f"got {pretrained!r}"
        )
    return dict(known)


def _load_tag(name: str, pretrained: str, choices: Choices) -> Pretrained:
    """Load weights that open_clip can fetch (or big_vision's arrays)."""
    config = open_clip.get_model_config(name)
    _refuse_coca(config, name)
    tag = open_clip.get_pretrained_cfg(name, pretrained) or {}
    # a tag trained with QuickGELU needs it, whatever the model's name says
    if _decide(choices.quick_gelu, bool(tag.get("quick_gelu", False) or config.get("quick_gelu", False))):
        config["quick_gelu"] = True
    with quick_without_hub() as answers, no_remote_code(f"base.model: {name}"):
        try:
            clip: Any = open_clip.create_model(
                name,
                pretrained=pretrained,
                force_quick_gelu=bool(config.get("quick_gelu", False)),
                require_pretrained=True,
            )
        except (RuntimeError, OSError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            if not answers and tag.get("hf_hub"):
                reason = (
                    f"the Hugging Face hub does not answer, and its cache lacks {tag['hf_hub'].rstrip('/')}; fetch it "
                    "where there is a network, and name the file or its folder in base.pretrained"
                )
            raise InputError(f"base.pretrained: cannot load {pretrained!r} for {name}: {reason}") from error
    return _finish(clip, config, clip.visual.preprocess_cfg, _positions(choices, "open_clip"))


def _load_file(name: str, known: dict[str, Any], path: Path, choices: Choices) -> Pretrained:
    _refuse_coca(known, name)
    checkpoint = read_checkpoint(path)
    foreign.names_of(checkpoint.weights, str(path))  # says what else it is before its neighbours are read
    beside = read_open_clip_config(path.parent)
    says = _says_quick_gelu(checkpoint, path.parent, beside)
    config = {**known}
    if _decide(choices.quick_gelu, bool(known.get("quick_gelu", False)) if says is None else says):
        config["quick_gelu"] = True
    else:
        config.pop("quick_gelu", None)
    config["text_cfg"] = foreign.text_config(config["text_cfg"], checkpoint.weights, long_text=choices.long_text)
    preprocess = (beside or {}).get("preprocess_cfg") or hugging_face.preprocess_config(path.parent)
    return _fill(config, checkpoint, str(path), _usual_preprocess(name) | dict(preprocess), choices)


def _load_folder(folder: Path, choices: Choices) -> Pretrained:
    content = read_open_clip_config(folder)
    theirs = None if content else hugging_face.read_config(folder)
    if content is None and theirs is None:
        raise InputError(
            f"base.pretrained: {folder}: expected {CONFIG}, or a Hugging Face CLIP's {hugging_face.CONFIG_FILE} with "
            "vision_config, found neither"
        )
    weights = find_weights(folder)
    checkpoint = read_checkpoint(weights)
    if weights.name == WEIGHTS:
        base_sha256(folder)
    if content is not None:
        config, preprocess = dict(content["model_cfg"]), dict(content.get("preprocess_cfg") or {})
        _refuse_coca(config, str(folder))
        positions = (content.get(files.OWN) or {}).get("positions", "auto")
        choices = dataclasses.replace(choices, positions=positions) if choices.positions == "auto" else choices
    else:
        where = folder / hugging_face.CONFIG_FILE
        model = hugging_face.translated(theirs or {}, checkpoint.weights, where, long_text=choices.long_text)
        config, preprocess = model.config, model.preprocess | hugging_face.preprocess_config(folder)
        checkpoint = dataclasses.replace(checkpoint, weights=model.weights)
        if model.positions and choices.positions == "auto":
            choices = dataclasses.replace(choices, positions=model.positions)
    if _decide(choices.quick_gelu, bool(config.get("quick_gelu", False))):
        config["quick_gelu"] = True
    else:
        config.pop("quick_gelu", None)
    return _fill(config, checkpoint, str(weights), _plain_preprocess() | preprocess, choices, folder)


def _fill(  # noqa: PLR0913 - what a model is made of
    config: dict[str, Any],
    checkpoint: CheckpointFile,
    where: str,
    preprocess: Mapping[str, Any],
    choices: Choices,
    folder: Path | None = None,
) -> Pretrained:
    names = foreign.names_of(checkpoint.weights, where)
    positions = _positions(choices, names)
    clip = files.build(config)
    foreign.load(clip, checkpoint.weights, where, antialias=positions == "antialiased")
    require_finite(clip, Path(where))
    return _finish(clip, config, preprocess, positions, folder)


def _finish(
    clip: Any,  # noqa: ANN401 - open_clip's models share no base class
    config: dict[str, Any],
    preprocess: Mapping[str, Any],
    positions: files.Positions,
    folder: Path | None = None,
) -> Pretrained:
    files.describe(clip, config, {**preprocess, "size": clip.visual.image_size}, folder)
    files.set_positions(clip, positions)
    return Pretrained(clip.eval(), config, positions)


def _positions(choices: Choices, names: foreign.Names) -> files.Positions:
    if choices.positions != "auto":
        return choices.positions
    return "antialiased" if names == "open_clip" else "plain"


def _says_quick_gelu(checkpoint: CheckpointFile, folder: Path, beside: Mapping[str, Any] | None) -> bool | None:
    """Return whether the file or its neighbours ask for QuickGELU; None where they do not say."""
    if checkpoint.is_torchscript:
        return True  # the only CLIPs delivered so are OpenAI's
    if beside is not None:
        return bool(beside["model_cfg"].get("quick_gelu", False))
    config = hugging_face.read_config(folder)
    return None if config is None else hugging_face.uses_quick_gelu(config, folder / hugging_face.CONFIG_FILE)


def _decide(chosen: bool | Auto, otherwise: bool) -> bool:
    return otherwise if chosen == "auto" else chosen


def _plain_preprocess() -> dict[str, Any]:
    return dataclasses.asdict(open_clip.transform.PreprocessCfg())


def _usual_preprocess(name: str) -> dict[str, Any]:
    """Return the preprocessing of a model's published weights, where all agree, for a file without one."""
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    out = _plain_preprocess()
    for key in ("mean", "std", "interpolation", "resize_mode"):
        values = {json.dumps(config[key]): config[key] for config in known if key in config}
        if len(values) == 1 and all(key in config for config in known):
            out[key] = next(iter(values.values()))
    return out


def read_open_clip_config(folder: Path) -> dict[str, Any] | None:
    """Read a folder's `open_clip_config.json`; None where there is none.

    Raises:
        InputError: it is no JSON, or lacks `model_cfg` with both towers.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(content["model_cfg"].get(tower), dict) for tower in ("vision_cfg", "text_cfg")):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"base.pretrained: {path}: expected JSON with model_cfg: {str(error)[:200]}") from error
    raise InputError(f"base.pretrained: {path}: model_cfg: expected vision_cfg and text_cfg")


def _refuse_coca(config: Mapping[str, Any], name: str) -> None:
    if "multimodal_cfg" in config:
        raise InputError(
            f"base.model: expected open_clip's CLIP or CustomTextCLIP (ViT-B-32, ...), got {name!r}, a CoCa"
        )
