"""Pixel-text objective: dense tokens against the texts of the regions that cover them."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.joint_softmax import joint_positive_nll
from umgclip.losses.similarity import Scalar, connected_zero, full_precision, scaled_cosine
from umgclip.model.clip.placement import sent
from umgclip.train.objective.region_text import joint_positives
from umgclip.train.objective.term import TermInputs


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Ask of this process's tokens which of the batch's region texts they show."""
    batch = seen.global_batch.on_cpu
    target = seen.row_of_name[seen.joint_places[batch.token_text]]
    texts, threshold = seen.region_names(), seen.params.joint_threshold
    equal = None
    if threshold is not None:
        equal = joint_positives(torch.arange(len(texts)), seen.names_by_base, threshold)
    return pixel_loss(seen.local.tokens, texts, target, batch.token_weight, seen.similarity.scale, equal)


def pixel_loss(
    tokens: Float[Tensor, "n d"],
    texts: Float[Tensor, "t d"],
    target: Int[Tensor, " n"],
    weight: Float[Tensor, " n"],
    logit_scale: Scalar,
    equal: Bool[Tensor, "t t"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the weighted cross-entropy of dense tokens against region texts.

    A token that its region covers by half counts half. Tokens with weight 0 are dropped before the product, so that
    background costs neither memory nor time; their target is not read.

    Worked example: cosines `[1, 0]` and `[0, 1]` at scale `log 3` give the softmaxes `[3/4, 1/4]` and `[1/4, 3/4]`;
    with targets `[0, 0]` and weights `[1, .5]` the loss is `(log 4/3 + .5 log 4) / 1.5`.

    Args:
        tokens: Dense features of all token grids of the batch, flattened; normalised here.
        texts: Features of the region texts, each distinct text once; normalised here.
        target: Row of `texts` for each token; any value where the weight is 0. Best on the CPU, as `weight`.
        weight: Fraction of the token that its region covers, in [0, 1].
        logit_scale: Multiplier of the cosines, already exponentiated.
        equal: Which texts are right wherever another is, that one included: they share the probability. None: a text is
            equal to itself only.

    Returns:
        Weighted mean, in nats; 0 when no token has weight.

    Raises:
        InputError: `target` or `weight` has not one value a token, `equal` is not (texts, texts), or a weighted token's
            target is no row of `texts`.
    """
    rows = tokens.shape[0]
    require_shape("target", target, (rows,))
    require_shape("weight", weight, (rows,))
    weighted = (weight > 0).nonzero()[:, 0]
    if not len(weighted):
        return connected_zero(tokens, texts, logit_scale)
    target, weight = target[weighted].long(), full_precision(weight[weighted])
    require_index("target", target, 0, texts.shape[0])
    weighted, target, weight = (sent(values, tokens.device) for values in (weighted, target, weight))
    logits = scaled_cosine(tokens.index_select(0, weighted), texts, logit_scale)
    if equal is None:
        costs = F.cross_entropy(logits, target, reduction="none")
    else:
        require_shape("equal", equal, (texts.shape[0], texts.shape[0]))
        costs = joint_positive_nll(logits, equal[target])
    return (costs * weight).sum() / weight.sum()
