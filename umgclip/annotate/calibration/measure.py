"""Measure on a sample of training images how labels, decoys and pasted objects score with the built-in teacher."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float

from umgclip.annotate.calibration.evidence import LabelEvidence, Pasted
from umgclip.annotate.calibration.pasting import ground_of, paste
from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.data.stream import Sample
from umgclip.data.vocabulary import Vocabulary
from umgclip.geometry import boxes
from umgclip.geometry import masks as mask_ops
from umgclip.model.clip.prompts import with_article

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

SEED = 20070301
_BEST = 2 / 3  # quantile of the scores above which a labelled region is an object to paste
_LIKE = 16  # donors with the grounds most alike, of which one is drawn
_MATCHES = (0.0, 0.6)  # how far objects take the colour of what they cover: once they stand out, once they do not
_OBJECTS = 2  # pasted into each composite
_MOST_HIDDEN = 0.4  # share of a pasted object that a second one may hide
_MATCH_IOU = 0.5  # above it a box is right, as in `evaluate.match_iou`
_ON_REGION, _ON_OBJECT = 0.3, 0.5  # share of the region, or of the object, above which a label lies on the object


@dataclass(frozen=True, eq=False)
class _Donor:
    """An object to paste: a labelled region of image `row` of the sample."""

    row: int
    region: Proposal
    name: str
    score: float


@dataclass(frozen=True, eq=False)
class _Shown:
    """Image `row` of the sample before it is read, with the things that its caption names, and decoys."""

    row: int
    pixels: Pixels
    caption: str
    names: list[str]
    decoys: list[str]


@dataclass(frozen=True, eq=False)
class _Read:
    """One image of the sample, the things that its caption names, and the labels that it gets; its masks are encoded.

    Attributes:
        pixels: the image, no larger than the proposer works with.
        caption: its first caption.
        names: the things that the caption names.
        labels: the labelled regions, with the image's row in the sample.
        won: scores of the labels that the names won against decoys.
        decoys: names that the caption does not hold, in the competition.
        decoys_won: scores of the labels that these won.
        ground: colours of its border.
    """

    pixels: Pixels
    caption: str
    names: list[str]
    labels: list[_Donor]
    won: list[float]
    decoys: int
    decoys_won: list[float]
    ground: Float[np.ndarray, "6"]


@dataclass(frozen=True, eq=False)
class _Composite:
    """An image with objects pasted in the way `level`, and the visible pixels of each by its name."""

    image: _Read
    level: int
    pixels: Pixels
    masks: dict[str, Bool[np.ndarray, "_ _"]]


@dataclass(frozen=True, eq=False)
class Examiner:
    """Examines the built-in teacher and proposer on training images.

    Attributes:
        teacher: the base.
        proposer: the built-in proposer.
        vocabulary: the concepts; labels of held-out ones are not written, and not counted.
        frequency: captions that each concept is named in: decoys are drawn as often as names occur.
        most_px: longer side that images are shrunk to.
        threads: that read images; each computes alone, so their number does not change a result.
    """

    teacher: ClipTeacher
    proposer: SegmentTree
    vocabulary: Vocabulary
    frequency: Mapping[str, int]
    most_px: int
    threads: int = 1

    def measure(self, samples: Iterable[Sample]) -> LabelEvidence:
        """Read images as `annotate` would, with decoys beside the names of their captions, and with pasted objects.

        Args:
            samples: training images with captions; those that name nothing are left out.
        """
        rng = np.random.default_rng(SEED)
        reads = list(_in_order(self._read, self._shown(samples, rng), self.threads))
        held_out = set(self.vocabulary.held_out)
        written = [donor for one in reads for donor in one.labels if donor.name not in held_out]
        pasted = self._pasted(reads, written, rng)
        return LabelEvidence(
            images=len(reads),
            labels=np.array([donor.score for donor in written], float),
            names=sum(len(one.names) for one in reads),
            won=np.array([score for one in reads for score in one.won], float),
            decoys=sum(one.decoys for one in reads),
            decoys_won=np.array([score for one in reads for score in one.decoys_won], float),
            pasted=pasted,
        )

    def _shown(self, samples: Iterable[Sample], rng: np.random.Generator) -> Iterator[_Shown]:
        named = ((sample, self._names((sample.record.captions or [])[0].text)) for sample in samples)
        for row, (sample, names) in enumerate((sample, names) for sample, names in named if names):
            decoys = _decoys(names, self.vocabulary.things, self.frequency, rng)
            yield _Shown(row, self._shrunk(sample.pixels), (sample.record.captions or [])[0].text, names, decoys)

    def _names(self, caption: str) -> list[str]:
        known = set(self.vocabulary.things)
        return [name for name in self.vocabulary.find(caption) if name in known]

    def _shrunk(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        scale = self.most_px / max(height, width)
        if scale >= 1:
            return pixels
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    def _things(self, pixels: Pixels, caption: str) -> list[Proposal]:
        return self.teacher.read_things([pixels], [caption], [self.proposer.propose(pixels)])[0]

    def _read(self, shown: _Shown) -> _Read:
        pixels, names, decoys = shown.pixels, shown.names, shown.decoys
        things = self._things(pixels, shown.caption)
        labels = [
            _Donor(shown.row, replace(things[region], shape=mask_ops.encode(things[region].mask)), name, score)
            for region, name, score in self.teacher.compete(things, names)
        ]
        rivals = self.teacher.compete(things, [*names, *decoys])
        won = [score for _, name, score in rivals if name in names]
        lost = [score for _, name, score in rivals if name not in names]
        return _Read(pixels, shown.caption, names, labels, won, len(decoys), lost, ground_of(pixels))

    def _pasted(self, reads: Sequence[_Read], donors: Sequence[_Donor], rng: np.random.Generator) -> tuple[Pasted, ...]:
        """Paste objects into each image, once so that they stand out and once so that they do not.

        The objects are the best third of the labelled regions: a worse one may be no object.
        """
        counts = [0 for _ in _MATCHES]
        results: list[list[tuple[float, bool]]] = [[] for _ in _MATCHES]
        composites = self._composites(reads, donors, rng)
        for level, objects, labels in _in_order(self._labels_of, composites, self.threads):
            counts[level] += objects
            results[level] += labels
        return tuple(
            Pasted(
                count,
                np.array([score for score, _ in labels], float),
                np.array([is_right for _, is_right in labels], bool),
            )
            for count, labels in zip(counts, results, strict=True)
        )

    def _composites(
        self, reads: Sequence[_Read], donors: Sequence[_Donor], rng: np.random.Generator
    ) -> Iterator[_Composite]:
        least = np.quantile([donor.score for donor in donors], _BEST) if donors else 0.0
        better = [donor for donor in donors if donor.score >= least]
        for row, one in enumerate(reads):
            others = [donor for donor in better if donor.row != row and donor.name not in one.names]
            if not others:
                continue
            unlike = np.abs(np.stack([reads[donor.row].ground for donor in others]) - one.ground).sum(1)
            near = [others[i] for i in np.argsort(unlike, kind="stable")[:_LIKE]]
            for level, match in enumerate(_MATCHES):
                yield _Composite(one, level, *self._composite(one, reads, near, rng, match))

    @staticmethod
    def _composite(
        image: _Read, reads: Sequence[_Read], donors: Sequence[_Donor], rng: np.random.Generator, match: float
    ) -> tuple[Pixels, dict[str, Bool[np.ndarray, "h w"]]]:
        """Paste up to two objects into an image; return it with the visible pixels of each object by its name."""
        pixels = image.pixels
        masks: dict[str, Bool[np.ndarray, "h w"]] = {}
        for row in rng.permutation(len(donors))[:_OBJECTS]:
            donor = donors[int(row)]
            composite = paste(pixels, reads[donor.row].pixels, donor.region.mask, rng, match)
            hidden = any((mask & composite.mask).sum() > _MOST_HIDDEN * mask.sum() for mask in masks.values())
            if donor.name in masks or hidden or not composite.mask.any():
                continue
            pixels = composite.pixels
            masks = {**{name: mask & ~composite.mask for name, mask in masks.items()}, donor.name: composite.mask}
        return pixels, masks

    def _labels_of(self, composite: _Composite) -> tuple[int, int, list[tuple[float, bool]]]:
        """Return level, number of objects, and score and correctness of the labels that lie on their objects."""
        image, masks = composite.image, composite.masks
        things = self._things(composite.pixels, ", ".join([image.caption, *map(with_article, masks)]))
        results = []
        for region, name, score in self.teacher.compete(things, [*image.names, *masks]):
            if name not in masks:
                continue
            mask, true = things[region].mask, masks[name]
            both = int((mask & true).sum())
            if both > _ON_REGION * mask.sum() or both > _ON_OBJECT * true.sum():
                box, true_box = things[region].box_xyxy, mask_ops.box_of(true)
                results.append((score, float(boxes.iou(np.array([box], float), np.array([true_box], float))[0, 0])))
        return composite.level, len(masks), [(score, iou > _MATCH_IOU) for score, iou in results]


def _in_order(work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """Yield the result of each item in order; several threads work, a few items ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="examine") as pool:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decoys(
    names: Sequence[str], things: Sequence[str], frequency: Mapping[str, int], rng: np.random.Generator
) -> list[str]:
    """Draw as many names as the caption has, out of those that it does not have."""
    others = [name for name in things if name not in names]
    weights = np.array([frequency.get(name, 0) + 1 for name in others], float)
    count = min(len(names), len(others))
    if not count:
        return []
    rows = rng.choice(len(others), count, replace=False, p=weights / weights.sum())
    return [others[int(row)] for row in rows]
