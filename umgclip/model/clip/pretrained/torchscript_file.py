"""Tensors of a TorchScript archive, such as OpenAI's CLIPs, read without running the program that is in it.

The archive is a zip: `data.pkl` pickles the module and its attributes, `data/KEY` are the bytes of its tensors, `code/`
is the program. `torch.jit.load` prepares and partly runs that program, which may read and write files.
"""

from __future__ import annotations

import math
import pickle  # noqa: S403 - only what is named here is built
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MOST_DEPTH = 100


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read all tensors, by their names in the module.

    Args:
        path: of the archive.

    Returns:
        Parameters, buffers and other tensors that the module keeps, as `visual.conv1.weight`.

    Raises:
        pickle.UnpicklingError, zipfile.BadZipFile, ValueError, ...: it is damaged, or holds more than modules, tensors
            and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        root = _Archive(archive)
        tensors: dict[str, Tensor] = {}
        _collect(root.module(), (), tensors)
    return tensors


class _Archive:
    """The records of an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._zip = archive
        (pickled, *others) = [name for name in archive.namelist() if name.split("/", 1)[-1] == "data.pkl"]
        if others:
            raise ValueError(f"expected one data.pkl, found {pickled} and {others[0]}")
        self._pickled, self._folder = pickled, pickled.removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        if order in archive.namelist() and self._bytes(order).decode() != sys.byteorder:
            raise ValueError(f"expected tensors in this machine's byte order, {sys.byteorder}")

    def module(self) -> Any:  # noqa: ANN401 - whatever was pickled, made of plain values
        """Return the content of `data.pkl`, with modules as `_Module`."""
        with self._zip.open(self._record(self._pickled)) as file:
            return _Unpickler(file, self).load()

    def storage(self, kind: _Storage, key: str, elements: int) -> Tensor:
        """Return a storage's elements as a flat tensor."""
        content = self._bytes(f"{self._folder}data/{key}")
        if len(content) != elements * kind.dtype.itemsize:
            raise ValueError(f"data/{key}: expected {elements} values of {kind.dtype}, got {len(content)} bytes")
        return torch.frombuffer(bytearray(content), dtype=kind.dtype) if content else torch.empty(0, dtype=kind.dtype)

    def _bytes(self, name: str) -> bytes:
        return self._zip.read(self._record(name))

    def _record(self, name: str) -> zipfile.ZipInfo:
        record = self._zip.getinfo(name)
        if record.compress_type != zipfile.ZIP_STORED:  # torch packs nothing, and unpacking could fill the memory
            raise ValueError(f"{name}: expected an unpacked record")
        return record


class _Storage:
    """Stands for torch's class of that name."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Module:
    """Stands for a class of the archive's program; keeps what was pickled."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Builds modules, tensors and plain values, nothing else."""

    def __init__(self, file: Any, archive: _Archive) -> None:  # noqa: ANN401 - a file of a zip
        super().__init__(file)
        self._archive = archive
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle's own
        """Return what a name in the pickle stands for."""
        if module.split(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch._utils" and name in ("_rebuild_parameter", "_rebuild_parameter_v2"):
            return _first
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module == "torch.jit._pickle" and name in ("build_intlist", "build_doublelist", "build_boollist"):
            return _first
        if module == "torch.jit._pickle" and name in ("build_tensorlist", "restore_type_tag"):
            return _first
        raise pickle.UnpicklingError(f"expected modules, tensors and plain values, found {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:  # noqa: ANN401 - as pickle's own
        """Return the storage that a tensor's pickle names."""
        word, kind, key, _, elements = pid
        if word != "storage" or not isinstance(kind, _Storage) or not isinstance(elements, int):
            raise pickle.UnpicklingError("expected a tensor's elements")
        key = str(key)
        if key not in self._storages:
            self._storages[key] = self._archive.storage(kind, key, elements)
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """Return a tensor over a storage; refuse one with more values than the storage has."""
    if math.prod(size) > storage.numel():
        raise ValueError(f"expected at most {storage.numel()} values in a tensor, got {size}")
    return storage.as_strided(size, stride, offset)


def _first(value: object, *_: object) -> object:
    return value


def _collect(value: object, name: tuple[str, ...], tensors: dict[str, Tensor]) -> None:
    if len(name) > _MOST_DEPTH:
        raise ValueError(f"expected modules in modules up to {_MOST_DEPTH} deep")
    if isinstance(value, Tensor):
        tensors[".".join(name)] = value
    elif isinstance(value, _Module) and isinstance(value.state, dict):
        for key, inner in value.state.items():
            _collect(inner, (*name, str(key)), tensors)
