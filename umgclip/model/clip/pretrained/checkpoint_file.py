"""Weights from the files that people have: safetensors (whole or sharded), PyTorch's formats, OpenAI's TorchScript."""

from __future__ import annotations

import json
import pickle  # noqa: S403 - only the name of its error
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from umgclip.errors import InputError
from umgclip.io.weights import read_weights
from umgclip.model.clip.pretrained.torchscript_file import read_torchscript

INDEX_SUFFIX = ".index.json"
# in the order in which open_clip prefers them in a folder
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pth",
    "model.pth",
)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "clip")
_PREFIXES = ("module.", "model.", "_orig_mod.", "clip.", "clip_model.", "net.")
# torch.load has no error of its own for bytes that are no checkpoint
TORCH_ERRORS = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    MemoryError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_SCRIPT_ONLY = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class CheckpointFile:
    """Weights by name, without wrappings, and whether they came as OpenAI's TorchScript archive."""

    weights: dict[str, Tensor]
    is_torchscript: bool = False


def find_weights(folder: Path) -> Path:
    """Return the file of weights in a model's folder.

    Raises:
        InputError: none of the usual names is there.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"base.pretrained: {folder}: expected weights such as {WEIGHT_FILES[0]} in it, found none")


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read a checkpoint of any usual format; nothing in it is run.

    Wrappings of trainers (`state_dict`, `model`, `module.`, `_orig_mod.`, ...) are taken off, in any order and depth.

    Args:
        path: a file, or the index of a sharded one (`model.safetensors.index.json`).

    Raises:
        InputError: it cannot be read, is no checkpoint, or holds a value that is not finite; names file and key.
    """
    try:
        content, is_torchscript = _read(path)
    except PermissionError as error:
        raise InputError(f"base.pretrained: {path}: no permission to read it") from error
    except OSError as error:
        raise InputError(f"base.pretrained: {path}: cannot be read: {error.strerror or error}") from error
    weights = _without_prefixes(_unwrap(content, path))
    _check_finite(weights, path)
    return CheckpointFile(weights, is_torchscript)


def _read(path: Path) -> tuple[Mapping[str, Any], bool]:
    if path.stat().st_size == 0:
        raise InputError(f"base.pretrained: {path}: the file is empty")
    if path.name.endswith(INDEX_SUFFIX):
        return _read_shards(path), False
    with path.open("rb") as file:
        head = file.read(9)
    if _is_torchscript(path):
        return _read_torchscript(path), True
    if head[8:9] == b"{":
        return _read_safetensors(path), False
    return _read_torch(path), False


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/", 1)[-1] == "constants.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        return False  # no archive, or one that its reader will refuse


def _read_torchscript(path: Path) -> Mapping[str, Any]:
    try:
        weights = read_torchscript(path)
    except TORCH_ERRORS as error:
        raise InputError(f"base.pretrained: {path}: damaged TorchScript archive: {_line(error)}") from error
    return {name: value for name, value in weights.items() if name not in _SCRIPT_ONLY}


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return read_weights(path)
    except TORCH_ERRORS as error:
        raise InputError(f"base.pretrained: {path}: damaged safetensors file: {_line(error)}") from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except TORCH_ERRORS as error:
        reason = _line(error)
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = "it holds Python objects beside tensors, which are not run; save its state_dict alone"
        raise InputError(
            f"base.pretrained: {path}: expected safetensors, a PyTorch checkpoint or TorchScript: {reason}"
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(f"base.pretrained: {path}: expected tensors by name, got a {type(content).__name__}")
    return content


def _read_shards(index: Path) -> Mapping[str, Any]:
    """Read all parts of a sharded checkpoint, which are in the folder of its index."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in listed.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"base.pretrained: {index}: expected an index with `weight_map`: {_line(error)}") from error
    weights: dict[str, Any] = {}
    for name in names:
        part = index.parent / name
        if Path(name).name != name or not part.is_file():
            raise InputError(f"base.pretrained: {index}: expected its part {name!r} beside it, found none")
        weights |= _read(part)[0]
    if missing := sorted(set(listed) - set(weights)):
        raise InputError(f"base.pretrained: {index}: expected {missing[0]} in {listed[missing[0]]}, found none")
    return weights


def _unwrap(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Tensors by name, out of what trainers put around them."""
    inner: Mapping[str, Any] = content
    while wrapper := next((name for name in _WRAPPERS if isinstance(inner.get(name), Mapping)), None):
        inner = inner[wrapper]
    weights = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    if not weights:
        names = ", ".join(str(name) for name in list(inner)[:3]) or "nothing"
        raise InputError(f"base.pretrained: {path}: expected tensors by name, found {names}")
    return weights


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as the CLIP inside has them; what stands beside the CLIP (a loss, an average) is left out."""
    while True:
        prefix = max(_PREFIXES, key=lambda p: sum(name.startswith(p) for name in weights))
        inside = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if 2 * len(inside) <= len(weights):
            return weights
        weights = inside


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            count = int((~value.isfinite()).sum())
            raise InputError(f"base.pretrained: {path}: {name}: expected finite values, got {count} NaN or infinite")


def _line(error: BaseException) -> str:
    """Return the first line of an error, short enough for a terminal."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
