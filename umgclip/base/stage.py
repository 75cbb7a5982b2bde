"""Stage `base`: train a small CLIP from scratch, or take a pretrained one; write weights, config and their hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umgclip.base import scratch
from umgclip.data.image_sources import data_sources
from umgclip.io.atomic import fresh_folder, write_json
from umgclip.io.manifest import read_manifest
from umgclip.model.clip import files
from umgclip.model.clip.layout import TRAINED_ON, text_length
from umgclip.model.clip.long_text import long_text_of
from umgclip.model.clip.pretrained.load import Choices, load_pretrained
from umgclip.model.clip.pretrained.text_positions import with_longer_texts
from umgclip.model.clip.tower import DenseClip
from umgclip.params import SCRATCH, BaseParams
from umgclip.stage import Summary, begin


@dataclass(frozen=True)
class BaseInputs:
    """The data folder; its `train` is read when the base is trained from scratch."""

    data: Path


def total_steps(params: BaseParams) -> int:
    """Return the number of steps that `run` will report, for a progress bar."""
    return params.short_steps + 3 * params.full_steps if params.pretrained == SCRATCH else 0


def run(
    params: BaseParams,
    inputs: BaseInputs,
    out: Path,
    *,
    report: Callable[[int, dict[str, float]], None] = lambda _step, _values: None,
) -> Summary:
    """Train or load the base, and write it.

    Raises:
        DataError: no training data.
        InputError: open_clip does not know the model or the tag, the model has no dense features here, its tokenizer
            cannot be had, or its texts cannot be made longer.
        OutputError: `out` cannot be written.
    """
    decided: tuple[tuple[str, str], ...] = ()
    begin("training" if params.pretrained == SCRATCH else "loading the weights")
    if params.pretrained == SCRATCH:
        read_manifest(inputs.data / "train")
        clip, model_cfg = scratch.train(params, inputs.data / "train", report)
        model = "umgclip-tiny"
    else:
        long_text = params.text_positions != "short"
        choices = Choices(quick_gelu=params.quick_gelu, positions=params.positions, long_text=long_text)
        loaded = load_pretrained(params.model, params.pretrained, choices)
        clip, model_cfg = loaded.clip, loaded.model_cfg
        DenseClip(clip)  # refuse here what later stages could not use
        model = params.model
        decided = (("QuickGELU", "yes" if loaded.quick_gelu else "no"), ("positions", loaded.positions))
    if params.text_positions == "stretched":
        before = text_length(model_cfg["text_cfg"])
        clip, model_cfg = with_longer_texts(clip, model_cfg, params.context_length)
        after = text_length(model_cfg["text_cfg"])
        decided = (*decided, ("longest text", f"{after} tokens, stretched from {before}"))
    elif path := long_text_of(clip):
        row = ("longest text", f"{path.length} tokens, by the long path from {path.short_length + 1} on")
        decided = (*decided, row)
    begin("writing the base")
    with fresh_folder(out) as folder:
        digest = files.save(folder, clip, model_cfg)
        if files.needs_tokenizer_files(model_cfg):
            files.save_tokenizer(folder, model_cfg, params.tokenizer or _tokenizer_beside(params.pretrained))
        facts: dict[str, Any] = {"weights_sha256": digest, "pretrained": _source(params.pretrained), "model": model}
        if params.pretrained == SCRATCH:
            facts[TRAINED_ON] = data_sources(inputs.data / "train").names
        write_json(folder / "base.json", facts)
    size = sum(parameter.numel() for parameter in clip.parameters())
    rows = (("model", model), ("pretrained", params.pretrained), *decided, ("parameters", f"{size:,}"))
    return Summary("base", (*rows, ("sha256", digest[:16])))


def _source(pretrained: str) -> str:
    """Return a tag as it is, and only the name of a path: the location of weights decides nothing."""
    return Path(pretrained).name if Path(pretrained).exists() else pretrained


def _tokenizer_beside(pretrained: str) -> str | None:
    """Return the folder of the weights if it holds the files of a tokenizer too."""
    folder = Path(pretrained) if Path(pretrained).is_dir() else Path(pretrained).parent
    has_files = Path(pretrained).exists() and any((folder / name).is_file() for name in files.TOKENIZER_FILES)
    return str(folder) if has_files else None
