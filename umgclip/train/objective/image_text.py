"""The terms `image_text` and `long_text`: images against their captions, short and long."""

from jaxtyping import Float, Int
from torch import Tensor

from umgclip.losses.image_text import info_nce, sigmoid_loss
from umgclip.train.objective.term import TermInputs


def term(seen: TermInputs) -> Float[Tensor, ""]:
    """Contrast images with captions, by softmax or by sigmoids as the tower does; images without one are left out."""
    return _contrast(seen, seen.labels.caption)


def long_term(seen: TermInputs) -> Float[Tensor, ""]:
    """Contrast images with their long captions (FG-CLIP, Xie et al., ICML 2025): the same embedding of the image."""
    return _contrast(seen, seen.labels.long_caption)


def _contrast(seen: TermInputs, caption: Int[Tensor, "b"]) -> Float[Tensor, ""]:
    captioned = (caption >= 0).nonzero()[:, 0]
    rows = seen.rows_of(caption[captioned])
    image, text = seen.image.index_select(0, seen.here(captioned)), seen.texts(caption[captioned])
    similarity = seen.similarity
    if similarity.pairwise == "softmax":
        return info_nce(image, text, similarity.scale, rows)
    return sigmoid_loss(image, text, similarity.scale, similarity.required_bias, rows)
