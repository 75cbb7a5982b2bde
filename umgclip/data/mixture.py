"""Several datasets as one order of samples: each sample comes as often as the weight of its dataset says.

A dataset of n samples with weight w has the share w n of the sum over all datasets. Within each dataset the order is
that of `SampleOrder`, so none of its samples is skipped or repeated before its epoch ends. Whose turn it is follows
stride scheduling (Waldspurger & Weihl 1995): draws of a dataset are evenly spaced, so every batch has the mixture's
proportions up to one sample of each.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from umgclip.data.order import SampleOrder, StoredSample
from umgclip.errors import InputError
from umgclip.io.manifest import Manifest, ShardInfo

UNNAMED = "unnamed"
"""The dataset of shards whose manifest names none: the demo's, and those of earlier versions."""


def datasets_of(manifest: Manifest) -> dict[str, Manifest]:
    """Divide a manifest by the datasets that its shards name, in the order of their first shards."""
    shards: dict[str, list[ShardInfo]] = {}
    for shard in manifest.shards:
        shards.setdefault(shard.dataset or UNNAMED, []).append(shard)
    return {name: manifest.model_copy(update={"shards": part}) for name, part in shards.items()}


class MixedOrder:
    """The seeded order of samples from several datasets, in one or several streams.

    Args:
        folder: the folder of the manifest, named in errors.
        manifest: its shards name their datasets.
        seed: decides the order.
        weights: how often a sample of each dataset comes, relative to the others; 0 leaves a dataset out.
        streams: how many streams there are; part of the order.
        dropped: keys of samples that are drawn and passed over.

    Raises:
        InputError: the weights do not name the datasets of the manifest, or are all 0.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        seed: int,
        weights: Mapping[str, float],
        streams: int = 1,
        dropped: frozenset[str] = frozenset(),
    ) -> None:
        parts = datasets_of(manifest)
        require_names(weights, parts)
        parts = {name: part for name, part in parts.items() if weights[name]}
        self._seed, self._names = seed, list(parts)
        self._orders = [SampleOrder(folder, part, seed, streams, dropped) for part in parts.values()]
        wanted = [weights[name] * part.samples for name, part in parts.items()]
        self._shares = [one / sum(wanted) for one in wanted]

    def stream(self, index: int, start: int = 0) -> Iterator[StoredSample]:
        """Yield the samples of a stream without end, from its sample `start` on.

        Raises:
            DataError: a damaged shard, or every sample of a dataset is left out.
        """
        phases = np.random.default_rng([self._seed, index]).random(len(self._shares)).tolist()
        turns = DrawTurns(self._shares, phases, start)
        streams = [order.stream(index, drawn) for order, drawn in zip(self._orders, turns.drawn, strict=True)]
        for which in turns:
            yield replace(next(streams[which]), dataset=self._names[which])


class DrawTurns:
    """The datasets in the order in which they are drawn from: draw k of dataset d is due at time `(k + phase) / share`.

    Args:
        shares: of the datasets, which add up to 1.
        phases: of the datasets, from 0 to 1.
        start: how many draws were made before.

    Attributes:
        drawn: how many draws each dataset has had.
    """

    def __init__(self, shares: Sequence[float], phases: Sequence[float], start: int = 0) -> None:
        self._shares, self._phases = shares, phases
        # at time t a dataset has had at most t * share + 1 draws, so all have had at most t + datasets. The draws
        # counted here are due by `start - datasets - 2`, so they are among the first `start`; the rest is played back
        slack = len(shares) + 2
        self.drawn = [max(0, math.floor(start * share) - slack) for share in shares]
        self._queue = [(self._due(which), which) for which in range(len(shares))]
        heapq.heapify(self._queue)
        while sum(self.drawn) < start:
            next(self)

    def __iter__(self) -> DrawTurns:
        return self

    def __next__(self) -> int:
        """Return the index of the dataset whose turn is next."""
        _, which = heapq.heappop(self._queue)
        self.drawn[which] += 1
        heapq.heappush(self._queue, (self._due(which), which))
        return which

    def _due(self, which: int) -> float:
        return (self.drawn[which] + self._phases[which]) / self._shares[which]


def require_names(weights: Mapping[str, float], parts: Mapping[str, Manifest]) -> None:
    """Refuse weights that do not name the datasets there are.

    Raises:
        InputError: a name is unknown or missing, or all weights are 0.
    """
    listed = ", ".join(f"{name} ({part.samples} images)" for name, part in parts.items())
    if unknown := [name for name in weights if name not in parts]:
        raise InputError(
            f"train.mixture: expected names of datasets, got {', '.join(unknown)}; there are {listed}; "
            "`umgclip data import --name` gives a dataset its name"
        )
    if missing := [name for name in parts if name not in weights]:
        raise InputError(
            f"train.mixture: expected a weight for each dataset, got none for {', '.join(missing)}; "
            "give it a weight, or 0.0 to leave it out"
        )
    if not any(weights.values()):
        raise InputError(f"train.mixture: expected a weight above 0, got 0 for all of {listed}")
