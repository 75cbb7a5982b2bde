"""Region-text contrast over all regions of the global batch, ragged, with joint positives."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.joint_softmax import joint_positive_nll
from umgclip.losses.similarity import Scalar, connected_zero, scaled_cosine
from umgclip.model.clip.placement import sent
from umgclip.train.objective.term import TermInputs

NO_TEXT = -1
"""In `text_of_region`: this region has no text."""


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Contrast regions (mask pooling, things by RoIAlign as well) with the texts that regions of the batch carry.

    Raises:
        InputError: the tower learns by sigmoids and has no bias.
    """
    texts, similarity = seen.region_names(), seen.similarity
    text_of = seen.row_of_name[seen.labels.region_text]
    text_of = torch.cat([text_of, text_of[~seen.labels.is_stuff]])
    described = (text_of != NO_TEXT).nonzero()[:, 0]
    regions = torch.cat([seen.by_mask, seen.by_box])
    if not len(described):
        return connected_zero(regions, texts, similarity.scale)
    positives = joint_positives(text_of[described], seen.names_by_base, seen.params.joint_threshold)
    regions = regions.index_select(0, seen.here(described))
    # every name is that of some region
    if similarity.pairwise == "softmax":
        return _both_ways(regions, texts, positives, similarity.scale)
    return _answers(regions, texts, positives, similarity.scale, similarity.required_bias)


def region_text_loss(
    region: Float[Tensor, "r d"],
    texts: Float[Tensor, "t d"],
    positives: Bool[Tensor, "r t"],
    logit_scale: Scalar,
) -> Float[Tensor, ""]:
    """Contrast regions and texts both ways, `-log sum_{j in P(i)} softmax_ij` (RegionCLIP, Zhong et al., CVPR 2022).

    Region to text: the texts that describe the region share the probability. Text to regions: the regions that carry
    the text share it. Each way is averaged over its own rows, then the two over each other.

    Nothing is padded: a padding row would add to every denominator and shrink the gradients. A region without any
    positive is left out altogether, also as a candidate, for what it shows is not known. A text that no region
    carries asks nothing but stays a candidate: a hard negative or a sample of the vocabulary.

    Args:
        region: Features of all regions of the (gathered) batch; normalised here.
        texts: Features of the texts, each distinct text once; normalised here.
        positives: True where the text describes the region, as `joint_positives` builds it.
        logit_scale: Multiplier of the cosines, already exponentiated.

    Returns:
        Mean of both directions, in nats; 0 when no region has a positive.

    Raises:
        InputError: `positives` is not (regions, texts).
    """
    require_shape("positives", positives, (region.shape[0], texts.shape[0]))
    described = positives.any(dim=1)
    if not described.any():
        return connected_zero(region, texts, logit_scale)
    return _both_ways(region[described], texts, positives[described], logit_scale, positives.any(dim=0))


def _both_ways(
    region: Float[Tensor, "r d"],
    texts: Float[Tensor, "t d"],
    positives: Bool[Tensor, "r t"],
    logit_scale: Scalar,
    carried: Bool[Tensor, "t"] | None = None,
) -> Float[Tensor, ""]:
    """Compute `region_text_loss` of regions with a positive each; `carried`: texts that have one; None: all do."""
    logits = scaled_cosine(region, texts, logit_scale)
    to_text = joint_positive_nll(logits, positives)
    columns, right = (logits.T, positives.T) if carried is None else (logits.T[carried], positives.T[carried])
    return (to_text.mean() + joint_positive_nll(columns, right).mean()) / 2


def region_sigmoid_loss(
    region: Float[Tensor, "r d"],
    texts: Float[Tensor, "t d"],
    positives: Bool[Tensor, "r t"],
    logit_scale: Scalar,
    logit_bias: Scalar,
) -> Float[Tensor, ""]:
    """Ask of every region and text whether they belong together (the pairwise sigmoid of SigLIP, Zhai et al., 2023).

    Several texts of one region, or regions of one text, are no conflict here: each pair is a question of its own. A
    region without any positive is left out, for what it shows is not known.

    Worked example: two regions, texts 0 and 1 theirs, cosines `[[1, 0], [0, 1]]`, scale `log 3`, bias 0: the four
    answers have probabilities 3/4, 1/2, 1/2, 3/4, so the loss is `-(2 log 3/4 + 2 log 1/2) / 2 = log 8/3`.

    Args:
        region: Features of all regions of the (gathered) batch; normalised here.
        texts: Features of the texts, each distinct text once; normalised here.
        positives: True where the text describes the region, as `joint_positives` builds it.
        logit_scale: Multiplier of the cosines, already exponentiated.
        logit_bias: Added to every logit.

    Returns:
        Sum over the pairs divided by the regions, in nats; 0 when no region has a positive.

    Raises:
        InputError: `positives` is not (regions, texts).
    """
    require_shape("positives", positives, (region.shape[0], texts.shape[0]))
    described = positives.any(dim=1)
    if not described.any():
        return connected_zero(region, texts, logit_scale, logit_bias)
    return _answers(region[described], texts, positives[described], logit_scale, logit_bias)


def _answers(
    region: Float[Tensor, "r d"],
    texts: Float[Tensor, "t d"],
    positives: Bool[Tensor, "r t"],
    logit_scale: Scalar,
    logit_bias: Scalar,
) -> Float[Tensor, ""]:
    """Compute `region_sigmoid_loss` of regions with a positive each."""
    logits = scaled_cosine(region, texts, logit_scale, logit_bias)
    return -F.logsigmoid(torch.where(positives, logits, -logits)).sum() / len(region)


@torch.no_grad()
def joint_positives(
    text_of_region: Int[Tensor, " r"],
    texts: Float[Tensor, "t d"],
    threshold: float | None = None,
) -> Bool[Tensor, "r t"]:
    """Tell which texts are right for each region: its own, and near-equal ones.

    Regions with the same text have the same index, so "a person" in two images is one text with two regions. "a man"
    beside "the man" has another index; with a threshold it counts as right as well, rather than as a false negative
    (CLOC, Chen et al., ICML 2025, takes 0.9 to drop such pairs; FG-CLIP 2, Xie et al., 2025, takes 0.95).

    Worked example: texts 0 and 1 have cosine 0.95 and text 2 is orthogonal; `text_of_region = [0, 2]` gives
    `[[1, 0, 0], [0, 0, 1]]` without a threshold, `[[1, 1, 0], [0, 0, 1]]` with 0.9.

    Args:
        text_of_region: Row of `texts` that describes the region, or -1 for none; best on the CPU, where it is checked.
        texts: Text features, normalised here; best from a frozen text tower, for they decide what is equal.
        threshold: Texts whose cosine exceeds it count as equal; None: only the same row does.

    Returns:
        Positives on the device of `texts`, without a gradient; a row of a region without text is all False.

    Raises:
        InputError: An index is below -1 or has no text.
    """
    require_index("text_of_region", text_of_region, NO_TEXT, texts.shape[0])
    text_of_region = sent(text_of_region, texts.device)
    candidates = torch.arange(texts.shape[0], device=text_of_region.device)
    matching = text_of_region[:, None] == candidates[None, :]
    if threshold is None or 0 in matching.shape:
        return matching
    described = text_of_region != NO_TEXT
    near = scaled_cosine(texts, texts) > threshold
    return matching | (near[text_of_region.clamp_min(0).long()] & described[:, None])
