"""Measure the roles of one kind of annotator in this process: seconds, and the peak of the memory."""

from __future__ import annotations

import contextlib
import importlib
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers

from benchmarks.real_size import published, tiny
from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.catalog import CATALOG
from umgclip.annotate.models.build import build_model
from umgclip.annotate.models.foundation.weights import LoadedModel
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.clip.placement import placement
from umgclip.params import AnnotateParams
from umgclip.params.annotators import KINDS, WeightsParams

IMAGE_HW = (480, 640)
WORDS = ("dog", "person", "grass")  # that the caption of each image names
_CAPTION = "a dog and a person on grass"
_VOCABULARY = Vocabulary(("dog", "person"), ("grass",))
_TINY = {"nsfw": "vit"}
# random weights find nothing, or everything; where they find everything, no more than a usual image has
_SETTINGS: dict[str, dict[str, Any]] = {
    "florence2": {"captions": ["<CAPTION>"], "max_new_tokens": 20},
    "blip2": {"max_new_tokens": 20},
    "qwen3_vl": {"max_new_tokens": 60},
    "grounding_dino": {"most": 10}, "mm_grounding_dino": {"most": 10}, "owlv2": {"most": 10}, "detr": {"most": 10},
    "rt_detr_v2": {"most": 10}, "sam3": {"threshold": 0.0, "stuff_threshold": 0.0, "most": 10},
    "sam2": {"most": 10},
}  # fmt: skip


@dataclass(frozen=True)
class Load:
    """How much is measured, and how.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        dtype: as in the params.
        batch: images in a forward pass.
        images: of 640 x 480 pixels; on a GPU, one batch before them is not measured.
        regions: of each image, for roles that are given regions.
        small: tiny weights instead of the size of the published ones, for a quick check.
    """

    device: str = "cpu"
    dtype: str = "auto"
    batch: int = 1
    images: int = 1
    regions: int = 10
    small: bool = False


def roles_of(kind: str) -> tuple[str, ...]:
    """Return the roles that a kind may fill."""
    return KINDS[kind].ROLES


def unmeasured(kind: str) -> str | None:
    """Return why a kind cannot be measured with random weights; None: it can."""
    if not issubclass(KINDS[kind], WeightsParams):
        return {"vlm": "a server", "face": "a file of OpenCV's, not a class of transformers"}.get(kind, "no weights")
    return None if kind in published.MAKERS else "no published size in benchmarks/real_size/published.py"


def parameters(kind: str) -> int:
    """Return the number of weights of a kind at its published size, without reserving memory for them."""
    classes: list[str] = []

    def note(_params: Any, _where: str, model_class: str, _processor: str) -> Any:  # noqa: ANN401
        classes.append(model_class)
        raise _KnownError

    module = importlib.import_module(CATALOG[kind].module)
    with mock.patch.object(module, "load", note), contextlib.suppress(_KnownError):
        _build(kind, Load())
    config, _ = published.MAKERS[kind]()
    with torch.device("meta"):
        model = _from_config(classes[0], config, torch.float32)
    return sum(weight.numel() for weight in model.parameters())


class _KnownError(Exception):
    """An error: what was asked is known, and nothing needs to be built."""


def measure(kind: str, load: Load) -> list[dict[str, Any]]:
    """Return a row for each role of a kind: seconds an image, images a second, memory in GB.

    Seconds are those of all processor cores together on a CPU, and of the clock on a GPU. The memory is the peak of the
    process on a CPU, and of what torch had allocated on a GPU.

    Raises:
        RuntimeError: a role had no answer for an image.
    """
    model = _build_random(kind, load)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8) for _ in range(max(load.images, load.batch))]
    rows = []
    for role in roles_of(kind):
        if load.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            _ask(model, role, images[: load.batch], load)
        # time of a processor hardly depends on what else the machine does
        clock = time.process_time if load.device == "cpu" else time.perf_counter
        began = clock()
        _ask(model, role, images[: load.images], load)
        seconds = clock() - began
        rows.append(
            {
                "kind": kind, "role": role, "dtype": str(model_dtype(kind, load)).removeprefix("torch."),
                "batch": load.batch, "images": load.images, "regions": load.regions,
                "seconds_per_image": seconds / load.images, "images_per_s": load.images / seconds,
                "memory_gb": _peak_gb(load.device),
                "halved": load.device != "cpu" and torch.cuda.memory_stats().get("num_ooms", 0) > 0,
            }
        )  # fmt: skip
    return rows


