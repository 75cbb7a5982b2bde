"""The objectives on images alone that `train.weights` names, built for a run."""

from __future__ import annotations

from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TrainParams
from umgclip.train.objective.diffusion.feedback import DiffusionFeedback
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.objective.image_side import Factory, ImageObjective, require_parallel
from umgclip.train.objective.patch_ema import patch_distillation
from umgclip.train.objective.windows import window_distillation

FACTORIES: dict[str, Factory] = {
    "windows": window_distillation,
    "patch_ema": patch_distillation,
    "diffusion": DiffusionFeedback,
}
"""By the name of the weight. Each is called before a checkpoint is restored: the tower is still the base."""


def image_objectives(tower: DenseClip, params: TrainParams) -> list[ImageObjective]:
    """Build the objectives on images whose weight is above 0.

    Raises:
        InputError: one of them cannot work with this tower or these params.
    """
    objectives = [make(tower, params) for name, make in FACTORIES.items() if getattr(params.weights, name)]
    require_parallel(objectives, params.parallel)
    return objectives


def embedder_of(tower: DenseClip, params: TrainParams) -> TowerEmbedder:
    """Build the module that holds everything that a step of these params calls.

    Raises:
        InputError: an objective cannot work with this tower or these params.
    """
    return TowerEmbedder(tower, image_objectives(tower, params), embeds=not only_images(params.weights))


def only_images(weights: LossWeights) -> bool:
    """Return whether no term needs the ordinary forward: no text is encoded then, and no region read."""
    return not any(value for name, value in weights.model_dump().items() if name not in FACTORIES)
