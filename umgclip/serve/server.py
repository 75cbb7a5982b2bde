"""The server: load the model, then answer until it is stopped."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from prometheus_client import disable_created_metrics

from umgclip.inference.answerer import Answerer
from umgclip.inference.folder import load_folder
from umgclip.serve.app import create_app
from umgclip.serve.connections import BACKLOG, Bounds, bounded_protocol, connection_limit
from umgclip.serve.current import Current, ModelSource
from umgclip.serve.registry_process import RegistryProcess
from umgclip.serve.settings import API_KEY, ModelSelection, ServeSettings
from umgclip.serve.shares import ResourcePool

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SWITCH_S = 5e-4  # with the interpreter's 5 ms the HTTP thread would delay every step of a forward pass
_logger = logging.getLogger(__name__)


def run(settings: ServeSettings, keys: tuple[str, ...], listening: socket.socket, registry: RegistryProcess) -> None:
    """Load the model, then answer until SIGTERM or Ctrl-C; requests that are open by then are answered first.

    Args:
        settings: the operator's settings.
        keys: API keys; without keys requests need none.
        listening: the socket to accept connections from.
        registry: the registry with the selected model.

    Raises:
        InputError: there is no such model, alias or version, or there are too few file handles.
        TrackingError: the registry does not answer.
        DataError: the version's files are damaged.
    """
    disable_created_metrics()  # they are half of the lines and have no use
    sys.setswitchinterval(_SWITCH_S)
    connections = ResourcePool("connections", connection_limit(settings.capacity.connections))
    current = Current(settings.selection, model_source(settings.selection, registry))
    gc.freeze()  # libraries and model stay; garbage collection spent a seventh of the time on them
    gc.enable()
    try:
        _log_start(settings, current, listening, bool(keys))
        bounds = Bounds(connections, settings.timeouts.head_s, settings.timeouts.send_s)
        config = uvicorn.Config(
            create_app(settings, current, keys),
            http=bounded_protocol(bounds),
            backlog=BACKLOG,
            access_log=False,
            log_config=None,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=round(settings.timeouts.shutdown_s),
        )
        _ignore_repeated_stops()
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        gc.unfreeze()  # otherwise the interpreter would list the frozen objects as leaks when it ends


def _ignore_repeated_stops() -> None:
    """Ignore SIGTERM after the first request to stop, because a second one would interrupt the shutdown."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, stop)


def model_source(selection: ModelSelection, registry: RegistryProcess) -> ModelSource:
    """Return the selected model in MLflow's registry.

    Args:
        selection: the model, and its alias or version.
        registry: the process that asks the registry.
    """

    def fetch(version: str, into: Path) -> Answerer:
        return load_folder(*registry.download(selection.name, version, into))

    return ModelSource(partial(registry.resolve, selection.name, selection.version or selection.alias), fetch)


def _log_start(settings: ServeSettings, current: Current, listening: socket.socket, keyed: bool) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    selection = settings.selection
    followed = "fixed" if selection.version else f"follows the alias {selection.alias}"
    _logger.info("%s version %s (%s) on http://%s:%d", selection.name, current.served.version, followed, shown, port)
    if not keyed and settings.host not in _LOOPBACK:
        _logger.warning("%s is unset: anyone who can reach %s can send requests", API_KEY, shown)
