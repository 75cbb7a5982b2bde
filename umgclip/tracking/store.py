"""The tracking store that the environment names, its errors as `TrackingError`, and MLflow's own variables."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from umgclip.errors import InputError, OutputError, TrackingError
from umgclip.io.atomic import disk_trouble
from umgclip.safe_text import without_secrets
from umgclip.tracking.experiment import checkout

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_EXPERIMENT = "umgclip"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """A tracking URI, an experiment, and where a new experiment keeps files (None: the server decides)."""

    uri: str
    experiment: str
    artifacts: str | None

    @property
    def name(self) -> str:
        """The URI without passwords and keys, for people to read."""
        return without_secrets(self.uri)

    @property
    def database(self) -> Path | None:
        """The file of a SQLite store, None for a server."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) and "?" not in self.uri else None

    def existing(self) -> Store:
        """Return this store, for reading: a SQLite file that is not there is not made.

        Raises:
            InputError: there is no such file.
        """
        if self.database is not None and not self.database.exists():
            raise InputError(
                f"MLFLOW_TRACKING_URI: expected the address of a registry, or a project's folder with mlflow.db, found "
                f"no {self.database}"
            )
        return self

    def client(self) -> MlflowClient:
        """Return a client of this store; MLflow is imported here because that takes two seconds."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)


def store_from_env(root: Path) -> Store:
    """Return the store that the environment names.

    Args:
        root: folder of the embedded store, used when `MLFLOW_TRACKING_URI` is unset; the repository's root. In an
            experiment of DVC's that runs in a folder of its own it is the checkout's.

    Raises:
        InputError: `MLFLOW_TRACKING_URI` is no address.
    """
    embedded = checkout(root).resolve() / "mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"{_SQLITE}{embedded}"
    try:
        urlsplit(uri)
    except ValueError as error:
        shown = without_secrets(uri)
        raise InputError(
            f"MLFLOW_TRACKING_URI: expected a server's address or a path, got {shown} ({error})"
        ) from error
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or DEFAULT_EXPERIMENT
    database = Store(uri, experiment, artifacts=None).database
    if database is None:
        return Store(uri, experiment, artifacts=None)
    # MLflow alone would put the files of a SQLite store into ./mlruns of whoever created the experiment
    database = database.resolve()
    return Store(f"{_SQLITE}{database}", experiment, artifacts=(database.parent / "mlartifacts").as_uri())


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Turn what MLflow raises into a `TrackingError` that names the store, or an `OutputError` where a disk is full."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if (trouble := disk_trouble(error)) is not None:
            raise OutputError(f"MLflow at {store.name} cannot write: {trouble}") from error
        text = " ".join(without_secrets(str(error)).split())
        if "Max retries exceeded" in text or "Connection refused" in text or "timed out" in text.lower():
            raise TrackingError(
                f"MLflow at {store.name} (MLFLOW_TRACKING_URI) cannot be reached: {_cause(text)}; "
                f"start that server, or unset MLFLOW_TRACKING_URI to keep runs in a local SQLite file"
            ) from error
        raise TrackingError(f"MLflow at {store.name}: {text[:400]}") from error


def _cause(text: str) -> str:
    """Return the part of an error that says why a request failed: after its last "Caused by", or its end."""
    _, separator, cause = text.rpartition("(Caused by ")
    return cause.removesuffix(")")[:200] if separator else text[-160:]


def end_run(client: MlflowClient, run_id: str, status: str, at_ms: int | None = None) -> None:
    """End a run, even if stdout is closed: MLflow prints the run's address before it ends the run."""
    try:
        client.set_terminated(run_id, status, at_ms)
    except BrokenPipeError:
        with environment({"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}):
            client.set_terminated(run_id, status, at_ms)


# for each change that is in force, oldest first: what the variables were before it
_variables = threading.Lock()
_before: list[dict[str, str | None]] = []


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set (or with None unset) variables, and put back what was there; threads may overlap."""
    with _variables:
        before = {name: os.environ.get(name) for name in changes}
        _before.append(before)
        for name, value in changes.items():
            _set(name, value)
    try:
        yield
    finally:
        with _variables:
            position = next(row for row, one in enumerate(_before) if one is before)
            for name, value in before.items():
                later = next((one for one in _before[position + 1 :] if name in one), None)
                if later is None:
                    _set(name, value)
                else:  # another thread has changed it since, and will put back what was there before both
                    later[name] = value
            del _before[position]


def _set(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


@contextmanager
def bounded(timeout_s: int = 10) -> Iterator[None]:
    """Have MLflow give up on a silent server after 3 tries (else 8, of 120 s), unless the environment says more."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s)}
    with environment({name: os.environ.get(name, value) for name, value in limits.items()}):
        yield
