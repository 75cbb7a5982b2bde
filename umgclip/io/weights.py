"""Weights in safetensors files: written whole and for everybody whom the umask lets, read or refused by name.

safetensors itself writes files that only their owner may read, and calls a file that it may not read a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from umgclip.io.atomic import atomic_file, must_be_readable, sha256_file


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write tensors by name, from any device, and return the file's SHA-256.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)
    return sha256_file(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the processor.

    Raises:
        DataError: there is no such file, or this user may not read it.
        SafetensorError: it is no whole safetensors file.
    """
    must_be_readable(path)
    weights: dict[str, Tensor] = load_file(path)
    return weights
