"""Softmax cross-entropy where one row may have several right answers."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def joint_positive_nll(logits: Float[Tensor, "n m"], positives: Bool[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """Compute `-log sum_{j in P(i)} softmax_ij` for each row (RegionCLIP, Zhong et al., CVPR 2022).

    The positives share the probability, so that the loss reaches 0 however many there are. With one positive a row it
    is the ordinary cross-entropy.

    Worked example: a row of logits `[log 3, log 1, log 4]` has the softmax `[3/8, 1/8, 4/8]`; with the first two
    positive its loss is `-log(4/8) = log 2`.

    Args:
        logits: One row for each query.
        positives: True where the candidate is right; every row must have at least one.

    Returns:
        Negative log-likelihood of each row, in nats, >= 0 up to rounding.

    Example:
        >>> logits = torch.tensor([[3.0, 1.0, 4.0]]).log()  # (1, 3)
        >>> joint_positive_nll(logits, torch.tensor([[True, True, False]]))
        tensor([0.6931])
    """
    # The largest logit leaves in log_softmax; two logsumexps of logits near 100 would lose 1e-5 in their difference.
    log_probabilities = torch.log_softmax(logits, dim=-1)
    return -torch.logsumexp(log_probabilities.masked_fill(~positives, -torch.inf), dim=-1)
