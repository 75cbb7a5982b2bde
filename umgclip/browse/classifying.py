"""Models that name the regions of the images shown, for predictions beside the labels of any dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from umgclip.browse.predictions import Answer, RegionGuess
from umgclip.browse.reading import PickedSample
from umgclip.data.wording import name_key
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import decode_image
from umgclip.records import ImageRecord, Region, parse_record

_REGIONS = 300  # most regions of an image, as many as a card shows


@runtime_checkable
class Classifier(Protocol):
    """A model that gives the probability of each label for an image, or for boxes or masks in it."""

    def classify(self, image: Any, labels: Any, *, boxes_xyxy: Any = None, masks: Any = None) -> Any:  # noqa: ANN401
        """Return an array of shape (rows, labels); see `umgclip.inference.model.Model.classify`."""
        ...


class Classifiers:
    """Some models and the names that they choose from.

    Args:
        models: the models by the names that the page shows.
        labels: names to choose from, at least one.
    """

    def __init__(self, models: Mapping[str, Classifier], labels: Sequence[str]) -> None:
        self.names = list(models)
        self._models, self._labels = list(models.values()), list(labels)

    def guess(self, sample: PickedSample) -> list[RegionGuess]:
        """Name the regions of an image that are no stuff, or the image if it has none; of a broken one nothing.

        Regions are read by their masks where all have one, else by their boxes.
        """
        try:
            where = f"{sample.shard}:{sample.key}"
            if sample.image is None or sample.json is None:
                return []
            pixels, record = decode_image(sample.image, where=where), parse_record(sample.json, where=where)
            regions = [region for region in (record.regions or [])[:_REGIONS] if not region.is_stuff]
            if not regions:
                whole = [self._best(one, pixels, {})[0] for one in self._models]
                return [_judged(RegionGuess(None, _only_tag(record), whole))]
            given = _places(regions, pixels.shape[:2])
            answers = [self._best(one, pixels, given) for one in self._models]
        except (DataError, InputError):
            return []  # the card says what is wrong with the image, its record or its masks
        guesses = [
            RegionGuess(region.id, _label(region), [of[row] for of in answers]) for row, region in enumerate(regions)
        ]
        return [_judged(guess) for guess in guesses]

    def _best(self, model: Classifier, pixels: np.ndarray, given: Mapping[str, Any]) -> list[Answer | None]:
        scores = np.asarray(model.classify(pixels, self._labels, **given))
        return [(self._labels[row.argmax()], round(float(row.max()), 4), None) for row in scores]


def _places(regions: Sequence[Region], size_hw: tuple[int, ...]) -> dict[str, Any]:
    if all(region.mask is not None and region.mask.size == tuple(size_hw) for region in regions):
        masks = [mask_ops.decode(region.mask) for region in regions if region.mask is not None]
        if all(mask.any() for mask in masks):
            return {"masks": masks}
    return {"boxes_xyxy": [region.box_xyxy for region in regions]}


def _label(region: Region) -> str | None:
    return region.tags[0].text if region.tags else None


def _only_tag(record: ImageRecord) -> str | None:
    return record.tags[0].text if record.tags and len(record.tags) == 1 else None


def _judged(guess: RegionGuess) -> RegionGuess:
    """Compare each answer with the label, up to case and white space."""
    if guess.truth is None:
        return guess
    true = name_key(guess.truth)
    by: list[Answer | None] = [
        None if answer is None else (answer[0], answer[1], name_key(answer[0]) == true) for answer in guess.by
    ]
    return RegionGuess(guess.region, guess.truth, by)
