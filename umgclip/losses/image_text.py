"""Image-caption contrast: InfoNCE (CLIP) and the pairwise sigmoid (SigLIP)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.losses.checks import require_shape
from umgclip.losses.joint_softmax import joint_positive_nll
from umgclip.losses.similarity import Scalar, connected_zero, scaled_cosine


def info_nce(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    logit_scale: Scalar,
    text_ids: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute symmetric InfoNCE over the batch (CLIP, Radford et al., ICML 2021), aware of equal captions.

    Row i of `image` belongs with row i of `text`. Where several rows carry the same caption, its other copies are
    joint positives: with plain labels they are false negatives and the loss cannot go below `k / b * log k` for a
    caption that comes k times. Without equal ids the result is open_clip's ClipLoss.

    Args:
        image: Image features of the whole (gathered) batch; normalised here.
        text: Caption features, row by row with `image`; normalised here.
        logit_scale: Multiplier of the cosines, already exponentiated.
        text_ids: Any integers, equal where the captions are; None when all captions differ.

    Returns:
        Mean of image-to-text and text-to-image loss, in nats; 0 for an empty batch.

    Raises:
        InputError: `text` or `text_ids` does not have the rows of `image`.

    Example:
        >>> features = torch.eye(2)  # (2, 2): two images, each equal to its own text
        >>> round(info_nce(features, features, logit_scale=100.0).item(), 4)
        0.0
        >>> same = torch.tensor([7, 7])  # both images have the same caption
        >>> round(info_nce(features, torch.ones(2, 2), 100.0, same).item(), 4)
        0.0
    """
    positives = _pairs(image, text, text_ids)
    if image.shape[0] == 0:
        return connected_zero(image, text, logit_scale)
    logits = scaled_cosine(image, text, logit_scale)
    to_text = joint_positive_nll(logits, positives)
    to_image = joint_positive_nll(logits.T, positives)  # the pairs are symmetric
    return (to_text.mean() + to_image.mean()) / 2


def sigmoid_loss(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    logit_scale: Scalar,
    logit_bias: Scalar,
    text_ids: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the pairwise sigmoid loss over the batch (SigLIP, Zhai et al., ICCV 2023).

    Each of the b x b pairs is a yes-or-no question. Without equal ids the result is open_clip's SigLipLoss.

    Args:
        image: Image features of the whole (gathered) batch; normalised here.
        text: Caption features, row by row with `image`; normalised here.
        logit_scale: Multiplier of the cosines, already exponentiated.
        logit_bias: Added to every logit; SigLIP starts it at -10, for most pairs are negative.
        text_ids: Any integers, equal where the captions are: such pairs are positives too. None: all differ.

    Returns:
        Sum over the pairs divided by the images, in nats; 0 for an empty batch.

    Raises:
        InputError: `text` or `text_ids` does not have the rows of `image`.

    Example:
        >>> features = torch.eye(2)  # (2, 2)
        >>> round(sigmoid_loss(features, features, logit_scale=0.0, logit_bias=0.0).item(), 4)  # 2 log 2
        1.3863
    """
    positives = _pairs(image, text, text_ids)
    if image.shape[0] == 0:
        return connected_zero(image, text, logit_scale, logit_bias)
    logits = scaled_cosine(image, text, logit_scale, logit_bias)
    return -F.logsigmoid(torch.where(positives, logits, -logits)).sum() / image.shape[0]


def _pairs(image: Tensor, text: Tensor, text_ids: Tensor | None) -> Bool[Tensor, "b b"]:
    """Tell which image goes with which text: the diagonal, and every other copy of its caption."""
    rows = image.shape[0]
    require_shape("text", text, tuple(image.shape))
    if text_ids is None:
        return torch.eye(rows, dtype=torch.bool, device=image.device)
    require_shape("text_ids", text_ids, (rows,))
    return text_ids[:, None] == text_ids[None, :]
