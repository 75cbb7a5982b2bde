"""Textual contrast: region texts are driven away from the texts that are nearest to them, but not the same."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.losses.similarity import Scalar, connected_zero, scaled_cosine
from umgclip.train.objective.term import TermInputs

SAME = 0.95
"""Texts of a larger cosine are taken for one text in other words."""
NEAREST = 10
"""Of the others, as many stay."""


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Contrast the distinct region texts of the global batch with each other.

    The scale gets no gradient: a smaller one would lower the loss for nothing.
    """
    return textual_contrast(seen.region_names(), seen.similarity.scale.detach())


def textual_contrast(texts: Float[Tensor, "t d"], scale: Scalar) -> Float[Tensor, ""]:
    """Compute the log-sum-exp of each text's near texts (FG-CLIP 2, Xie et al., 2025, arXiv 2510.10921, eq. 1).

    Theirs is the sum over texts; this is the mean, so that the weight does not depend on the size of the batch.

    Worked example: of three texts the first two have cosine 1/2, the third is orthogonal to both. At scale `log 4` the
    odds of the pairs are 2, 1 and 1, so the texts cost `log 3`, `log 3` and `log 2`.

    Args:
        texts: Features of the texts, each distinct text once; normalised here.
        scale: Multiplier of the cosines.

    Returns:
        Mean over the texts that have a near text, in nats; 0 where none has.
    """
    if not len(texts):
        return connected_zero(texts)
    cosines = scaled_cosine(texts, texts)
    out = cosines.detach() > SAME
    out.fill_diagonal_(True)  # a zero vector has cosine 0 with itself
    nearest = cosines.masked_fill(out, -torch.inf).topk(min(NEAREST, len(texts)), dim=1).values
    near = nearest[nearest[:, 0] > -torch.inf]
    if not len(near):
        return connected_zero(texts)
    return (scale * near).logsumexp(dim=1).mean()
