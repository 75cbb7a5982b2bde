"""Several processes for one training, here or on several machines, started by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from umgclip.errors import InputError, PeerError
from umgclip.learning.nodes import Seat, own_address, read_seat
from umgclip.params import TrainParams, threads
from umgclip.process_end import under_torchrun

_MEET_S = 3600  # to wait for all machines; one may still be downloading its inputs


def processes(params: TrainParams) -> int:
    """Return how many processes to start here: 1 if torchrun started this one, or if one is enough.

    Raises:
        InputError: more processes are requested than there are GPUs.
    """
    if under_torchrun():
        return 1
    import torch

    gpus = torch.cuda.device_count() if params.device != "cpu" and torch.cuda.is_available() else 0
    if params.processes == "auto":
        return max(1, gpus)
    if gpus and params.processes > gpus:
        raise InputError(
            f"train.processes: expected at most {gpus}, one per GPU, got {params.processes}; lower it or use auto"
        )
    return params.processes


def seat() -> Seat | None:
    """Return this machine's seat among several; None if it is the only one, or torchrun started this process.

    Raises:
        InputError: a variable is missing or wrong.
    """
    return None if under_torchrun() else read_seat()


def start(count: int, arguments: Sequence[str], among: Seat | None = None) -> int:
    """Run `umgclip ARGUMENTS` in `count` processes; return the exit code of the first that failed, or 0.

    Signals are forwarded to all of them; if one fails, the others are stopped.

    Args:
        count: processes on this machine.
        arguments: of `umgclip`.
        among: this machine's seat among several; None: it is the only one.

    Raises:
        InputError: the first machine's address is not known here.
        KeyboardInterrupt: this process was interrupted; the others have been stopped.
        PeerError: a process died by a signal, or another machine was lost.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # each process prints its own error, which a table of tracebacks would hide
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads() // count)))
    config = LaunchConfig(
        nproc_per_node=count,
        max_restarts=0,
        monitor_interval=0.2,
        **(_alone() if among is None else _seated(among)),
    )
    try:
        elastic_launch(config, entrypoint=sys.executable)("-m", "umgclip", *arguments)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if code < 0:
            raise PeerError(f"train: a process ended by signal {-code}; run it again to continue") from error
        return code
    except SignalException as error:
        raise KeyboardInterrupt from error
    except (DistError, RendezvousError) as error:
        if among is None:
            raise
        raise PeerError(
            f"train: node {among.node} of {among.count} lost {among.endpoint}: {error}; run it again to continue"
        ) from error
    return 0


def _alone() -> dict[str, Any]:
    return {
        "min_nodes": 1,
        "max_nodes": 1,
        "run_id": str(uuid.uuid4()),
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "local_addr": "127.0.0.1",
    }


def _seated(seat: Seat) -> dict[str, Any]:
    """Return torchrun's settings of a seat; rank 0, which writes the result, is on the first machine."""
    return {
        "min_nodes": seat.count,
        "max_nodes": seat.count,
        "run_id": seat.run,
        "rdzv_backend": "static",
        "rdzv_endpoint": seat.endpoint,
        "rdzv_configs": {"rank": seat.node, "timeout": _MEET_S},
        "local_addr": own_address(seat.address, seat.port),
    }
