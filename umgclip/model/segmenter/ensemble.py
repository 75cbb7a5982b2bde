"""Names of masks from two judges: the trained classifier, and the frozen tower alone.

Geometric means as in ODISE (Xu et al., CVPR 2023) and FC-CLIP (Yu et al., NeurIPS 2023): `p_in^(1-e) p_out^e`, with a
small exponent for names that training masks carried, a large one for all others.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_LEAST = 1e-8


def ensemble(
    trained: Float[Tensor, "*rows names"],
    frozen: Float[Tensor, "*rows names"],
    seen: Bool[Tensor, " names"],
    exponents: tuple[float, float],
) -> Float[Tensor, "*rows names"]:
    """Probabilities of names that sum to 1.

    Worked example: `trained` (.8, .2), `frozen` (.5, .5), the first name seen, exponents (0, 1): .8 and .5, which is
    (.615, .385).

    Args:
        trained: probabilities by the trained classifier.
        frozen: probabilities by the frozen tower.
        seen: which names training masks carried.
        exponents: weight of the frozen tower, for names seen and for names unseen.
    """
    weight = torch.where(seen, exponents[0], exponents[1]).to(trained)
    logs = (1 - weight) * trained.clamp(min=_LEAST).log() + weight * frozen.clamp(min=_LEAST).log()
    return logs.softmax(dim=-1)
