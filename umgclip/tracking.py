"""Runs, curves and files in MLflow: one run a stage, under the pipeline's run when there is one.

Where they go is the environment's business (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`); with nothing set, the
SQLite file `mlflow.db` and the folder `mlartifacts` in the repository, by absolute path. A server out of
reach ends the stage before its work begins; one that is lost later costs curves and a warning, never the work.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from umgclip.errors import InputError, TrackingError
from umgclip.provenance import git_state

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_RUN = "UMGCLIP_PARENT_RUN_ID"
DEFAULT_EXPERIMENT = "umgclip"
FLUSH_VALUES = 500
FLUSH_AFTER_S, RETRY_AFTER_S, _UPLOAD_S = 10.0, 60.0, 120
_BATCH_METRICS, _BATCH_PARAMS = 1000, 100  # MLflow's limits on one log_batch
_PARAM_LENGTH = 6000
_METRIC_NAME = re.compile(r"[\w./ :-]{1,250}")
_SQLITE = "sqlite:///"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """Where runs go: tracking URI, experiment, and where a new experiment keeps files (None: the server decides)."""

    uri: str
    experiment: str
    artifacts: str | None

    @property
    def name(self) -> str:
        """The URI without its password, for people to read."""
        password = urlsplit(self.uri).password
        return self.uri.replace(f":{password}@", ":***@") if password else self.uri

    @property
    def database(self) -> Path | None:
        """The file of a SQLite store, None for a server."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) and "?" not in self.uri else None

    def client(self) -> MlflowClient:
        """A client of this store; MLflow is imported here because that takes two seconds."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)


def store_from_env(root: Path) -> Store:
    """Read the environment.

    Args:
        root: folder of the embedded store, used when `MLFLOW_TRACKING_URI` is unset; the repository's root.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"{_SQLITE}{root.resolve() / 'mlflow.db'}"
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or DEFAULT_EXPERIMENT
    database = Store(uri, experiment, artifacts=None).database
    if database is None:
        return Store(uri, experiment, artifacts=None)
    # MLflow alone would put the files of a SQLite store into ./mlruns of whoever created the experiment
    database = database.resolve()
    return Store(f"{_SQLITE}{database}", experiment, artifacts=(database.parent / "mlartifacts").as_uri())


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Turn what MLflow raises into a `TrackingError` that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        text = " ".join(str(error).replace(store.uri, store.name).split())
        if "Max retries exceeded" in text or "Connection refused" in text or "timed out" in text.lower():
            raise TrackingError(
                f"MLflow at {store.name} (MLFLOW_TRACKING_URI) cannot be reached: {text[-160:]}; "
                f"start that server, or unset MLFLOW_TRACKING_URI to keep runs in a local SQLite file"
            ) from error
        raise TrackingError(f"MLflow at {store.name}: {text[:400]}") from error


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
            place = next(row for row, one in enumerate(_before) if one is before)
            for name, value in before.items():
                later = next((one for one in _before[place + 1 :] if name in one), None)
                if later is None:
                    _set(name, value)
                else:  # another thread has changed it since, and will put back what was there before both
                    later[name] = value
            del _before[place]


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


class Run:
    """An open MLflow run. Metrics are buffered and written in batches; safe to call from several threads."""

    def __init__(self, store: Store, client: MlflowClient, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._client = client
        self._lock = threading.Lock()
        self._buffer: list[Any] = []
        self._flush_at = time.monotonic() + FLUSH_AFTER_S

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Remember values of one step; written once 500 have gathered or 10 s have passed.

        Raises:
            InputError: a name that MLflow would refuse, or a value that is no number.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        fresh = [Metric(name, _number(name, value), now_ms, step) for name, value in values.items()]
        with self._lock:
            self._buffer.extend(fresh)
            due = time.monotonic() >= self._flush_at
            # after a failed attempt _flush_at lies in the future and a full buffer must not try again at every step
            full = len(self._buffer) >= FLUSH_VALUES and self._flush_at - time.monotonic() <= FLUSH_AFTER_S
            if due or full:
                self._flush()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a whole folder to the run; a store that fails costs a warning.

        Raises:
            InputError: no such path.
        """
        if not path.exists():
            raise InputError(f"{path}: expected a file or folder to log, found none")
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._try(f"log {path.name}", lambda: log(self.run_id, str(path), folder), _UPLOAD_S)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; a store that fails costs a warning."""
        for name, value in tags.items():
            self._try(f"set the tag {name}", partial(self._client.set_tag, self.run_id, name, value))

    def flush(self) -> None:
        """Write what has gathered, now."""
        with self._lock:
            self._flush()

    def close_children(self) -> None:
        """End as KILLED what still runs under this run: stages whose machine is gone, as nobody else will."""
        self._try("end the runs of lost stages", self._kill_children)

    def _kill_children(self) -> None:
        experiment = self._client.get_run(self.run_id).info.experiment_id
        wanted = f"tags.mlflow.parentRunId = '{self.run_id}' and attributes.status = 'RUNNING'"
        for child in self._client.search_runs([experiment], wanted):
            self._client.set_terminated(child.info.run_id, "KILLED")

    def close(self, status: str) -> None:
        """Write what has gathered and end the run as FINISHED, FAILED or KILLED."""
        self.flush()
        if self._buffer:
            _logger.warning("MLflow at %s: %d metric values are lost", self.store.name, len(self._buffer))
        self._try(f"end the run as {status}", lambda: self._client.set_terminated(self.run_id, status))

    def _flush(self) -> None:
        while self._buffer:
            batch = self._buffer[:_BATCH_METRICS]
            if not self._try("log metrics", partial(self._client.log_batch, self.run_id, metrics=batch)):
                self._flush_at = time.monotonic() + RETRY_AFTER_S
                return
            del self._buffer[: len(batch)]
        self._flush_at = time.monotonic() + FLUSH_AFTER_S

    def _try(self, what: str, action: Callable[[], object], timeout_s: int = 10) -> bool:
        try:
            with explained(self.store), bounded(timeout_s):
                action()
        except TrackingError as error:
            _logger.warning("could not %s: %s", what, error)
            return False
        return True


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - a float, a NumPy scalar or a tensor of one element
    if not _METRIC_NAME.fullmatch(name):
        raise InputError(f"metric {name!r}: expected letters, digits, spaces and _ - . : / only, at most 250 of them")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"metric {name}: expected a number, got {value!r}") from error


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as dotted names and text: `{"lora": {"rank": 16}}` gives `{"lora.rank": "16"}`."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{key}."))
        elif isinstance(value, str):
            flat[key] = value
        else:
            flat[key] = json.dumps(value, default=str)
    return flat


