"""Image-text retrieval: recall at k in both directions, many captions an image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from umgclip.metrics.inputs import require_integers, require_ks, require_scores, require_shape, require_some


def recall_at_k(
    similarity: Float[np.ndarray, "images texts"],
    image_of_text: Integer[np.ndarray, " texts"],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Fraction of queries that find a right item among the k best (Karpathy and Fei-Fei 2015, arXiv:1412.2306).

    Image to text, an image succeeds if any of its captions is among the k most similar texts; text to image, a
    caption succeeds if its one image is. Every item is ranked, whatever the sign of its similarity. Ties count
    against the model: a wrong item that scores as high as the right one ranks before it, so that a model giving the
    same similarity to all scores 0 at any k up to the number of wrong items, whatever the order of the files. An
    image without a caption is a distractor for text to image, and no query of image to text.

    With similarity ``[[.9, .1, .8], [.2, .3, .7]]`` and image_of_text ``[0, 0, 1]``: both images find a caption of
    theirs first (i2t_r1 is 1), while texts 1 and 2 prefer the wrong image (t2i_r1 is 1/3).

    Args:
        similarity: one row an image, one column a text; any unit, higher is more similar; no NaN.
        image_of_text: index of the image that each text describes.
        ks: cut-offs; one above the number of items means all of them.

    Returns:
        ``{"i2t_r1": ..., "t2i_r1": ...}``, one pair a cut-off, in [0, 1].

    Raises:
        InputError: shapes that disagree, no image or no text, a NaN, an image index that is no row, or a k below 1.
    """
    require_ks(ks)
    require_shape("similarity", similarity, "images texts")
    require_some("similarity", similarity)
    require_scores("similarity", similarity)
    images, texts = similarity.shape
    require_shape("image_of_text", image_of_text, "texts", texts=texts)
    require_integers("image_of_text", image_of_text, low=0, high=images)
    score = similarity[image_of_text, np.arange(texts)]
    captioned = np.bincount(image_of_text, minlength=images) > 0
    rank_of = {
        "i2t": _rank_of_best_caption(similarity, image_of_text, score)[captioned],
        "t2i": np.count_nonzero(similarity >= score, axis=0) - 1,
    }
    return {f"{direction}_r{k}": float((rank < k).mean()) for direction, rank in rank_of.items() for k in ks}


def _rank_of_best_caption(
    similarity: Float[np.ndarray, "images texts"],
    image_of_text: Integer[np.ndarray, " texts"],
    score: Float[np.ndarray, " texts"],
) -> Integer[np.ndarray, " images"]:
    images = similarity.shape[0]
    best = np.full(images, -np.inf, dtype=similarity.dtype)
    np.maximum.at(best, image_of_text, score)
    # an image's own captions that equal its best one are not wrong texts ranked before it
    own = np.bincount(image_of_text[score == best[image_of_text]], minlength=images)
    rank: np.ndarray = np.count_nonzero(similarity >= best[:, None], axis=1) - own
    return rank
