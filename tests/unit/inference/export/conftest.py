"""Tuned models on disk: a base, an adapter, a report."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.params import TowerParams, TrainParams

MakeTuned = Callable[..., Path]


@pytest.fixture(scope="session")
def operators_listed_once() -> Iterator[None]:
    """Keep the list of operators that torch makes for each export to ONNX in a second; no export changes it."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture
def make_tuned(make_tuned_in: MakeTuned, tmp_path: Path) -> MakeTuned:
    """A folder with `base` and `train` as the stages leave them, random weights that the adapter changes."""
    return partial(make_tuned_in, tmp_path)


@pytest.fixture(scope="session")
def make_tuned_in(tiny: TowerParams) -> MakeTuned:
    """The same in a folder that the caller names."""

    def make(
        parent: Path, params: TrainParams, config: dict[str, Any] | None = None, model: str = "umgclip-tiny"
    ) -> Path:
        torch.manual_seed(0)
        root = parent / f"artifacts-{params.adapter}-{model}"
        (root / "base").mkdir(parents=True)
        config = config or files.tower_config(tiny)
        digest = files.save(root / "base", files.build(config), config)
        write_json(root / "base" / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": model})
        adapted = adapt(files.load(root / "base")[0], params)
        with torch.no_grad():
            for parameter in adapted.clip.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        adapted.save(root / "train" / "adapter")
        base = sha256_file(root / "base" / files.WEIGHTS)
        facts = {"base_sha256": base, "params": params.model_dump(), "dense_reach": params.dense_reach}
        if params.image_px is not None:
            facts["image_hw"] = [params.image_px] * 2
        facts["clustering"] = facts["params"]["clustering"]
        write_json(root / "train" / "train.json", facts)
        return root

    return make
