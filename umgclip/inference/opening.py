"""Opens a model in a folder: of the pipeline's stages, a base, an export, or the files of a registered version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from umgclip.errors import InputError
from umgclip.inference.base_files import restore_base, trained_resize
from umgclip.inference.hub.origin import ModelOrigin, read_origin
from umgclip.io.json_file import read_report
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_CONFIG, BASE_REPORT
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.usage import Usage, read_usage

FORMS = f"models:/NAME@ALIAS, models:/NAME/VERSION, hf-hub:USER/NAME or a folder with {files.CONFIG}"


@dataclass(frozen=True)
class OpenedModel:
    """A loaded model with its source files and its usage.

    Attributes:
        clip: the open_clip model, with the adapter merged in if possible.
        base: folder with the base's config and tokenizer files; it exists only while the source is open.
        adapter: the adapter's folder, if there is one.
        name: name of the base's architecture.
        usage: how images and labels are prepared: as in training, as registered or exported, or as in open_clip's
            config.
        origin: what made it, as the files beside it say.
    """

    clip: nn.Module
    base: Path
    adapter: Path | None
    name: str
    usage: Usage
    origin: ModelOrigin = field(default_factory=ModelOrigin)


@contextmanager
def open_folder(folder: Path, adapter: Path | None = None, *, name: str | None = None) -> Iterator[OpenedModel]:
    """Load a model from a folder.

    Args:
        folder: of a base, of an exported open_clip model, of a registered version's files, or one that holds the
            stages' `base` and `train`.
        adapter: a folder with an adapter for a base, or the folder `train` that contains it.
        name: what to call the folder in an error; None: its path.

    Raises:
        InputError: it is no such folder; the message lists the accepted forms.
        DataError: files are missing or do not belong together.
    """
    given = folder
    if adapter is None and (folder / "base" / files.CONFIG).is_file():
        trained = folder / "train" / ADAPTER
        folder, adapter = folder / "base", trained if trained.is_dir() else None
    elif adapter is None and (folder / ADAPTER / ADAPTER_CONFIG).is_file():
        adapter = folder / ADAPTER
    elif adapter is not None and (adapter / ADAPTER / ADAPTER_CONFIG).is_file():
        adapter = adapter / ADAPTER
    if not (folder / files.CONFIG).is_file():
        raise InputError(f"model: expected {FORMS}, got {name or given}")
    with open_parts(folder, adapter) as opened:
        yield opened


@contextmanager
def open_parts(folder: Path, adapter: Path | None) -> Iterator[OpenedModel]:
    """Load a base from the folder that holds its config, and an adapter from its own.

    Raises:
        DataError: files are missing or do not belong together.
    """
    report = read_report(folder / BASE_REPORT) if (folder / BASE_REPORT).is_file() else {}
    with restore_base(folder) as base:
        clip = files.load(base)[0] if adapter is None else load_tuned(base, adapter)
        usage = _usage(folder if adapter is None else adapter, clip, trained=adapter is not None)
        origin = read_origin(folder, adapter)
        yield OpenedModel(clip, base, adapter, str(report.get("model", "umgclip-export")), usage, origin)


def _usage(folder: Path, clip: Any, *, trained: bool) -> Usage:  # noqa: ANN401 - open_clip's models share no base class
    """Read the usage that an export recorded; else take it from an adapter's training or from open_clip's config."""
    if (recorded := read_usage(folder)) is not None:
        return recorded
    preprocess = Preprocess.of(getattr(clip.visual, "preprocess_cfg", None))
    return Usage(replace(preprocess, fit=trained_resize(folder.parent)) if trained else preprocess)
