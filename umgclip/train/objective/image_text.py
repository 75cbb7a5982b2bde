"""The term `image_text`: images against their captions."""

from jaxtyping import Float
from torch import Tensor

from umgclip.losses.image_text import info_nce, sigmoid_loss
from umgclip.train.objective.term import Seen


def term(seen: Seen) -> Float[Tensor, ""]:
    """Contrast images with captions, by softmax or by sigmoids as the tower does; images without one are left out."""
    caption = seen.labels.caption.to(seen.device)
    captioned = caption >= 0
    rows = seen.rows_of(caption[captioned])
    image, text, similarity = seen.image[captioned], seen.texts(caption[captioned]), seen.similarity
    if similarity.pairwise == "softmax":
        return info_nce(image, text, similarity.scale, rows)
    return sigmoid_loss(image, text, similarity.scale, similarity.required_bias, rows)
