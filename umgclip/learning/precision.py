"""The number format that a step is computed in, by params and device."""

from __future__ import annotations

from pathlib import Path

import torch

from umgclip.errors import InputError


def autocast_dtype(precision: str, device: torch.device | None = None) -> torch.dtype | None:
    """Return bf16 or fp16 as params say; auto is bf16 if the device multiplies it natively, fp16 on any other GPU.

    Returns:
        None for plain float32.

    Raises:
        InputError: bf16 on a GPU that has none.
    """
    on_gpu = device is not None and device.type == "cuda"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else processor_has_bf16()
    if precision == "bf16" and on_gpu and not native:
        raise InputError(f"train.precision: expected fp16 or fp32, {torch.cuda.get_device_name(device)} has no bf16")
    if precision == "bf16" or (precision == "auto" and native):
        return torch.bfloat16
    if precision == "fp16" or (precision == "auto" and on_gpu):
        return torch.float16
    return None


def processor_has_bf16() -> bool:
    """Check whether this processor multiplies bfloat16 matrices natively (avx512_bf16 or amx_bf16)."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
