"""Image-level tags asked of regions: each tag must be seen in some region of its image."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.similarity import Scalar, connected_zero, scaled_cosine
from umgclip.model.clip.placement import sent
from umgclip.train.objective.term import TermInputs


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Ask of each image's regions for the image's tags."""
    labels = seen.labels
    tags = seen.texts(labels.tag_texts)
    return region_tag_loss(seen.by_mask, labels.image_of_region, tags, labels.tag_targets, seen.similarity.scale)


def region_tag_loss(
    region: Float[Tensor, "r d"],
    image_of_region: Int[Tensor, " r"],
    tag_text: Float[Tensor, "v d"],
    targets: Bool[Tensor, "b v"],
    logit_scale: Scalar,
) -> Float[Tensor, ""]:
    """Contrast tags and images through each image's best region (multiple instances, as MIL-NCE, Miech et al., 2020).

    A tag says that something is in the image, not where. The image's score for a tag is that of its best region. For
    each tag of an image that score competes with the image's scores for tags that it does not have, and with the scores
    of the images that do not have the tag; other right answers are left out of both.

    Args:
        region: Features of all regions of the (gathered) batch, labelled or not; normalised here.
        image_of_region: Row of `targets` that each region belongs to; best on the CPU, as `targets`.
        tag_text: Features of the distinct tags; normalised here.
        targets: True where the image has the tag.
        logit_scale: Multiplier of the cosines, already exponentiated.

    Returns:
        Mean over tags of images and over both directions, in nats; 0 when no image with a region has a tag.

    Raises:
        InputError: Shapes do not fit, or an index has no image.
    """
    images, tags = targets.shape
    require_shape("image_of_region", image_of_region, (region.shape[0],))
    require_shape("tag_text", tag_text, (tags, region.shape[1]))
    require_index("image_of_region", image_of_region, 0, images)
    seen = torch.bincount(image_of_region, minlength=images) > 0
    if not targets[seen].any():
        return connected_zero(region, tag_text, logit_scale)
    scores = _best_region(scaled_cosine(region, tag_text, logit_scale), image_of_region, images)
    scores = scores.index_select(0, sent(seen.nonzero()[:, 0], scores.device))
    asked = targets[seen].sum()
    targets = sent(targets[seen], scores.device)
    rest = scores.masked_fill(targets, -torch.inf)
    by_image, by_tag = rest.logsumexp(dim=1)[:, None], rest.logsumexp(dim=0)[None, :]
    costs = torch.logaddexp(scores, by_image) + torch.logaddexp(scores, by_tag) - 2 * scores
    return torch.where(targets, costs, 0.0).sum() / (2 * int(asked))


def _best_region(scores: Float[Tensor, "r v"], image_of_region: Int[Tensor, " r"], images: int) -> Float[Tensor, "b v"]:
    """Return the largest score of each image; rows of images without a region are -inf."""
    counts = torch.bincount(image_of_region, minlength=images)
    order = torch.argsort(image_of_region, stable=True)
    starts = counts.cumsum(0) - counts
    most = max(1, int(counts.max()))
    rank = torch.arange(len(order), device=order.device) - starts[image_of_region[order]]
    place = sent(image_of_region[order] * most + rank, scores.device)
    table = scores.new_full((images * most, scores.shape[1]), -torch.inf)
    table = table.index_copy(0, place, scores.index_select(0, sent(order, scores.device)))
    return table.unflatten(0, (images, most)).amax(dim=1)
