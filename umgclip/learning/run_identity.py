"""The identity of a training run, by which a checkpoint knows whether it belongs to the current run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from umgclip.params import TrainParams
from umgclip.params.section import VIA_STREAMS

_LIBRARIES = ("torch", "open_clip_torch", "peft", "timm")


def decisive(params: TrainParams) -> dict[str, Any]:
    """Return the params that change what is trained, so that a run may go on on another machine.

    `processes` and `loader` change the order of samples only through the number of streams. The feed computes that
    number, and the caller records it.
    """
    return {"train": params.decisive(VIA_STREAMS)}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested values to texts under dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def libraries(*more: str) -> dict[str, str]:
    """Return the versions of the libraries that compute."""
    return {name: version(name) for name in (*_LIBRARIES, *more)}