def ensure_experiment(store: Store, client: MlflowClient) -> str:
    """The experiment's id; made when there is none.

    Raises:
        TrackingError: it was deleted.
    """
    found = client.get_experiment_by_name(store.experiment)
    if found is None:
        from mlflow.exceptions import MlflowException

        try:
            return str(client.create_experiment(store.experiment, artifact_location=store.artifacts))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(store.experiment)  # another process was faster
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow at {store.name}: experiment {store.experiment!r} is deleted; restore it or set another "
            f"MLFLOW_EXPERIMENT_NAME"
        )
    return str(found.experiment_id)


def _parent_experiment(store: Store, client: MlflowClient, parent: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(parent).info.experiment_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise TrackingError(f"{PARENT_RUN}: expected a run of MLflow at {store.name}, got {parent!r}") from error
        raise


def _open(store: Store, stage: str, params: Mapping[str, Any], root: Path, own_tags: Mapping[str, str]) -> Run:
    from mlflow.entities import Param

    tags = {"mlflow.source.name": f"umgclip {stage}", "mlflow.source.type": "JOB", "umgclip.stage": stage, **own_tags}
    git = git_state(root)
    if git.commit:
        tags["mlflow.source.git.commit"] = git.commit
        tags["umgclip.git_dirty"] = str(git.dirty).lower()
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc.exp_name"] = os.environ["DVC_EXP_NAME"]
    with explained(store), bounded():
        client = store.client()
        parent = os.environ.get(PARENT_RUN, "").strip()
        if parent:
            tags["mlflow.parentRunId"] = parent
            experiment = _parent_experiment(store, client, parent)
        else:
            experiment = ensure_experiment(store, client)
        run = Run(store, client, client.create_run(experiment, tags=tags, run_name=stage).info.run_id)
        entries = [Param(name, value[:_PARAM_LENGTH]) for name, value in flatten(params).items()]
        for start in range(0, len(entries), _BATCH_PARAMS):
            client.log_batch(run.run_id, params=entries[start : start + _BATCH_PARAMS])
    return run


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], *, root: Path | None = None, tags: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Open a run for a stage, under the run named by `UMGCLIP_PARENT_RUN_ID` when that is set.

    The run ends as FINISHED, as KILLED on Ctrl-C and other interruptions, as FAILED on any exception.
    `MLFLOW_RUN_ID`, by which MLflow would write into the parent itself, is hidden while the run is open.

    Args:
        stage: name of the run.
        params: logged under dotted names.
        root: the repository; the working directory when None. Its commit is tagged, and the embedded store lies there.
        tags: more tags of the run.

    Raises:
        TrackingError: the store does not answer within about half a minute, or refuses.
    """
    root = Path.cwd() if root is None else root
    store = store_from_env(root)
    with environment({"MLFLOW_RUN_ID": None}):
        run = _open(store, stage, params, root, tags or {})
        try:
            yield run
        except BaseException as error:
            # what is no Exception interrupts from outside, as Ctrl-C and a scheduler's signals do
            with _undisturbed():
                run.close("FAILED" if isinstance(error, Exception | SystemExit) else "KILLED")
            raise
        run.close("FINISHED")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals to stop often come twice, from a scheduler and from a shell; the second must not cut the end short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def finished_run(store: Store, tags: Mapping[str, str]) -> str | None:
    """The newest run of the store's experiment that ended well and has all these tags; None: there is none.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    wanted = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    with explained(store), bounded():
        client = store.client()
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            return None
        found = client.search_runs(
            [experiment.experiment_id], " and ".join(["attributes.status = 'FINISHED'", *wanted]), max_results=1
        )
    return str(found[0].info.run_id) if found else None
