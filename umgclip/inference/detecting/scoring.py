"""Confidence of a label for a region, with "none of these" as a possible answer.

A softmax over the labels alone answers with one of them, whatever the region shows. So the labels compete with two
kinds of rivals:

* general words such as "background" and "part", and whatever else the user says may be in the pictures;
* the image itself: for each label the logit of a typical cell of the dense map. Where most of the image looks as much
  like a dog as the region does, the region is no dog.

The softmax over labels and rivals is the `probability` of the label; classes exclude each other here, so models trained
with sigmoids are compared in the same way (`Scoring.exclusive`), and their bias cancels out.

A part of a thing may look as much like it as the whole, and so does the thing together with some background. The
`place` of a label says which region is the thing: the share of each cell that the label takes against all rivals,
connected to the region. `fit` is the Dice coefficient of region and place. The confidence is the geometric mean of
probability and fit, both from 0 to 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.model.clip.reader import Scoring

BACKGROUND = ("background", "object", "thing", "part", "texture", "scene", "picture", "pattern")
"""General words that labels compete with, unless a label is one of them."""
THRESHOLD = 0.6
"""Least confidence of a detection; `docs/detect.md` has the measurement behind it."""
_TYPICAL = 0.7  # quantile of the cells of an image whose logit a label competes with
_BELONGS = 0.5  # share of a cell from which it belongs to the place of a label, or to a region


class Named(NamedTuple):
    """The best label of each region and its confidence.

    Attributes:
        label_ids: position of the label, (regions,).
        scores: its confidence, 0 to 1, (regions,).
    """

    label_ids: Int[np.ndarray, " r"]
    scores: Float[np.ndarray, " r"]


@torch.inference_mode()
def name_regions(
    dense: Float[Tensor, "d h w"],
    regions: Float[Tensor, "r d"],
    weights: Float[Tensor, "r h w"],
    texts: tuple[Float[Tensor, "l d"], Float[Tensor, "b d"]],
    scoring: Scoring,
) -> Named:
    """Return the best label of each region.

    Args:
        dense: the dense map of the image, each cell of length 1.
        regions: embeddings of the regions.
        weights: share of each cell that each region covers.
        texts: embeddings of the labels, and of the words that they compete with; there may be none of these.
        scoring: the model's scale.
    """
    labels, words = texts
    cells = labels @ dense.flatten(1)
    typical = cells.kthvalue(max(1, round(_TYPICAL * cells.shape[1])), dim=1).values
    rivals = torch.cat([regions @ words.T, typical.expand(len(regions), -1)], dim=1)
    shares = scoring.exclusive(torch.cat([regions @ labels.T, rivals], dim=1))[:, : len(labels)]
    best = shares.argmax(1)
    probability = shares.gather(1, best[:, None])[:, 0]
    places = scoring.exclusive(torch.cat([cells, words @ dense.flatten(1)]).T).T[: len(labels)]
    fit = _fit(weights, places.reshape(len(labels), *dense.shape[1:])[best])
    return Named(best.numpy(), (probability * fit).sqrt().double().numpy())


def _fit(weights: Float[Tensor, "r h w"], places: Float[Tensor, "r h w"]) -> Float[Tensor, " r"]:
    """Return the Dice coefficient of each region with the connected part of its label's place, 0 to 1."""
    near = places * torch.maximum(_connected(weights, places), (weights > 0).to(places))
    both = (weights * near).flatten(1).sum(1)
    return 2 * both / (weights.flatten(1).sum(1) + near.flatten(1).sum(1)).clamp(min=1e-6)


def _connected(weights: Float[Tensor, "r h w"], places: Float[Tensor, "r h w"]) -> Float[Tensor, "r h w"]:
    """Return the cells that can be reached from each region through cells that belong to its label, as 0 and 1.

    Another thing of the same label, apart from the region, does not make the region a worse one.
    """
    start = weights > torch.minimum(weights.flatten(1).amax(1) * 0.999, torch.tensor(_BELONGS))[:, None, None]
    reached = start.to(places)[:, None]
    open_cells = (places > _BELONGS).to(places)[:, None]
    for _ in range(places.shape[1] * places.shape[2]):
        beside = torch.maximum(F.max_pool2d(reached, (3, 1), 1, (1, 0)), F.max_pool2d(reached, (1, 3), 1, (0, 1)))
        further = torch.maximum(reached, beside * open_cells)
        if torch.equal(further, reached):
            break
        reached = further
    return reached[:, 0]
