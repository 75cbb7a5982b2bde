"""Download of registered versions by alias or number, without running the code that they carry."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.models import Model

from umgclip import __version__
from umgclip.inference.folder import load_folder
from umgclip.register.code import other_code
from umgclip.register.registry import find
from umgclip.tracking import Store, bounded, environment, explained

if TYPE_CHECKING:
    from umgclip.inference.answerer import Answerer

_DOWNLOAD_S = 120  # timeout of silence in a download, not of the whole download
_SHOWN = 4
_logger = logging.getLogger(__name__)


def resolve(store: Store, name: str, alias_or_version: str) -> str:
    """Return the number of the version that an alias or a number names.

    Args:
        store: where the registry is.
        name: the registered model.
        alias_or_version: an alias such as `champion`, or a number.

    Raises:
        InputError: no such model, alias or version.
        TrackingError: MLflow does not answer or refuses, or the version is not ready.
    """
    return str(find(store, name, alias_or_version).version)


def download(store: Store, name: str, version: str, into: Path) -> tuple[Path, Mapping[str, Any]]:
    """Download a version's files; return their folder and the settings that the version was registered with.

    Files on this machine are not copied: the folder is where they lie, and nobody may write into it.

    The code among them is not run. If it differs from the installed code that answers here, a warning says so.

    Args:
        store: MLflow store with the registry.
        name: the registered model.
        version: its number, or an alias.
        into: the folder to download to; created if it is missing.

    Raises:
        InputError: no such model or version.
        TrackingError: MLflow does not answer or refuses, or the version is not ready.
    """
    entry = find(store, name, version)
    with explained(store), bounded(_DOWNLOAD_S), environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}):
        # `models:/name/version` would be looked up in MLflow's global store, which may be another one
        location = store.client().get_model_version_download_uri(name, str(entry.version))
        folder = local_folder(location)
        if folder is None:
            into.mkdir(parents=True, exist_ok=True)
            folder = Path(
                mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=str(into), tracking_uri=store.uri)
            )
        flavors = Model.load(str(folder)).flavors
    if differing := other_code(folder):
        shown = ", ".join(differing[:_SHOWN]) + (f" and {len(differing) - _SHOWN} more" if differing[_SHOWN:] else "")
        _logger.warning(
            "%s v%s was registered with code that differs from the installed umgclip %s; answers may differ: %s",
            *(name, entry.version, __version__, shown),
        )
    return folder / "artifacts", flavors.get("python_function", {}).get("config") or {}


def local_folder(location: str) -> Path | None:
    """Return the folder that an artifact's address names, None if it is not on this machine.

    Args:
        location: a path or an address, as MLflow's registry has it.
    """
    parts = urlsplit(location)
    folder = Path(unquote(parts.path)) if parts.scheme == "file" else Path(location)
    here = parts.scheme in ("", "file") and parts.netloc in ("", "localhost")
    return folder if here and folder.is_dir() else None


def fetch(store: Store, name: str, version: str, into: Path, *, device: str | None = None) -> Answerer:
    """Download a version and load it.

    Args:
        store: MLflow store with the registry.
        name: the registered model.
        version: its number.
        into: the folder to download to; created if it is missing. The loaded model no longer needs it.
        device: a torch device; None uses a GPU if there is one.

    Raises:
        InputError: no such model or version.
        TrackingError: MLflow does not answer or refuses, or the version is not ready.
        DataError: its files are not those of a model of this package.
    """
    folder, settings = download(store, name, version, into)
    return load_folder(folder, settings, device=device)
