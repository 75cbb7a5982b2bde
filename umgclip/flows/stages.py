"""Run any stage as a Prefect task; Prefect caches nothing, because DVC caches and owns the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from umgclip.flows import runtime
from umgclip.flows.dvc.failures import is_temporary
from umgclip.flows.dvc.repro import Outcome
from umgclip.flows.settings import StageSettings

Work = Callable[[], Outcome]
_PER_CENT = re.compile(r"\((\d{1,3}) %\)")


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's objects
    """Return whether Prefect may retry a failed task: never after a closed gate or bad params."""
    return is_temporary(state.result(raise_on_failure=False))


def perform(stage: str, work: Work, settings: StageSettings) -> Outcome:
    """Run a stage with its retries, as a Prefect task of its name or, without a flow run, in plain Python."""
    if not runtime.running():
        return runtime.retried(work, settings)
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(
        name=stage, task_run_name=stage, retries=settings.retries, retry_delay_seconds=settings.retry_delay_s,
        cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=worth_retrying,
    )  # fmt: skip
    def run_stage() -> Outcome:
        return work()

    return run_stage()


def follow(stage: str, index: int, count: int, progress: runtime.ProgressBar) -> Callable[[str], None]:
    """Return a callback that logs each line of a stage and shows its percentage in the progress bar.

    Args:
        stage: name of the stage.
        index: number of stages before it.
        count: number of stages in the run.
        progress: the run's progress bar.
    """

    def on_line(line: str) -> None:
        runtime.log().info("%s: %s", stage, line)
        match = _PER_CENT.search(line)
        if match:
            progress.show((index + int(match[1]) / 100) / count)

    return on_line
