"""Relative latency of two versions: the ratio of their times to answer, measured side by side in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from umgclip.inference.answerer import Answerer
from umgclip.io.images import encode_png
from umgclip.model.clip.placement import placement
from umgclip.params import RegisterParams
from umgclip.register.download import fetch
from umgclip.tracking import Store

_BATCH = 4
_IMAGE_PX = 224
_LABELS = ["dog", "cat", "tree", "car"]
_ROUNDS, _LEAST_ROUNDS, _BUDGET_S = 15, 3, 30.0


def ratio_of(candidate: Answerer, champion: Answerer, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Divide the candidate's median time for a batch of requests by the champion's.

    The two take turns, each first in every other round, so that a machine that slows down slows both. After a warm-up
    there are 15 rounds, or as many as fit into 30 s but at least 3.

    Args:
        candidate: the model that may become champion.
        champion: the current champion.
        clock: time in seconds.
    """
    request = _request()
    models = (candidate, champion)
    batches = [[model.prepare(request)] * _BATCH for model in models]
    for model, batch in zip(models, batches, strict=True):
        model.answer(batch)
    times: tuple[list[float], list[float]] = ([], [])
    started = clock()
    for turn in range(_ROUNDS):
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            before = clock()
            models[index].answer(batches[index])
            times[index].append(clock() - before)
        if turn + 1 >= _LEAST_ROUNDS and clock() - started > _BUDGET_S:
            break
    return median(times[0]) / median(times[1])


def ratio_of_versions(store: Store, params: RegisterParams, candidate: str, champion: str) -> float:
    """Fetch two versions of the registry and measure `ratio_of` them on the device and in the dtype of `register`.

    Raises:
        InputError: there is no such device.
        TrackingError: MLflow does not answer or refuses.
        DataError: the files of a version are not those of a model of this package.
    """
    with tempfile.TemporaryDirectory() as folder:
        device, dtype = placement(params, "register")
        models = [
            fetch(store, params.name, one, Path(folder) / one, device=str(device)).computing_in(dtype)
            for one in (candidate, champion)
        ]
    return ratio_of(*models)


def _request() -> dict[str, object]:
    pixels = np.random.default_rng(0).integers(0, 256, (_IMAGE_PX, _IMAGE_PX, 3), dtype=np.uint8)
    half = _IMAGE_PX / 2
    return {
        "image": encode_png(pixels),
        "labels": _LABELS,
        "boxes": [[0, 0, half, half]],
    }
