"""A region's own text against wrong ones that look right, ragged: regions have none or up to ten of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.similarity import connected_zero, full_precision, unit_rows
from umgclip.train.objective.labels import are_negatives
from umgclip.train.objective.term import TermInputs


class Compared(NamedTuple):
    """Cosines of rows (regions by mask, then things by box) with their right text and with wrong ones.

    Every row has a wrong text. `row` is that of each pair with a wrong text, and `rank` the wrong text's number among
    those of its region.
    """

    right: Float[Tensor, "n"]
    wrong: Float[Tensor, "m"]
    row: Int[Tensor, "m"]
    rank: Int[Tensor, "m"]


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Ask each of this process's regions which of its texts is right.

    A tower that learns by a softmax is asked for one of them, one that learns by sigmoids about each.

    Raises:
        InputError: the tower learns by sigmoids and has no bias.
    """
    compared, similarity = compare(seen), seen.similarity
    right, wrong = similarity.scale * compared.right, similarity.scale * compared.wrong
    if similarity.pairwise == "softmax":
        return hard_negative_loss(right, wrong, compared.row)
    return hard_negative_sigmoid_loss(right + similarity.required_bias, wrong + similarity.required_bias)


def compare(seen: TermInputs) -> Compared:
    """Compare this process's regions with their right text and their wrong ones; a wrong text of equal tokens is none.

    Regions without a text or without a wrong one leave no trace.
    """
    batch, places = seen.global_batch.batch, seen.here(seen.joint_places)
    pairs = are_negatives(batch, places)
    region = batch.region_of_negative[pairs]
    regions, row = region.unique(return_inverse=True)  # ascending, as `region` is
    counts = torch.bincount(row, minlength=len(regions))
    rank = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    right = seen.texts(places[batch.region_text[regions]])
    wrong = seen.texts(places[batch.negative_text[pairs]])
    things = ~batch.is_stuff
    thing = things.cumsum(0) - 1  # their rows in `by_box`
    boxed = things[regions]
    of_boxed = boxed[row]
    box_row = (boxed.cumsum(0) - 1)[row[of_boxed]]
    by_mask, by_box = seen.local.by_mask[regions], seen.local.by_box[thing[regions[boxed]]]
    return Compared(
        right=torch.cat([_cosine(by_mask, right), _cosine(by_box, right[boxed])]),
        wrong=torch.cat([_cosine(by_mask[row], wrong), _cosine(by_box[box_row], wrong[of_boxed])]),
        row=torch.cat([row, len(regions) + box_row]),
        rank=torch.cat([rank, rank[of_boxed]]),
    )


def _cosine(left: Float[Tensor, "n d"], right: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    return (unit_rows(left) * unit_rows(right)).sum(dim=1)


def hard_negative_loss(
    right: Float[Tensor, "n"], wrong: Float[Tensor, "m"], row: Int[Tensor, "m"]
) -> Float[Tensor, ""]:
    """Compute the cross-entropy of each row's right text among its own texts (FG-CLIP, Xie et al., ICML 2025).

    Worked example: a right text of logit 0 with one wrong text of logit `log 3` costs `log 4`; another with wrong texts
    of logits 0 and 0 costs `log 3`. The loss is their mean.

    Args:
        right: Logit of the right text.
        wrong: Logits of the wrong texts of all rows.
        row: Their rows; each row has at least one.

    Returns:
        Mean over the rows, in nats; 0 without a row.

    Raises:
        InputError: `row` has not one value a wrong text, or names no row.
    """
    require_shape("row", row, tuple(wrong.shape))
    require_index("row", row, 0, len(right))
    if not len(right):
        return connected_zero(right, wrong)
    excess = full_precision(wrong) - full_precision(right)[row]
    # the largest exponent of a row leaves its sum, so that none overflows
    most = torch.zeros_like(right, dtype=excess.dtype).scatter_reduce(0, row, excess.detach(), "amax")
    odds = torch.zeros_like(most).index_add(0, row, torch.exp(excess - most[row]))
    return (most + torch.log(torch.exp(-most) + odds)).mean()


def hard_negative_sigmoid_loss(right: Float[Tensor, "n"], wrong: Float[Tensor, "m"]) -> Float[Tensor, ""]:
    """Ask of every text of a row whether it is right (the pairwise sigmoid of SigLIP, Zhai et al., 2023).

    Args:
        right: Logit of each row's right text, bias included.
        wrong: Logits of the wrong texts of all rows, bias included.

    Returns:
        Sum over the texts divided by the rows, in nats; 0 without a row.
    """
    if not len(right):
        return connected_zero(right, wrong)
    costs = -F.logsigmoid(full_precision(right)).sum() - F.logsigmoid(-full_precision(wrong)).sum()
    return costs / len(right)
