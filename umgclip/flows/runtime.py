"""Provide logs, artifacts and retries, through Prefect inside a flow run and in plain Python without a server.

`python -m flows.pipeline` needs no server: if `PREFECT_API_URL` is not set, flows run as plain functions. Prefect's own
temporary server would add 10 s to 30 s to each run and survives a kill -9.
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

from umgclip.errors import InputError
from umgclip.flows.dvc.failures import Unavailable, is_temporary
from umgclip.flows.light import prefect_at_work
from umgclip.flows.settings import StageSettings
from umgclip.safe_text import without_secrets

if TYPE_CHECKING:
    from prefect import Flow

P = ParamSpec("P")
R = TypeVar("R")
Rows = Sequence[Mapping[str, Any]]
_WIDE = 10_000
_plain = logging.getLogger("umgclip.flows")


def served() -> bool:
    """Return whether the environment or a profile configures a Prefect server."""
    return _server() is not None


def _server() -> str | None:
    if not prefect_at_work():
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or None


def running() -> bool:
    """Return whether a Prefect flow run or task run is active."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def flow_run() -> tuple[str, str] | None:
    """Return the id and name of the active flow run, or None without one."""
    if "prefect" not in sys.modules:
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return str(context.flow_run.id), str(context.flow_run.name)


def log() -> Any:  # noqa: ANN401 - a logger or Prefect's adapter of one
    """Return the logger of the active run, or the plain logger without one."""
    if not running():
        return _plain
    from prefect import get_run_logger

    return get_run_logger()


def start(flow: Flow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow through the server, or as a plain function if no server is configured.

    Raises:
        InputError: the server requires a different login.
        Unavailable: the server does not answer.
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
        given = "a different one" if get_current_settings().api.auth_string else "none"
        raise InputError(
            f"PREFECT_API_AUTH_STRING: expected the login of the Prefect server, user:password, got {given}; "
            'run eval "$(make -s env)" to use the login of `make up`'
        ) from error
    except (httpx.TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "API" not in str(error):
            raise
        url = without_secrets(str(_server()))
        raise Unavailable(
            f"Prefect at {url} (PREFECT_API_URL) does not answer: {error}; unset it to run without a server"
        ) from (error)


def retried(attempt: Callable[[], R], settings: StageSettings, sleep: Callable[[float], None] = time.sleep) -> R:
    """Call `attempt`, and repeat it after temporary failures, as a Prefect task with the same settings does."""
    for left in range(settings.retries, -1, -1):
        try:
            return attempt()
        except Exception as error:  # noqa: BLE001 - raised again unless it is temporary
            if not left or not is_temporary(error):
                raise
            log().warning("%s\nretrying in %g s; retries left: %d", error, settings.retry_delay_s, left)
            sleep(settings.retry_delay_s)
    raise AssertionError("unreachable")


def table(key: str, rows: Rows, title: str) -> None:
    """Show rows with the same columns as a Prefect artifact, or on the terminal without a flow run."""
    if not rows:
        return
    if running():
        from prefect.artifacts import create_table_artifact

        _kept(lambda: create_table_artifact(table=[dict(row) for row in rows], key=key, description=title))
        return
    shown = Table(title=title, title_justify="left")
    for name in rows[0]:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console()
    if console.measure(shown, options=console.options.update(width=_WIDE)).maximum > console.width:
        shown.padding = 0  # headings that are cut say nothing
    console.print(shown)


def markdown(key: str, text: str, title: str) -> None:
    """Show a Markdown text as a Prefect artifact, or in the log without a flow run."""
    if running():
        from prefect.artifacts import create_markdown_artifact

        _kept(lambda: create_markdown_artifact(markdown=text, key=key, description=title))
    else:
        log().info("%s", text)


class ProgressBar:
    """A progress bar in Prefect's UI, from 0 to 100 percent."""

    def __init__(self, title: str) -> None:
        self._id: UUID | None = None
        self._shown = 0
        if running():
            from prefect.artifacts import create_progress_artifact

            self._id = _kept(lambda: create_progress_artifact(progress=0.0, key="umgclip-progress", description=title))

    def show(self, share: float) -> None:
        """Set the bar to a share between 0 and 1; changes below one percent are not sent."""
        percent = int(100 * min(max(share, 0.0), 1.0))
        identity = self._id
        if identity is not None and percent != self._shown:
            from prefect.artifacts import update_progress_artifact

            self._shown = percent
            _kept(lambda: update_progress_artifact(artifact_id=identity, progress=float(percent)))


def _kept(make: Callable[[], Any]) -> Any:  # noqa: ANN401 - an id
    """Create an artifact and return its id; if the server refuses, log a warning and return None."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        return make()
    except (httpx.HTTPError, PrefectException) as error:
        log().warning("could not create an artifact: %s", error)
        return None
