"""One generic task for every stage. DVC is the cache and owner of results, so Prefect keeps none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flows import engine
from flows.dvc.failures import may_pass
from flows.dvc.repro import Outcome
from flows.settings import StageSettings

Work = Callable[[], Outcome]
_PER_CENT = re.compile(r"\((\d{1,3}) %\)")


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's objects
    """Whether Prefect may run a failed task again: never after a closed gate or bad params."""
    return may_pass(state.result(raise_on_failure=False))


def perform(stage: str, work: Work, settings: StageSettings) -> Outcome:
    """Run a stage as a task of its name, with its retries; without a flow run in plain Python."""
    if not engine.running():
        return engine.retried(work, settings)
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(
        name=stage, task_run_name=stage, retries=settings.retries, retry_delay_seconds=settings.retry_delay_s,
        cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=worth_retrying,
    )  # fmt: skip
    def run_stage() -> Outcome:
        return work()

    return run_stage()


def follow(stage: str, place: int, count: int, progress: engine.ProgressBar) -> Callable[[str], None]:
    """What takes the lines of a stage: into the run's log one by one, and their percentage into the bar.

    Args:
        stage: its name.
        place: stages before it.
        count: stages of the run.
        progress: the run's bar.
    """

    def on_line(line: str) -> None:
        engine.log().info("%s: %s", stage, line)
        found = _PER_CENT.search(line)
        if found:
            progress.show((place + int(found[1]) / 100) / count)

    return on_line
