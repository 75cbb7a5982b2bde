"""From settings to a running server."""

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
from umgclip.serve.connections import BACKLOG, Bounds, affordable, bounded
from umgclip.serve.current import Current, Store
from umgclip.serve.decoding import prepare_forks
from umgclip.serve.settings import API_KEY, ServeSettings, Source, api_keys
from umgclip.serve.shares import Pool
from umgclip.tracking import store_from_env

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SWITCH_S = 5e-4  # the interpreter's 5 ms would let the thread of HTTP hold up every step of a forward
_logger = logging.getLogger(__name__)


def run(settings: ServeSettings, root: Path) -> None:
    """Load the model, then answer until SIGTERM or Ctrl-C; requests that are open by then are answered first.

    Args:
        settings: what the operator asked for.
        root: folder of the embedded MLflow store, used when `MLFLOW_TRACKING_URI` is unset.

    Raises:
        InputError: the port is taken, the key is none, or there is no such model, alias or version.
        TrackingError: the registry does not answer.
        DataError: the version's files are damaged.
    """
    keys = api_keys()
    logging.getLogger("umgclip").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="PIL")  # a line on stderr for every image with odd metadata
    disable_created_metrics()  # half of the lines, and nobody reads them
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()  # what is imported stays; looking through it again and again took a seventh of the time
    # first: a port that is taken should not cost the time of loading a model
    listening = _listen(settings.host, settings.port)
    try:
        prepare_forks()  # which takes about as long as loading the model does
        connections = Pool("connections", affordable(settings.capacity.connections))
        current = Current(settings.source, registry(settings.source, root))
        _introduce(settings, current, listening, bool(keys))
        bounds = Bounds(connections, settings.timeouts.head_s, settings.timeouts.send_s)
        config = uvicorn.Config(
            create_app(settings, current, keys),
            http=bounded(bounds),
            backlog=BACKLOG,
            access_log=False,
            log_config=None,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=round(settings.timeouts.shutdown_s),
        )
        _heed_one_stop()
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        _logger.info("stopped")
    finally:
        listening.close()
        gc.unfreeze()  # or the interpreter finds at its end that what was frozen is still there, and lists it


def _heed_one_stop() -> None:
    """Ignore SIGTERM once a stop was asked for: another would cut off the closing of what the first one stopped."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, stop)


def registry(source: Source, root: Path) -> Store:
    """The model's versions in MLflow.

    Args:
        source: which model, and which of its versions.
        root: folder of the embedded store, used when `MLFLOW_TRACKING_URI` is unset.
    """
    store = store_from_env(root)
    wanted = source.version or source.alias
    return Store(
        resolve=partial(download.resolve, store, source.name, wanted),
        fetch=partial(download.fetch, store, source.name),
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


def _introduce(settings: ServeSettings, current: Current, listening: socket.socket, keyed: bool) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    source = settings.source
    followed = "fixed" if source.version else f"follows the alias {source.alias}"
    _logger.info("%s version %s (%s) on http://%s:%d", source.name, current.served.version, followed, shown, port)
    if not keyed and settings.host not in _LOOPBACK:
        _logger.warning("%s is unset: whoever reaches %s may ask", API_KEY, shown)
