"""Whole tensors and their shards among the processes of one training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(value: Tensor) -> Tensor:
    """Gather a sharded tensor, on all processes at once; return any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """Place a whole tensor like a parameter: on its device, and sharded if it is."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def on_cpu(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy whole tensors to the CPU, on all processes at once."""
    return {name: whole(value.detach()).cpu().clone() for name, value in values.items()}
