"""Cross-modal ranking: a region's right text before its wrong ones, by the margin that was usual at the last step."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.similarity import connected_zero
from umgclip.train.objective.hard_negatives import compare
from umgclip.train.objective.term import TermInputs
from umgclip.train.texts import MOST_NEGATIVES

_NAME = "cmr"


def state() -> Float[Tensor, "k"]:
    """Make the margins of the first step: 0 for a region's first, second, ... wrong text."""
    return torch.zeros(MOST_NEGATIVES, dtype=torch.float64)


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Rank this process's regions' texts, and take the margins of the next step from the global batch.

    Scores are logits, whose scale gets no gradient: a larger one would widen every margin.
    """
    compared, scale = compare(seen), seen.similarity.scale.detach()
    gap = scale * (compared.right[compared.row] - compared.wrong)
    margins = seen.state[_NAME]
    loss = ranking_loss(gap, compared.rank, margins.to(gap))
    sums = seen.world.add(gap_sums(gap, compared.rank))
    margins.copy_(next_margins(margins, sums))
    return loss


def ranking_loss(gap: Float[Tensor, "m"], rank: Int[Tensor, "m"], margins: Float[Tensor, "k"]) -> Float[Tensor, ""]:
    """Compute `max(0, S(I, T_k) - S(I, T) + tau_k)` of pairs (FG-CLIP 2, Xie et al., 2025, arXiv 2510.10921, eq. 2).

    Worked example: gaps 3 and 1 of a first wrong text whose margin is 2 cost 0 and 1; the loss is 1/2.

    Args:
        gap: `S(I, T) - S(I, T_k)`, the score of the right text less that of a wrong one.
        rank: The k of each pair.
        margins: `tau_k`.

    Returns:
        Mean over the pairs; 0 without one.

    Raises:
        InputError: `rank` has not one value a pair, or has no margin.
    """
    require_shape("rank", rank, tuple(gap.shape))
    require_index("rank", rank, 0, len(margins))
    if not len(gap):
        return connected_zero(gap)
    return F.relu(margins[rank] - gap).mean()


@torch.no_grad()
def gap_sums(gap: Float[Tensor, "m"], rank: Int[Tensor, "m"]) -> Float[Tensor, "2 k"]:
    """Return the sum and the number of gaps by k, on the CPU: what processes add up."""
    values = torch.stack([gap.double(), torch.ones_like(gap, dtype=torch.float64)]).cpu()
    return torch.zeros(2, MOST_NEGATIVES, dtype=torch.float64).index_add_(1, rank.cpu(), values)


def next_margins(margins: Float[Tensor, "k"], sums: Float[Tensor, "2 k"]) -> Float[Tensor, "k"]:
    """Return the mean gap of all processes by k (FG-CLIP 2, eq. 3); a k that no region had keeps its margin."""
    return torch.where(sums[1] > 0, sums[0] / sums[1].clamp_min(1), margins)
