"""Models of an export, as functions that classify boxes or whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jaxtyping import Float
from numpy import ndarray

from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.inference.model import Model
    from umgclip.sources.exporting.fiftyone import Boxes, Predict


def classifiers(given: Sequence[str], to: str) -> Mapping[str, Predict]:
    """Load the models of `--model NAME=FOLDER`, by their names.

    Raises:
        InputError: it is another text, two have one name, or the format has no predictions; or see `umgclip.load`.
    """
    import umgclip

    if to != "fiftyone":
        raise InputError(f"--model: expected only with --to fiftyone, got --to {to}")
    loaded: dict[str, Predict] = {}
    for word in given:
        name, separator, where = word.partition("=")
        if not separator or not name or not where or name in loaded:
            raise InputError(f"--model: expected NAME=FOLDER with another name each, got {word!r}")
        loaded[name] = partial(_scores, umgclip.load(where))
    return loaded


def _scores(model: Model, image: bytes, labels: Sequence[str], boxes: Boxes | None) -> Float[ndarray, "rows labels"]:
    if boxes is None:
        return model.classify(image, list(labels))
    return model.classify(image, list(labels), boxes_xyxy=[list(box) for box in boxes])
