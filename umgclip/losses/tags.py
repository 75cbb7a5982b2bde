"""Image-tag objective: multi-label classification against tag texts, with the asymmetric loss."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.errors import InputError
from umgclip.losses.checks import require_shape
from umgclip.losses.similarity import full_precision


@dataclass(frozen=True, slots=True)
class Asymmetry:
    """The parameters by which the asymmetric loss weighs easy answers (Ridnik et al., ICCV 2021).

    With gamma_neg = gamma_pos = clip = 0 the loss is plain binary cross-entropy.

    Attributes:
        gamma_neg: Focusing power on negatives, >= 0. The paper's 4; RAM and Tag2Text take 7.
        gamma_pos: Focusing power on positives, >= 0.
        clip: Probability taken off each negative, in [0, 1): negatives below it cost nothing.

    Raises:
        InputError: A field is out of its range.
    """

    gamma_neg: float = 4.0
    gamma_pos: float = 0.0
    clip: float = 0.05

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, gamma in (("gamma_neg", self.gamma_neg), ("gamma_pos", self.gamma_pos)):
            if not gamma >= 0:
                raise InputError(f"{name}: expected a number >= 0, got {gamma}")
        if not 0 <= self.clip < 1:
            raise InputError(f"clip: expected a number in [0, 1), got {self.clip}")


DEFAULT_ASYMMETRY = Asymmetry()


def asymmetric_loss(
    logits: Float[Tensor, "b v"],
    targets: Bool[Tensor, "b v"],
    mask: Bool[Tensor, "b v"] | None = None,
    asymmetry: Asymmetry = DEFAULT_ASYMMETRY,
) -> Float[Tensor, ""]:
    """Compute the asymmetric loss of multi-label logits (ASL, Ridnik et al., ICCV 2021, equations 4 to 6).

    With p = sigmoid(logit) and p_m = max(p - clip, 0): a positive costs `-(1 - p)^gamma_pos log p`, a negative
    `-p_m^gamma_neg log(1 - p_m)`. The gradient is the formula's own, through the focusing factors too; the authors'
    code holds those constant by default.

    Args:
        logits: One row for each image, one column for each tag.
        targets: True where the image has the tag.
        mask: True where that is known; None: all known. What is not known is not counted, in sum or in mean.
        asymmetry: The focusing powers and the clip.

    Returns:
        Sum over an image's known tags, averaged over the images with any known tag, in nats; 0 when there is none.

    Raises:
        InputError: `targets` or `mask` is not of the logits' shape.

    Example:
        >>> logits = torch.zeros(1, 2)  # (1, 2): one image, two tags, p = 1/2
        >>> plain = Asymmetry(gamma_neg=0.0, gamma_pos=0.0, clip=0.0)
        >>> round(asymmetric_loss(logits, torch.tensor([[True, False]]), asymmetry=plain).item(), 4)  # 2 log 2
        1.3863
    """
    require_shape("targets", targets, tuple(logits.shape))
    if mask is None:
        mask = torch.ones_like(targets)
    require_shape("mask", mask, tuple(logits.shape))
    logits = full_precision(logits)
    costs = torch.where(targets, _positive(logits, asymmetry), _negative(logits, asymmetry))
    counted = torch.where(mask, costs, torch.zeros_like(costs))
    return counted.sum() / mask.any(dim=1).sum().clamp_min(1)


def _positive(logits: Tensor, asymmetry: Asymmetry) -> Tensor:
    """Cost of each cell as a positive; powers are taken as logarithms, which have a finite gradient at p = 1."""
    return -torch.exp(asymmetry.gamma_pos * F.logsigmoid(-logits)) * F.logsigmoid(logits)


def _negative(logits: Tensor, asymmetry: Asymmetry) -> Tensor:
    """Cost of each cell as a negative."""
    if asymmetry.clip == 0:
        return -torch.exp(asymmetry.gamma_neg * F.logsigmoid(logits)) * F.logsigmoid(-logits)
    shifted = F.relu(torch.sigmoid(logits) - asymmetry.clip)
    return -shifted.pow(asymmetry.gamma_neg) * torch.log1p(-shifted)
