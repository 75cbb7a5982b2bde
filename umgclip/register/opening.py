"""Opens a model by the name that a user gives it: a version of the registry, a repository of the hub, or a folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip import extras
from umgclip.errors import InputError
from umgclip.inference.hub.fetch import fetched
from umgclip.inference.hub.names import is_hub_name
from umgclip.inference.hub.origin import ModelOrigin
from umgclip.inference.opening import OpenedModel, open_folder, open_parts
from umgclip.model.clip.layout import ADAPTER
from umgclip.params.section import TEMPLATE

if TYPE_CHECKING:
    from umgclip.register.gates import Evidence
else:  # of the registry, which a model in a folder does not need
    Evidence = Any

__all__ = ["OpenedModel", "downloaded_version", "open_model"]

_REGISTRY = "models:/"
_VERSION = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")


@dataclass(frozen=True)
class _Settings:
    """The settings that a version was registered with, and the results that its gates were judged by."""

    template: str
    box_share: float
    evidence: Evidence | None = None


@contextmanager
def open_model(source: str | Path, adapter: Path | None = None, root: Path | None = None) -> Iterator[OpenedModel]:
    """Load a model from the registry, from the Hugging Face hub or from a folder.

    Args:
        source: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `hf-hub:USER/NAME[@REVISION]`, or a folder as for
            `umgclip.inference.opening.open_folder`.
        adapter: a folder with an adapter for a base, or the folder `train` that contains it.
        root: folder of the embedded registry; None for the working directory.

    Raises:
        InputError: no such model, alias, version, repository or folder; the message lists the accepted forms.
        TrackingError: MLflow does not answer or refuses.
        StorageError: the hub does not answer or refuses.
        DataError: files are missing or do not belong together.
    """
    if str(source).startswith(_REGISTRY):
        with downloaded_version(str(source), root) as (folder, settings):
            path = folder / ADAPTER
            with open_parts(folder, path) as loaded:
                usage = replace(loaded.usage, template=settings.template, box_share=settings.box_share)
                yield replace(loaded, usage=usage, origin=_with_evidence(loaded.origin, settings.evidence))
        return
    if isinstance(source, str) and is_hub_name(source):
        with open_folder(fetched(source), adapter, name=source) as loaded:
            yield loaded
        return
    with open_folder(Path(source), adapter) as loaded:
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

    with extras.explained(uri):
        from umgclip.register.download import download
        from umgclip.register.registry import evidence_of, find
        from umgclip.tracking import store_from_env

        store = store_from_env(root).existing()
        version = find(store, parsed["name"], parsed["version"])
        folder, settings = download(store, parsed["name"], str(version.version), into)
    return folder, _Settings(str(settings.get("template", TEMPLATE)), read_box_share(settings), evidence_of(version))


def _with_evidence(origin: ModelOrigin, evidence: Evidence | None) -> ModelOrigin:
    if evidence is None:
        return origin
    protocols = dict(evidence.protocols)
    return replace(origin, tuned=dict(evidence.tuned), untuned=dict(evidence.base), protocols=protocols)
