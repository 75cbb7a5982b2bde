"""Logs, artifacts and repetition: through Prefect inside a flow run, in plain Python without a server.

`python -m flows.pipeline` needs no server: where `PREFECT_API_URL` is not set the functions run as they are. Prefect's
own temporary server would cost 10 s to 30 s a run and is left behind by a kill -9.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from rich.console import Console
from rich.table import Table

from flows.dvc.failures import Unavailable, may_pass
from flows.light import prefect_at_work
from flows.settings import StageSettings
from umgclip.errors import InputError
from umgclip.safe_text import without_secrets

if TYPE_CHECKING:
    from prefect import Flow

P = ParamSpec("P")
R = TypeVar("R")
Rows = Sequence[Mapping[str, Any]]
_plain = logging.getLogger("umgclip.flows")


def served() -> bool:
    """Whether a Prefect server is configured, by the environment or a profile."""
    return _server() is not None


def _server() -> str | None:
    if not prefect_at_work():
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or None


def running() -> bool:
    """Whether a flow run of Prefect is going on."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def flow_run() -> tuple[str, str] | None:
    """Id and name of the flow run that is going on."""
    if "prefect" not in sys.modules:
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return str(context.flow_run.id), str(context.flow_run.name)


def log() -> Any:  # noqa: ANN401 - a logger or Prefect's adapter of one
    """Where to say what is going on."""
    if not running():
        return _plain
    from prefect import get_run_logger

    return get_run_logger()


def start(flow: Flow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow through the server, or as a plain function where none is configured.

    Raises:
        InputError: the server asks for another login.
        Unavailable: it does not answer.
    """
    if not served():
        logging.basicConfig(format="%(message)s")
        _plain.setLevel(os.environ.get("PREFECT_LOGGING_LEVEL", "INFO"))
        return flow.fn(*args, **kwargs)
    import httpx
    from prefect.settings import get_current_settings

    try:
        return flow(*args, **kwargs)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        given = "another one" if get_current_settings().api.auth_string else "none"
        raise InputError(
            f"PREFECT_API_AUTH_STRING: expected the login of the Prefect server, user:password, got {given}; "
            'eval "$(make -s env)" gives that of `make up`'
        ) from error
    except (httpx.TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "API" not in str(error):
            raise
        url = without_secrets(str(_server()))
        raise Unavailable(
            f"Prefect at {url} (PREFECT_API_URL) does not answer: {error}; unset it to run without"
        ) from (error)


def retried(attempt: Callable[[], R], settings: StageSettings, sleep: Callable[[float], None] = time.sleep) -> R:
    """What a task of Prefect does with the same settings: try again after failures that may pass."""
    for left in range(settings.retries, -1, -1):
        try:
            return attempt()
        except Exception as error:  # noqa: BLE001 - raised again unless it may pass
            if not left or not may_pass(error):
                raise
            log().warning("%s\ntrying again in %g s; %d tries left", error, settings.retry_delay_s, left)
            sleep(settings.retry_delay_s)
    raise AssertionError("unreachable")


def table(key: str, rows: Rows, title: str) -> None:
    """Show rows of equal columns: as an artifact, or on the terminal."""
    if not rows:
        return
    if running():
        from prefect.artifacts import create_table_artifact

        _kept(lambda: create_table_artifact(table=[dict(row) for row in rows], key=key, description=title))
        return
    shown = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(shown)


def markdown(key: str, text: str, title: str) -> None:
    """Show a text: as an artifact, or in the log."""
    if running():
        from prefect.artifacts import create_markdown_artifact

        _kept(lambda: create_markdown_artifact(markdown=text, key=key, description=title))
    else:
        log().info("%s", text)


class ProgressBar:
    """A bar in Prefect's UI, from 0 to 100."""

    def __init__(self, title: str) -> None:
        self._id: UUID | None = None
        self._shown = 0
        if running():
            from prefect.artifacts import create_progress_artifact

            self._id = _kept(lambda: create_progress_artifact(progress=0.0, key="umgclip-progress", description=title))

    def show(self, share: float) -> None:
        """Move to a share of 1; steps of less than one per cent are not sent."""
        percent = int(100 * min(max(share, 0.0), 1.0))
        identity = self._id
        if identity is not None and percent != self._shown:
            from prefect.artifacts import update_progress_artifact

            self._shown = percent
            _kept(lambda: update_progress_artifact(artifact_id=identity, progress=float(percent)))


def _kept(make: Callable[[], Any]) -> Any:  # noqa: ANN401 - an id
    """Make an artifact; a server that refuses costs a warning, not the run."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        return make()
    except (httpx.HTTPError, PrefectException) as error:
        log().warning("could not make an artifact: %s", error)
        return None
