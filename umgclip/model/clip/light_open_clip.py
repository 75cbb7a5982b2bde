"""open_clip without the two libraries that its import takes longest for and that few of its models use.

* transformers: for text towers of Hugging Face (`text_cfg.hf_model_name`); it comes when the first one is built.
* torch's compiler (`torch._dynamo`, with sympy): torchvision asks it one question, for `roi_align` on a GPU without
  compiled operators, and timm has it pass by some methods of NaFlex models; it comes with the first of these calls.

Import open_clip from here: `from umgclip.model.clip.light_open_clip import open_clip`; also `roi_align` of torchvision,
which asks its question when it is imported.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo.utils"
_TRANSFORMERS = "transformers"


class _CompilerLater(ModuleType):
    """A stand-in for the compiler's module while torchvision is imported."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """Return what the compiler answers, which is imported now."""
        return bool(importlib.import_module(_COMPILER).is_compile_supported(device_type))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - anything of the compiler's
        """Import the compiler for whatever else another version of torchvision takes from it."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)


@contextmanager
def _in_place(name: str, module: ModuleType | None) -> Iterator[None]:
    """Have imports in the block find a stand-in under a name; None: nothing. A library that is there already stays."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]  # None is Python's own mark of a module that cannot be had
    try:
        yield
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]


@contextmanager
def _passed_by_later() -> Iterator[None]:
    """Have functions that are kept from the compiler in the block import it when they are called."""
    at_once = torch.compiler.disable
    torch.compiler.disable = getattr(torch, "_disable_dynamo", at_once)  # what torch itself uses for its optimizers
    try:
        yield
    finally:
        torch.compiler.disable = at_once


def _import_open_clip() -> ModuleType:
    compiler = _CompilerLater(_COMPILER)
    with _in_place(_TRANSFORMERS, None), _in_place(_COMPILER, compiler), _passed_by_later():
        return importlib.import_module("open_clip")


def _with_transformers(build: Any) -> Any:  # noqa: ANN401 - the constructor of open_clip's text tower
    """Return a constructor that first repeats the import of its module, now with transformers."""

    @functools.wraps(build)
    def complete(tower: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as open_clip has them
        module = sys.modules[build.__module__]
        if module.transformers is None:
            importlib.reload(module)  # into the same namespace, which this class goes on to use
        build(tower, *args, **kwargs)

    return complete


open_clip: Any = _import_open_clip()
roi_align: Any = importlib.import_module("torchvision.ops").roi_align
_tower = open_clip.hf_model.HFTextEncoder
if open_clip.hf_model.transformers is None:
    _tower.__init__ = _with_transformers(_tower.__init__)
