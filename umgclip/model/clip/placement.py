"""The device and precision that a model runs with on this machine."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from umgclip.errors import InputError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class PlacementParams(Protocol):
    """Params with a device and a precision."""

    @property
    def device(self) -> str:
        """`auto`, `cpu`, `cuda` or `cuda:N`."""
        ...

    @property
    def dtype(self) -> str:
        """The precision: `auto`, `fp32`, `bf16` or `fp16`."""
        ...


def device_of(wanted: str, where: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:N` means on this machine.

    Args:
        wanted: one of these.
        where: the section that says so, for the error.

    Raises:
        InputError: there is no such device.
    """
    there = torch.cuda.is_available()
    name = ("cuda" if there else "cpu") if wanted == "auto" else wanted
    if name.startswith("cuda") and not there:
        raise InputError(f"{where}.device: expected cpu, since this machine has no GPU that torch can use; got {name}")
    match = re.fullmatch(r"cuda:(\d+)", name)
    if match and int(match.group(1)) >= torch.cuda.device_count():
        raise InputError(f"{where}.device: expected one of {torch.cuda.device_count()} GPUs, got {name}")
    return torch.device(name)


def placement(params: PlacementParams, where: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and the precision that the params mean on this machine.

    Raises:
        InputError: there is no such device.
    """
    device = device_of(params.device, where)
    if params.dtype != "auto":
        return device, _DTYPES[params.dtype]
    if device.type == "cpu":
        return device, torch.float32
    return device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device without waiting for what the device is doing; it may be there already."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # a copy from other memory waits for all work before it
    return values.to(device, non_blocking=True)
