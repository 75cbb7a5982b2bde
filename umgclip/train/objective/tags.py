"""The term `tags`: images against the tags of the batch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.losses.similarity import Scalar
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.train.objective.term import TermInputs

_FOCUS = Asymmetry(gamma_neg=2.0, gamma_pos=0.0, clip=0.0)


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Compute the multi-label loss of all images and all tags of the batch."""
    targets = seen.here(seen.labels.tag_targets)
    return tag_loss(seen.image, seen.texts(seen.labels.tag_texts), targets, seen.similarity.scale)


def tag_loss(
    image: Float[Tensor, "b d"], tags: Float[Tensor, "v d"], targets: Bool[Tensor, "b v"], scale: Scalar
) -> Float[Tensor, ""]:
    """Compute the multi-label loss of the batch's tags, centred so that an average image expects an average number."""
    logits = scale * image @ tags.T
    prior = targets.float().mean().clamp(1e-4, 1 - 1e-4)  # all images may have all tags
    logits = logits - logits.detach().mean() + torch.log(prior / (1 - prior))
    return asymmetric_loss(logits, targets, asymmetry=_FOCUS) / 10
