"""The processes of one training and their communication; without torchrun a process is a world of one.

Small objects (labels, counts, names) are exchanged over gloo between CPUs, features of GPUs over NCCL.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from umgclip.errors import InputError, PeerError, UmgclipError
from umgclip.learning.nodes import own_address, use_interface
from umgclip.process_end import under_torchrun

_T = TypeVar("_T")
_TIMEOUT = timedelta(minutes=30)  # a process may wait for another's shard
_TERMINATED = 128 + 15
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "connectFullMesh", "Timed out")


@dataclass(frozen=True)
class BatchShare:
    """A process's share of every global batch: part number `index` of `parts`, in file order."""

    index: int = 0
    parts: int = 1


@dataclass(frozen=True)
class World:
    """One process among `size` that train together."""

    rank: int = 0
    size: int = 1
    on_this_machine: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """True on the one process that writes files and logs."""
        return self.rank == 0

    @property
    def share(self) -> BatchShare:
        """This process's share of each global batch."""
        return BatchShare(self.rank, self.size)

    def tell(self, value: _T) -> list[_T]:
        """Exchange a value; return every process's, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=_between_processors())
        return values

    def from_first(self, value: _T) -> _T:
        """Return the first process's value on all processes."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, group=_between_processors())
        given: _T = values[0]
        return given

    def add(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Sum values over all processes, without a graph."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    def gather(self, rows: Float[Tensor, "n d"], counts: Sequence[int]) -> Float[Tensor, "total d"]:
        """Gather the rows of all processes in order of rank, float32; each row gets its gradient from all of them.

        Args:
            rows: this process's, as many as its entry of `counts`.
            counts: rows of every process; they may differ, and nothing is padded in what comes back.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows.float(), tuple(counts), self.rank)
        return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:  # noqa: ANN401 - torch's own
        ctx.counts, ctx.rank = counts, rank
        longest = max(counts)
        sent = rows.new_zeros((longest, rows.shape[1]))
        sent[: len(rows)] = rows
        received = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(received, sent)
        return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        first = sum(ctx.counts[: ctx.rank])
        return total[first : first + ctx.counts[ctx.rank]], None, None


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """Return the device that `train.device` names; with several GPUs, this process's.

    Raises:
        InputError: a GPU is requested and there is none, or fewer than processes.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= gpus:
        raise InputError(
            f"train.device: expected a GPU for each process, got {gpus} GPUs and process {local_rank}; "
            "lower train.processes or use cpu"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; yield a world of one if it did not.

    Raises:
        InputError: not a GPU for each process, or the first node's address is not known here.
        PeerError: another process ended before the work was done.
    """
    if not under_torchrun():
        yield World(device=choose_device(device))
        return
    _end_with_parent()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if here < int(os.environ["WORLD_SIZE"]):
        use_interface(own_address(os.environ["MASTER_ADDR"], int(os.environ.get("MASTER_PORT", "1"))))
    chosen = choose_device(device, int(os.environ["LOCAL_RANK"]))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    world = World(dist.get_rank(), dist.get_world_size(), here, chosen)
    try:
        yield world
    except UmgclipError as error:
        if _already_reported(str(error)):
            raise SystemExit(error.exit_code) from error
        raise
    except KeyboardInterrupt as error:
        raise SystemExit(_TERMINATED) from error  # the launcher reports it once
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(sign in str(error) for sign in _LOST):
            raise PeerError(
                f"process {world.rank} of {world.size} lost the others: one of them ended; see its message, then run "
                "again to go on"
            ) from error
        raise
    finally:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """Let the kernel end this process together with its parent, even if the parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _already_reported(message: str) -> bool:
    """Check whether another process has already failed with the same message."""
    try:
        store = dist.distributed_c10d._get_default_store()
        return int(store.add(f"umgclip/failed/{hashlib.sha256(message.encode()).hexdigest()}", 1)) > 1
    except RuntimeError:  # the store went with the process that held it
        return False


def _between_processors() -> Any:  # noqa: ANN401 - a group or None, which torch's stubs do not agree on
    """Return the process group for objects: gloo, even if tensors on GPUs use NCCL."""
    global _processors  # noqa: PLW0603 - a group is made once by all processes together
    if dist.get_backend() == "gloo":
        return None
    if _processors is None:
        _processors = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    return _processors


_processors: Any = None
