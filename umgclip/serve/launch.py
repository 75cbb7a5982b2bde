"""The start of `umgclip serve`: what can be refused at once, and processes that start while the model's libraries load.

This module imports none of these libraries.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import warnings
from contextlib import closing
from pathlib import Path

from umgclip.errors import InputError
from umgclip.serve.registry_process import RegistryProcess
from umgclip.serve.settings import ServeSettings, api_keys
from umgclip.tracking import store_from_env

_logger = logging.getLogger("umgclip.serve.server")


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
    store = store_from_env(root).existing()
    logging.getLogger("umgclip").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="PIL")  # a line on stderr for every image with odd metadata
    # threads of a forward pass must not spin while they wait, because HTTP needs the core; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.disable()  # until the model is loaded: almost all that is made until then stays
    try:
        with closing(_listen(settings.host, settings.port)) as listening, RegistryProcess(store) as registry:
            from umgclip.serve.decoding import prepare_forks

            prepare_forks()
            from umgclip.serve import server  # takes seconds

            server.run(settings, keys, listening, registry)
    except KeyboardInterrupt:
        _logger.info("stopped")
    finally:
        gc.enable()


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
