"""A model on several processes: replicated (DDP) or sharded (FSDP2), behind one interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from umgclip.learning.sharded import whole
from umgclip.learning.world import World
from umgclip.model.clip.blocks import residual_blocks
from umgclip.train.objective.features import Embedded, TowerEmbedder
from umgclip.train.objective.image_side import ImageObjective

# the name that newer versions of torch give it
_BUFFERS = "forward_sync_buffers"
if _BUFFERS not in signature(DistributedDataParallel).parameters:
    _BUFFERS = "broadcast_buffers"


class Parallel:
    """The embedder, shared by all processes of a world.

    Args:
        embedder: this process's copy, on its device.
        world: the processes; for one alone nothing is wrapped.
        kind: ddp or fsdp2.
        all_learn: a forward pass may not use every parameter that learns.

    Attributes:
        weights: those of the tower that learn, by name.
        beside: those of the objectives on images that learn, by name.
    """

    def __init__(self, embedder: TowerEmbedder, world: World, kind: str, *, all_learn: bool = False) -> None:
        self._world, self._outside = world, list[nn.Parameter]()
        self.module: Any = embedder
        if world.size > 1 and kind == "ddp":
            options: dict[str, Any] = {_BUFFERS: False, "find_unused_parameters": all_learn}
            if world.device.type == "cuda":
                options["device_ids"] = [world.device.index]
            self.module = DistributedDataParallel(embedder, gradient_as_bucket_view=True, **options)
        elif kind == "fsdp2" and dist.is_initialized():
            self._outside = _divide(embedder, world)
        self.weights = _learning(embedder.tower)
        self._objectives: dict[str, ImageObjective] = dict(embedder.objectives)
        self.beside = _learning(embedder.objectives)
        self._owners = {
            parameter: name for name, objective in self._objectives.items() for parameter in objective.parameters()
        }

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """Everything that learns, by name; no name of an objective is one of the tower's."""
        return self.weights | {f"objectives.{name}": parameter for name, parameter in self.beside.items()}

    def __call__(self, *inputs: Any) -> Embedded:  # noqa: ANN401 - those of the embedder
        """Run the forward pass of the embedder."""
        embedded: Embedded = self.module(*inputs)
        return embedded

    @contextmanager
    def gradients_stay(self, stay: bool) -> Iterator[None]:
        """Accumulate gradients on this process alone while this context lasts and `stay` is true."""
        if isinstance(self.module, DistributedDataParallel) and stay:
            with self.module.no_sync():
                yield
            return
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(not stay)
        yield

    def finish_gradients(self) -> None:
        """After the last backward: average what no wrapper averages."""
        for parameter in self._outside:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self._world.size

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for an optimizer; divided ones apart, for no kernel takes both kinds at once.

        `objective` names the objective on images that a group belongs to; it is empty for the tower.
        """
        groups: dict[tuple[bool, str], list[nn.Parameter]] = {}
        for parameter in self.learning.values():
            key = (isinstance(parameter, DTensor), self._owners.get(parameter, ""))
            groups.setdefault(key, []).append(parameter)
        return [{"params": groups[key], "objective": key[1]} for key in sorted(groups)]

    def set_rates(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Set the factors on the learning rates of a step's groups."""
        for group in optimizer.param_groups:
            objective = self._objectives.get(group["objective"])
            group["rate_factor"] = 1.0 if objective is None else objective.rate_at(step)

    def state(self) -> dict[str, Tensor]:
        """Return the state of the objectives on images by name, for a checkpoint."""
        return {
            f"{name}.{inner}": value
            for name, objective in self._objectives.items()
            for inner, value in objective.state().items()
        }

    def after_step(self, step: int) -> None:
        """Let the objectives on images take in a step of the optimizer."""
        for objective in self._objectives.values():
            objective.after_step(step, self._world)

    def clip(self, most: float) -> float:
        """Scale all gradients so that their norm together is at most `most`; gives the norm before."""
        learning = self.learning.values()
        if not any(isinstance(p, DTensor) for p in learning):
            return float(nn.utils.clip_grad_norm_(learning, most))
        gradients = [p.grad for p in learning if p.grad is not None]
        kinds = [[g for g in gradients if isinstance(g, DTensor) is divided] for divided in (False, True)]
        norms = [whole(nn.utils.get_total_norm(kind)) for kind in kinds if kind]
        norm = torch.stack(norms).norm()
        for group in self.groups():
            nn.utils.clip_grads_with_norm_(group["params"], most, norm)
        return float(norm)


def _learning(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _divide(embedder: TowerEmbedder, world: World) -> list[nn.Parameter]:
    """Shard every block of the vision tower with FSDP2, then the rest; return the parameters that learn and stay whole.

    All processes gather a block when it is called. How often the text tower's blocks are called depends on a
    process's texts, so the text tower is one piece with the rest.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    scalars = {parameter for parameter in embedder.parameters() if parameter.ndim == 0}  # nothing to divide
    for block in residual_blocks(embedder, images_only=True):
        fully_shard(block, mesh=mesh, ignored_params=scalars)
    fully_shard(embedder, mesh=mesh, ignored_params=scalars)
    return [parameter for parameter in embedder.parameters() if parameter.requires_grad and parameter in scalars]
