"""A model by what a user calls it: a version of the registry, or a folder."""

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

_VERSION = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")


@dataclass(frozen=True)
class OpenedModel:
    """A model and where it came from.

    Attributes:
        clip: the open_clip model, its adapter merged in where that can be.
        base: folder with the base's config and tokenizer files; only there while the source is open.
        adapter: the adapter's folder, if there is one.
        name: of the base's architecture.
        usage: how images and labels reach it: as in training, as it was registered or exported, or as open_clip's
            config says.
    """

    clip: nn.Module
    base: Path
    adapter: Path | None
    name: str
    usage: Usage


@dataclass(frozen=True)
class _Settings:
    """What a version was registered with."""

    template: str
    box_share: float


@contextmanager
def open_model(source: str | Path, adapter: Path | None = None, root: Path | None = None) -> Iterator[OpenedModel]:
    """Load a model.

    Args:
        source: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a folder: of a base, of an exported open_clip model,
            of a registered version's files, or one that holds the stages' `base` and `train`.
        adapter: a folder with an adapter for a base; its parent `train` will do too.
        root: where the embedded registry lies; the working directory when None.

    Raises:
        InputError: no such model, alias, version or folder; names what would do.
        TrackingError: MLflow does not answer or refuses.
        DataError: files are missing or do not belong together.
    """
    if str(source).startswith("models:/"):
        with tempfile.TemporaryDirectory() as name:
            folder, settings = _downloaded(str(source), root or Path.cwd(), Path(name))
            with _opened(folder, folder / ADAPTER, settings) as loaded:
                yield loaded
        return
    folder = Path(source)
    if adapter is None and (folder / "base" / files.CONFIG).is_file():
        found = folder / "train" / ADAPTER
        folder, adapter = folder / "base", found if found.is_dir() else None
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
    """What an export says of itself; else how an adapter was trained, or what open_clip's config says of a base."""
    if (said := read_usage(folder)) is not None:
        return said
    own = Preprocess.of(getattr(clip.visual, "preprocess_cfg", None))
    return Usage(replace(own, fit=trained_resize(folder.parent)) if trained else own)
