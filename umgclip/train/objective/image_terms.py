"""The objectives on images alone that `train.weights` names, built for a run."""

from __future__ import annotations

from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TrainParams
from umgclip.train.objective.image_side import Factory, ImageObjective, require_parallel

FACTORIES: dict[str, Factory] = {}
"""By the name of the weight. Each is called before a checkpoint is restored: the tower is still the base."""


def image_objectives(tower: DenseClip, params: TrainParams) -> list[ImageObjective]:
    """Build the objectives on images whose weight is above 0.

    Raises:
        InputError: one of them cannot work with this tower or these params.
    """
    objectives = [make(tower, params) for name, make in FACTORIES.items() if getattr(params.weights, name)]
    require_parallel(objectives, params.parallel)
    return objectives


def only_images(weights: LossWeights) -> bool:
    """Return whether no term needs the ordinary forward: no text is encoded then, and no region read."""
    return not any(value for name, value in weights.model_dump().items() if name not in FACTORIES)
