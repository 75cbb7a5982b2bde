"""Fine-grained regions: the true text of a region against perturbed ones, by each of the configured read-outs.

FG-OVD (Bianchi et al., CVPR 2024) has one true text and up to ten others that differ in an attribute, as FineHARD has
for training. FG-CLIP (Xie et al., ICML 2025) reports the share of boxes whose true text is nearest.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.evaluate.benchmarks.variants import best_of_other_half
from umgclip.evaluate.examples import Example, in_second_half
from umgclip.evaluate.reader import Reader, Seen
from umgclip.evaluate.readouts.readout import Readout, RegionBatch
from umgclip.evaluate.readouts.select import readouts
from umgclip.metrics.protocol import TEXTS_CUT
from umgclip.metrics.weighted import FEWEST_IMAGES, Weighted, mean_over_items

PROTOCOL = (
    "regions of the scenes that have a true text and perturbed ones, whatever their number; the texts as they are, "
    "without prompt; _top1: share of regions whose true text is nearer than every other one, where a tie counts "
    "against the model; _top1_ten: of the regions with at least ten others, as FG-OVD's own code counts; read-outs as "
    "of the benchmark region"
)
_TEN = 10
_TIE = 1e-6  # of a cosine: equal tokens may differ by rounding


class FineGrained:
    """Share of described regions whose true text is the nearest, for every read-out."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._readouts: dict[str, Readout] = readouts(reader.params)
        self._right: dict[str, list[Bool[np.ndarray, "variants r"]]] = defaultdict(list)
        self._rows: dict[str, list[int]] = defaultdict(list)  # of the regions that a read-out reads
        self._others: list[int] = []
        self._image: list[int] = []
        self._second: list[bool] = []
        self._asked: list[str] = []
        self._cut: set[str] = set()
        self._images = 0

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Compare the described regions of a batch of scenes with their texts."""
        described = [(row, region) for row, example in enumerate(examples) for region in example.described]
        first, regions = self._images, len(self._others)
        self._images += len(examples)
        if not described:
            return
        self._asked += [digest_of(region.texts) for _, region in described]
        self._others += [len(region.others) for _, region in described]
        self._image += [first + row for row, _ in described]
        self._second += [in_second_half(examples[row].key) for row, _ in described]
        texts = [text for _, region in described for text in region.texts]
        self._cut.update(self._reader.cut(texts))
        each = self._reader.texts(texts).split([len(region.texts) for _, region in described])
        for name, readout in self._readouts.items():
            rows = [i for i, (_, one) in enumerate(described) if one.region.mask is not None or not readout.needs_masks]
            if not rows:
                continue
            batch = RegionBatch(examples, [(described[i][0], described[i][1].region) for i in rows], seen)
            embedded = readout(self._reader, batch)
            self._right[name].append(
                np.array([[_is_nearest(one, each[i]) for one, i in zip(v, rows, strict=True)] for v in embedded])
            )
            self._rows[name] += [regions + i for i in rows]

    @property
    def regions(self) -> int:
        """The number of regions with texts so far."""
        return len(self._others)

    def right(self, readout: str) -> Bool[np.ndarray, " r"]:
        """Return whether a read-out finds the true text nearest, for each region that it reads, in order."""
        right = np.concatenate(self._right[readout], axis=1)
        return best_of_other_half(right, right, np.array(self._second)[self._rows[readout]])

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `box_top1` and so on, and `box_top1_ten` where some regions have fewer than ten other texts."""
        for name in self._right:
            right, ten = self.right(name), self._ten(name)
            yield f"{name}_top1", float(right.mean())
            if ten.any() and not ten.all():
                yield f"{name}_top1_ten", float(right[ten].mean())

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return top-1 of each read-out; images are drawn together with all their regions."""
        metrics: dict[str, Weighted] = {}
        for name in self._right:
            image = np.array(self._image)[self._rows[name]]
            if len(np.unique(image)) >= FEWEST_IMAGES:
                metrics[f"{name}_top1"] = mean_over_items(self.right(name).astype(np.float64), image, self._images)
        return (self._images, metrics) if metrics else (0, {})

    def protocol(self) -> dict[str, Any]:
        """Return images, regions, the number of other texts, the rule for ties and the protocol of each read-out."""
        counted = sorted(Counter(self._others).items())
        return {
            **self._reader.protocol(),
            "images": len(set(self._image)),
            "regions": self.regions,
            "other_texts": ", ".join(f"{others} of {regions} regions" for others, regions in counted),
            "texts_sha256": digest_of(sorted(self._asked)),
            "ties": "count against the model",
            TEXTS_CUT: len(self._cut),
            "readouts": {name: readout.protocol(self._reader) for name, readout in self._readouts.items()},
        }

    def _ten(self, readout: str) -> Bool[np.ndarray, " r"]:
        return np.array(self._others)[self._rows[readout]] >= _TEN


def digest_of(texts: Sequence[str]) -> str:
    """Return the beginning of the SHA-256 of some texts in their order, to tell one set of texts from another."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _is_nearest(region: Float[Tensor, " d"], texts: Float[Tensor, "t d"]) -> bool:
    """Return whether the first text is nearer to the region than all others, beyond rounding."""
    cosines = texts @ region
    return bool(cosines[0] > cosines[1:].max() + _TIE)