def model_dtype(kind: str, load: Load) -> torch.dtype:
    """Return the precision that a kind computes in."""
    params = _params(kind, load).models["m"]
    assert isinstance(params, WeightsParams)  # noqa: S101 - for the type checker: others are not measured
    return placement(params, "m")[1]


def _params(kind: str, load: Load) -> AnnotateParams:
    settings = {} if load.small and kind == "sam2" else _SETTINGS.get(kind, {})
    if load.small and "max_new_tokens" in settings:
        settings = {**settings, "max_new_tokens": 4}
    if load.small and kind == "sam2":
        settings = {"points_per_side": 4}
    placed = {"device": load.device, "dtype": load.dtype, "batch": load.batch}
    return AnnotateParams.model_validate({"models": {"m": {"kind": kind, "path": "random", **placed, **settings}}})


def _build(kind: str, load: Load) -> Any:  # noqa: ANN401 - fills several roles
    return build_model(_params(kind, load).models, "m", _VOCABULARY)


def _build_random(kind: str, load: Load) -> Any:  # noqa: ANN401 - fills several roles
    """Build a kind as annotate does, except that its weights are drawn instead of read."""

    def drawn(params: WeightsParams, where: str, model_class: str, _processor: str) -> LoadedModel:
        device, dtype = placement(params, where)
        torch.manual_seed(0)
        if load.small:
            model, processor = tiny.MAKERS[_TINY.get(kind, kind)]()
            model = model.to(device, dtype)
        else:
            config, processor = published.MAKERS[kind]()
            with torch.device(device):
                model = _from_config(model_class, config, dtype)
        return LoadedModel(model.eval(), processor, device, dtype, f"{kind}/random")

    with mock.patch.object(importlib.import_module(CATALOG[kind].module), "load", drawn):
        return _build(kind, load)


def _from_config(model_class: str, config: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - of transformers
    wanted = getattr(transformers, model_class)
    build = wanted.from_config if model_class.startswith("Auto") else wanted._from_config
    return build(config, dtype=dtype)


def _ask(model: Any, role: str, images: list[Pixels], load: Load) -> None:  # noqa: ANN401
    """Ask a role about images, and wait for the device.

    Raises:
        RuntimeError: it has no answer for one of them.
    """
    call = ROLE_CALLS[role]
    given = {
        "image": images,
        "caption": [_CAPTION] * len(images),
        "text": [_CAPTION] * len(images),
        "proposals": [_regions(load.regions) for _ in images],
    }
    answers = list(getattr(model, call.method)(*(given[column] for column in call.columns)))
    if load.device != "cpu":
        torch.cuda.synchronize()
    failed = next((one for one in answers if isinstance(one, Failure)), None)
    if failed is not None:
        raise RuntimeError(f"{role}: {failed.reason}, {failed.detail}")


def _regions(count: int) -> list[Proposal]:
    """Return boxes of a quarter of the image's sides, all over it."""
    rng = np.random.default_rng(0)
    height, width = IMAGE_HW
    corners = rng.uniform(0, 0.75, (count, 2)) * (width, height)
    boxes = [(x, y, x + width / 4, y + height / 4) for x, y in corners.tolist()]
    return [proposal for box in boxes if (proposal := Proposal.of_box(box, IMAGE_HW, 0.5)) is not None]


def _peak_gb(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
