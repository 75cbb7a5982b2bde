"""Training objectives: pure functions of features, one a file, float32 inside, safe on empty batches.

None of them communicates: for a contrast over the global batch the caller gathers the features first.
"""

from umgclip.losses.combine import TERMS, combine
from umgclip.losses.distill import cosine_distillation, relational_keep
from umgclip.losses.image_text import info_nce, sigmoid_loss
from umgclip.losses.pixel import mask_dice_loss, pixel_loss
from umgclip.losses.region_tags import region_tag_loss
from umgclip.losses.region_text import joint_positives, region_sigmoid_loss, region_text_loss
from umgclip.losses.tags import Asymmetry, asymmetric_loss, tag_loss

__all__ = [
    "TERMS",
    "Asymmetry",
    "asymmetric_loss",
    "combine",
    "cosine_distillation",
    "info_nce",
    "joint_positives",
    "mask_dice_loss",
    "pixel_loss",
    "region_sigmoid_loss",
    "region_tag_loss",
    "region_text_loss",
    "relational_keep",
    "sigmoid_loss",
    "tag_loss",
]
