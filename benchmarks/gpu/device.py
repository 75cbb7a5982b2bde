"""The device of a measurement: its name, its clock and its memory."""

from __future__ import annotations

import platform
import re
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from umgclip import __version__


def device_of(wanted: str) -> torch.device:
    """Return `cpu`, or the first GPU for `cuda`."""
    return torch.device("cuda", 0) if wanted == "cuda" else torch.device("cpu")


def name_of(device: torch.device) -> str:
    """Return the name of a GPU, or the architecture of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}"


def about(kind: str) -> dict[str, Any]:
    """Return name and number of the device `auto`, `cpu` or `cuda`, and the versions that matter."""
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    gpus = torch.cuda.device_count() if kind == "cuda" else 0
    name = name_of(torch.device(kind))
    return {"device": name, "kind": kind, "gpus": gpus, "torch": torch.__version__, "umgclip": __version__}


def file_name(name: str, *, small: bool) -> str:
    """Return the name of the file of a device's results.

    Example:
        >>> file_name("NVIDIA H200", small=False), file_name("CPU, x86_64", small=True)
        ('nvidia-h200.json', 'cpu-x86-64-small.json')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{plain}{'-small' if small else ''}.json"


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Return the wall seconds of a call, with all that it started on the device."""
    synchronize(device)
    began = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - began


def median_seconds(action: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the median of some rounds, after two that are not counted (they compile and choose kernels)."""
    for _ in range(2):
        action()
    return statistics.median(seconds(action, device) for _ in range(rounds))


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Let the peak of the memory begin at what is used now."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_gb(device: torch.device) -> float:
    """Return the peak of what torch allocated on a GPU, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
