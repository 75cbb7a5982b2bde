"""Training objectives over whole images: pure functions of features, one a file, float32 inside, safe on empty batches.

None of them communicates: for a contrast over the global batch the caller gathers the features first.
"""

from umgclip.losses.image_text import info_nce, sigmoid_loss
from umgclip.losses.tags import Asymmetry, asymmetric_loss

__all__ = ["Asymmetry", "asymmetric_loss", "info_nce", "sigmoid_loss"]
