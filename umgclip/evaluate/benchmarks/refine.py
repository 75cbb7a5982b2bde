"""Refinement of pixel scores along the edges of the image: PAMR (Araslanov and Roth, CVPR 2020)."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)  # px; this and the next two: the values of the paper's experiments
ITERATIONS = 10
BANDWIDTH = 0.1  # of the local standard deviation
_RING = [(dy, dx) for dy, dx in product((-1, 0, 1), repeat=2) if (dy, dx) != (0, 0)]
_STEPS = [(dilation * dy, dilation * dx) for dilation in DILATIONS for dy, dx in _RING]
_REACH = max(DILATIONS)


@torch.inference_mode()
def refine(scores: Float[Tensor, "c h w"], pixels: Float[Tensor, "k h w"]) -> Float[Tensor, "c h w"]:
    """Average each pixel's scores over its neighbours, weighted by similarity of colour.

    A pixel's neighbours are rings of eight at each of `DILATIONS`; its own score counts only through them. Nothing is
    learned, and all classes are treated alike. The image is padded by repeating its border.

    Args:
        scores: scores of c classes, on any scale.
        pixels: the image with k channels, of the same size.

    Returns:
        Averages of the scores, within their range.
    """
    weights = _affinity(pixels)
    for _ in range(ITERATIONS):
        padded, total = _padded(scores), torch.zeros_like(scores)
        for step, weight in zip(
            _STEPS, weights, strict=True
        ):  # one at a time, so that the data in use stay in the CPU's cache
            total.addcmul_(_moved(padded, step, scores), weight)
        scores = total
    return scores


def _affinity(pixels: Float[Tensor, "k h w"]) -> Float[Tensor, "steps h w"]:
    """Return the weight of each neighbour of each pixel; the weights of a pixel sum to 1."""
    padded, count = _padded(pixels), len(_STEPS) + 1
    # one neighbour after another: all at once would take gigabytes for an image of a few megapixels
    mean = sum((_moved(padded, step, pixels) for step in _STEPS), start=pixels) / count
    squares = sum(((_moved(padded, step, pixels) - mean) ** 2 for step in _STEPS), start=(pixels - mean) ** 2)
    scale = BANDWIDTH * (squares / (count - 1)).sqrt() + 1e-8
    distance = [((_moved(padded, step, pixels) - pixels).abs() / scale).mean(dim=0) for step in _STEPS]
    return torch.softmax(-torch.stack(distance), dim=0)


def _padded(maps: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
    return F.pad(maps[None], (_REACH,) * 4, mode="replicate")[0]


def _moved(padded: Float[Tensor, "c h2 w2"], step: tuple[int, int], like: Float[Tensor, "d h w"]) -> Tensor:
    """Return the padded map shifted by a step, at the size of `like`."""
    (height, width), (dy, dx) = like.shape[-2:], step
    return padded[:, _REACH + dy : _REACH + dy + height, _REACH + dx : _REACH + dx + width]
