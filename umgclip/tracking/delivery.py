"""From journals to MLflow: what a run has to say, and what earlier runs could not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import OutputError, TrackingError
from umgclip.tracking.journal import SUFFIX, Entry, Journal, spool_folder
from umgclip.tracking.store import Store, bounded, end_run, explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

UPLOAD_S = 120
_FOR_GOOD = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no later try will be taken
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """Counts of delivered and failed journals of earlier runs.

    Attributes:
        sent: runs that are complete in MLflow now, with how they ended.
        waiting: journals that stay, with why.
    """

    sent: tuple[tuple[str, str], ...]
    waiting: tuple[tuple[Path, str], ...]


def send(store: Store, client: MlflowClient, journal: Journal) -> None:
    """Send all that waits, oldest first.

    MLflow's databases hold a value of the same name, step and millisecond once, so a batch whose answer was lost may
    come again.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    while batch := journal.batch():
        with explained(store), bounded(UPLOAD_S if "file" in batch[0] else 10):
            _send(client, journal, batch)
        journal.done()


def _send(client: MlflowClient, journal: Journal, batch: Sequence[Entry]) -> None:
    run_id, first = journal.owner.run_id, batch[0]
    if "metrics" in first:
        from mlflow.entities import Metric

        values = [
            Metric(name, value, entry["at"], entry["step"])
            for entry in batch
            for name, value in entry["metrics"].items()
        ]
        client.log_batch(run_id, metrics=values)
    elif "tag" in first:
        client.set_tag(run_id, *first["tag"])
    elif "file" in first:
        path = journal.copy_of(first["file"])
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(run_id, str(path), first["folder"])
    elif "end" in first:
        end_run(client, run_id, first["end"], first["at"])


def deliver(store: Store, root: Path, client: MlflowClient | None = None) -> Delivery:
    """Send what earlier runs of a checkout could not, and end as KILLED those whose process died.

    An empty queue costs nothing. What cannot be sent stays for the next time. What MLflow refuses for good, such as
    entries of a deleted run, is renamed to `.refused` in the same folder.

    Args:
        store: journals of others are left.
        root: the checkout.
        client: of the store.
    """
    folder = spool_folder(root)
    sent: list[tuple[str, str]] = []
    waiting: list[tuple[Path, str]] = []
    away = ""
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        journal = Journal.adopt(path)
        if journal is None:
            continue
        why = away if journal.owner.store == store.name else f"it is for MLflow at {journal.owner.store}"
        if why:
            waiting.append((path, why))
            journal.close(remove=False)
            continue
        client = client or store.client()
        try:
            sent.append((journal.owner.run_id, _complete(store, client, journal)))
        except (TrackingError, OutputError) as error:
            journal.close(remove=False)
            waiting.append((path, str(error)))
            if getattr(error.__cause__, "error_code", None) in _FOR_GOOD:
                path.replace(path.with_suffix(".refused"))
                _logger.warning("%s: put aside, since %s", path, error)
            else:
                away = str(error)  # others would wait as long for the same
    return Delivery(tuple(sent), tuple(waiting))


def _complete(store: Store, client: MlflowClient, journal: Journal) -> str:
    """Send a journal that no process holds, and return how the run ended."""
    ended, values, run_id = journal.ended(), journal.values, journal.owner.run_id
    died_at = journal.written_at_ms()
    send(store, client, journal)
    with explained(store), bounded():
        status = str(_info(client, run_id).status)
        if not ended and status == "RUNNING":
            status = "KILLED"
            end_run(client, run_id, status, died_at)
    journal.close(remove=True)
    reason = "its process died" if not ended else "MLflow was away at its end"
    _logger.warning("run %s: %s; %d values sent now, it stands as %s", run_id, reason, values, status)
    return status


def _info(client: MlflowClient, run_id: str) -> Any:  # noqa: ANN401 - MLflow is not read by the type checker
    return client.get_run(run_id).info
