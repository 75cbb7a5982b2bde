"""A step waits for its device at two places only, which have their reasons; shown without a GPU.

The model and the batch are on the meta device, whose tensors have no values. What would make a GPU's queue run empty
(reading a value, a shape that depends on values, a copy that is not asynchronous) is noted, and answered with ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import umgclip
from umgclip.learning.quarantine import Dropped
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.train import step
from umgclip.train.feed import TrainFeed
from umgclip.train.loop import _scoring
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.parallel import Parallel

META = torch.device("meta")
PACKAGE = Path(umgclip.__file__).parent
ALLOWED = {
    (
        "train/objective/combine.py",
        "combine",
    ): "a loss that is no number must not be differentiated, and is drawn",
    ("train/parallel.py", "clip"): "gradients that are no numbers must not reach the weights and the checkpoint",
}
_OF_VALUES = (
    "_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "bincount",
    "is_nonzero", "equal",
)  # fmt: skip
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class Waits(TorchDispatchMode):
    """Notes the functions of the package that would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[tuple[str, str]] = Counter()

    def _note(self) -> None:
        frame = [each for each in traceback.extract_stack() if Path(each.filename).is_relative_to(PACKAGE)][-1]
        self.places[Path(frame.filename).relative_to(PACKAGE).as_posix(), frame.name] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        options = kwargs or {}
        tensors = [value for value in tree_leaves((args, options)) if isinstance(value, torch.Tensor)]
        name = func.name().split("::")[1].split(".")[0]
        on_device = any(value.is_meta for value in tensors)
        by_mask = name in _INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if on_device and (name in _OF_VALUES or by_mask):
            self._note()
            ones = tree_map(lambda value: _ones(value) if isinstance(value, torch.Tensor) else value, args)
            answer = func(*ones, **options)
            return tree_map(lambda value: value.to(META) if isinstance(value, torch.Tensor) else value, answer)
        wanted = options.get("device")
        if name == "_to_copy" and wanted is not None and torch.device(wanted).type != args[0].device.type:
            if args[0].is_meta:
                self._note()
                return torch.ones(args[0].shape, dtype=options.get("dtype") or args[0].dtype)
            if not options.get("non_blocking"):
                self._note()
        if name == "copy_" and args[0].device.type != args[1].device.type:
            self._note()
            return args[0]
        return func(*args, **options)


def _ones(value: torch.Tensor) -> torch.Tensor:
    whole = value.dtype in (torch.int64, torch.int32)
    return torch.zeros(value.shape, dtype=value.dtype) if whole else torch.ones(value.shape, dtype=value.dtype)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_step_waits_for_its_device_where_it_must(
    base: Path, annotations: Path, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = TrainParams(batch=7, adapter=adapter, lr_peak=1.0e-3)  # type: ignore[arg-type]
    tower = DenseClip(adapt(files.load(base)[0], params).clip).train()
    loaded = next(TrainFeed(params, annotations, Dropped(frozenset(), {}), tower).load(0))
    world = World(device=META)
    model = Parallel(TowerEmbedder(tower.to(META)), world, "ddp")
    scoring = dataclasses.replace(_scoring(tower, params, World())[0], dtype=None)
    monkeypatch.setattr(step, "_autocast", lambda *_: contextlib.nullcontext())  # meta has none

    waits = Waits()
    with waits:
        computed = step.compute(model, loaded, scoring, world)
        model.clip(1.0)

    assert set(computed.values) > {"image_text", "region_text", "pixel", "total"}
    assert set(waits.places) == set(ALLOWED)
    assert max(waits.places.values()) == 1


def test_what_waits_is_noticed() -> None:
    values = torch.zeros(3, device=META)
    for wait in (
        lambda: values.sum().item(),
        lambda: values[values > 0],
        lambda: values.nonzero(),
        lambda: values.cpu(),
        lambda: torch.ones(3).to(META),
    ):
        waits = Waits()
        with waits, pytest.MonkeyPatch.context() as patch:
            noted: list[int] = []
            patch.setattr(waits, "_note", lambda noted=noted: noted.append(1))
            wait()
        assert noted
