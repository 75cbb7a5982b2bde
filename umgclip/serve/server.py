"""The start of the server: load the model, listen on a port, answer until it is stopped."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import warnings
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from prometheus_client import disable_created_metrics

from umgclip.errors import InputError
from umgclip.register import download
from umgclip.serve.app import create_app
from umgclip.serve.connections import BACKLOG, Bounds, bounded_protocol, connection_limit
from umgclip.serve.current import Current, ModelSource
from umgclip.serve.decoding import prepare_forks
from umgclip.serve.settings import API_KEY, ModelSelection, ServeSettings, api_keys
from umgclip.serve.shares import ResourcePool
from umgclip.tracking import store_from_env

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SWITCH_S = 5e-4  # with the interpreter's 5 ms the HTTP thread would delay every step of a forward pass
_logger = logging.getLogger(__name__)


def run(settings: ServeSettings, root: Path) -> None:
    """Load the model, then answer until SIGTERM or Ctrl-C; requests that are open by then are answered first.

    Args:
        settings: the operator's settings.
        root: folder of the embedded MLflow store, used if `MLFLOW_TRACKING_URI` is unset.

    Raises:
        InputError: the port is taken, the API key is empty, or there is no such model, alias or version.
        TrackingError: the registry does not answer.
        DataError: the version's files are damaged.
    """
    keys = api_keys()
    logging.getLogger("umgclip").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="PIL")  # a line on stderr for every image with odd metadata
    disable_created_metrics()  # they are half of the lines and have no use
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()  # imported objects stay; garbage collection spent a seventh of the time on them
    # before the model is loaded, so that a port that is taken is reported at once
    listening = _listen(settings.host, settings.port)
    try:
        prepare_forks()  # it takes about as long as loading the model, and runs at the same time
        connections = ResourcePool("connections", connection_limit(settings.capacity.connections))
        current = Current(settings.selection, registry(settings.selection, root))
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
    except KeyboardInterrupt:
        _logger.info("stopped")
    finally:
        listening.close()
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


def registry(selection: ModelSelection, root: Path) -> ModelSource:
    """Return the selected model in MLflow's registry.

    Args:
        selection: the model, and its alias or version.
        root: folder of the embedded store, used if `MLFLOW_TRACKING_URI` is unset.
    """
    store = store_from_env(root)
    wanted = selection.version or selection.alias
    return ModelSource(
        resolve=partial(download.resolve, store, selection.name, wanted),
        fetch=partial(download.fetch, store, selection.name),
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"--host: expected a name or address of this machine, got {host!r}") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise InputError(f"--host, --port: cannot listen on {host} port {port}: {error.strerror}") from error
    return listening


def _log_start(settings: ServeSettings, current: Current, listening: socket.socket, keyed: bool) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    selection = settings.selection
    followed = "fixed" if selection.version else f"follows the alias {selection.alias}"
    _logger.info("%s version %s (%s) on http://%s:%d", selection.name, current.served.version, followed, shown, port)
    if not keyed and settings.host not in _LOOPBACK:
        _logger.warning("%s is unset: anyone who can reach %s can send requests", API_KEY, shown)
