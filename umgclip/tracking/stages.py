"""One run a stage, under the pipeline's run when there is one."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import TrackingError
from umgclip.provenance import git_state
from umgclip.tracking.delivery import deliver
from umgclip.tracking.experiment import experiment
from umgclip.tracking.journal import Journal, Owner, spool_folder
from umgclip.tracking.run import Run
from umgclip.tracking.store import Store, bounded, environment, explained, store_from_env

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_RUN = "UMGCLIP_PARENT_RUN_ID"
_BATCH_PARAMS = 100  # MLflow's limit on one log_batch
_PARAM_LENGTH = 6000


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
    """Return the experiment's id; create the experiment if there is none.

    Raises:
        TrackingError: it was deleted.
    """
    experiment = client.get_experiment_by_name(store.experiment)
    if experiment is None:
        from mlflow.exceptions import MlflowException

        try:
            return str(client.create_experiment(store.experiment, artifact_location=store.artifacts))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(store.experiment)  # another process was faster
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow at {store.name}: experiment {store.experiment!r} is deleted; restore it or set another "
            f"MLFLOW_EXPERIMENT_NAME"
        )
    return str(experiment.experiment_id)


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
    if (trial := experiment()) is not None:
        tags["dvc.exp_name"] = trial
    with explained(store), bounded():
        client = store.client()
        deliver(store, root, client)
        parent = os.environ.get(PARENT_RUN, "").strip()
        if parent:
            tags["mlflow.parentRunId"] = parent
            experiment_id = _parent_experiment(store, client, parent)
        else:
            experiment_id = ensure_experiment(store, client)
        run_id = str(client.create_run(experiment_id, tags=tags, run_name=stage).info.run_id)
        journal = Journal.create(spool_folder(root), Owner(store.name, run_id))
        try:
            entries = [Param(name, value[:_PARAM_LENGTH]) for name, value in flatten(params).items()]
            for start in range(0, len(entries), _BATCH_PARAMS):
                client.log_batch(run_id, params=entries[start : start + _BATCH_PARAMS])
        except BaseException:
            journal.close(remove=False)  # the next run ends it
            raise
    return Run(store, client, journal, root)


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], *, root: Path | None = None, tags: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Open a run for a stage, under the run named by `UMGCLIP_PARENT_RUN_ID` when that is set.

    Before that, what earlier runs of this checkout could not tell MLflow is sent. The run ends as FINISHED, as KILLED
    on Ctrl-C and other interruptions, as FAILED on any exception.
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
            with _undisturbed():
                run.close("KILLED" if _interrupted(error) else "FAILED")
            raise
        run.close("FINISHED")


def _interrupted(error: BaseException | None) -> bool:
    """Return whether an error began with Ctrl-C or a scheduler's signal, whatever failed while it was handled."""
    while error is not None:
        if not isinstance(error, Exception | SystemExit):
            return True
        error = error.__context__
    return False


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
    """Return the newest finished run of the store's experiment with all these tags; None if there is none.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    wanted = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    with explained(store), bounded():
        client = store.client()
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            return None
        runs = client.search_runs(
            [experiment.experiment_id], " and ".join(["attributes.status = 'FINISHED'", *wanted]), max_results=1
        )
    return str(runs[0].info.run_id) if runs else None
