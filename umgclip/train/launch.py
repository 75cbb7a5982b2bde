"""Several processes on this machine for one training, started by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Sequence

from umgclip.errors import InputError, UmgclipError
from umgclip.params import TrainParams, threads
from umgclip.train.world import under_torchrun

FAILED = 1


def processes(params: TrainParams) -> int:
    """Processes to start here: 1 where torchrun has started this one, or where one is enough.

    Raises:
        InputError: more are asked for than there are GPUs.
    """
    if under_torchrun():
        return 1
    import torch

    gpus = torch.cuda.device_count() if params.device != "cpu" and torch.cuda.is_available() else 0
    if params.processes == "auto":
        return max(1, gpus)
    if gpus and params.processes > gpus:
        raise InputError(f"train.processes: expected at most {gpus}, one a GPU, got {params.processes}")
    return params.processes


def start(count: int, arguments: Sequence[str]) -> int:
    """Run `umgclip ARGUMENTS` in `count` processes; gives the exit code of the first that failed, or 0.

    Signals reach all of them, and when one ends with an error the others are ended.

    Raises:
        KeyboardInterrupt: this process was told to end; so were the others, by then.
        UmgclipError: a process died by a signal.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # each process says itself what is wrong; a table of tracebacks would bury it
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, entrypoint=sys.executable)("-m", "umgclip", *arguments)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if code < 0:
            raise UmgclipError(f"train: a process ended by signal {-code}; run again to go on") from error
        return code
    except SignalException as error:
        raise KeyboardInterrupt from error
    return 0
