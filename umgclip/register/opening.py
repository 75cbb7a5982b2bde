"""Opens a model by the name that a user gives it: a version of the registry, or a folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from umgclip.errors import InputError
from umgclip.inference.base_files import restore_base, trained_resize
from umgclip.io.json_file import read_report
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_CONFIG, BASE_REPORT
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.usage import Usage, read_usage
from umgclip.params.section import TEMPLATE

_REGISTRY = "models:/"
_VERSION = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")


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
    """

    clip: nn.Module
    base: Path
    adapter: Path | None
    name: str
    usage: Usage


@dataclass(frozen=True)
class _Settings:
    """The settings that a version was registered with."""

    template: str
    box_share: float


@contextmanager
def open_model(source: str | Path, adapter: Path | None = None, root: Path | None = None) -> Iterator[OpenedModel]:
    """Load a model from the registry or from a folder.

    Args:
        source: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a folder: of a base, of an exported open_clip model,
            of a registered version's files, or one that holds the stages' `base` and `train`.
        adapter: a folder with an adapter for a base, or the folder `train` that contains it.
        root: folder of the embedded registry; None for the working directory.

    Raises:
        InputError: no such model, alias, version or folder; the message lists the accepted forms.
        TrackingError: MLflow does not answer or refuses.
        DataError: files are missing or do not belong together.
    """
    if str(source).startswith(_REGISTRY):
        with (
            downloaded_version(str(source), root) as (folder, settings),
            _opened(folder, folder / ADAPTER, settings) as loaded,
        ):
            yield loaded
        return
    folder = Path(source)
    if adapter is None and (folder / "base" / files.CONFIG).is_file():
        trained = folder / "train" / ADAPTER
        folder, adapter = folder / "base", trained if trained.is_dir() else None
    elif adapter is None and (folder / ADAPTER / ADAPTER_CONFIG).is_file():
        adapter = folder / ADAPTER
    elif adapter is not None and (adapter / ADAPTER / ADAPTER_CONFIG).is_file():
        adapter = adapter / ADAPTER
    if not (folder / files.CONFIG).is_file():
        raise InputError(
            f"model: expected models:/NAME@ALIAS, models:/NAME/VERSION or a folder with {files.CONFIG}, got {source}"
        )
    with _opened(folder, adapter, None) as loaded:
        yield loaded


@contextmanager
def downloaded_version(uri: str, root: Path | None = None) -> Iterator[tuple[Path, _Settings]]:
    """Yield a folder with the files of a registered version, and its settings; the folder is removed afterwards.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        root: folder of the embedded registry; None for the working directory.

    Raises:
        InputError: no such model, alias or version, or the address has another form.
        TrackingError: MLflow does not answer or refuses.
    """
    with tempfile.TemporaryDirectory() as name:
        yield _downloaded(uri, root or Path.cwd(), Path(name))


def _downloaded(uri: str, root: Path, into: Path) -> tuple[Path, _Settings]:
    parsed = _VERSION.fullmatch(uri)
    if parsed is None:
        raise InputError(f"model: expected models:/NAME@ALIAS or models:/NAME/VERSION, got {uri}")
    from umgclip.inference.folder import read_box_share
    from umgclip.register.download import download
    from umgclip.tracking import store_from_env

    folder, settings = download(store_from_env(root), parsed["name"], parsed["version"], into)
    return folder, _Settings(str(settings.get("template", TEMPLATE)), read_box_share(settings))


@contextmanager
def _opened(folder: Path, adapter: Path | None, settings: _Settings | None) -> Iterator[OpenedModel]:
    report = read_report(folder / BASE_REPORT) if (folder / BASE_REPORT).is_file() else {}
    with restore_base(folder) as base:
        clip = files.load(base)[0] if adapter is None else load_tuned(base, adapter)
        usage = _usage(folder if adapter is None else adapter, clip, trained=adapter is not None)
        if settings is not None:
            usage = replace(usage, template=settings.template, box_share=settings.box_share)
        yield OpenedModel(clip, base, adapter, str(report.get("model", "umgclip-export")), usage)


def _usage(folder: Path, clip: Any, *, trained: bool) -> Usage:  # noqa: ANN401 - open_clip's models share no base class
    """Read the usage that an export recorded; else take it from an adapter's training or from open_clip's config."""
    if (recorded := read_usage(folder)) is not None:
        return recorded
    preprocess = Preprocess.of(getattr(clip.visual, "preprocess_cfg", None))
    return Usage(replace(preprocess, fit=trained_resize(folder.parent)) if trained else preprocess)
