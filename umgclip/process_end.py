"""The end of a process in which threads may still compute.

This module imports nothing that registers work for the end of the process itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def under_torchrun() -> bool:
    """Check whether torchrun started this process."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))


def threads_may_hold_tensors() -> bool:
    """Check whether threads run that do not end before the interpreter: daemons, or those of torchrun's processes."""
    return under_torchrun() or any(thread.daemon for thread in threading.enumerate())


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, without taking its interpreter apart.

    A thread that is in native code while the interpreter ends, to compute with tensors or to drop one, aborts the
    process (SIGABRT, "terminate called without an active exception"), although its work is done. gloo's threads do so
    after an `all_reduce`, and those of a queue with tensors. Files must be closed before.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has gone, or the stream is closed
            stream.flush()
    os._exit(code)
