"""Image-text retrieval: recall at k in both directions, many captions an image."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from umgclip.metrics.inputs import require_integers, require_ks, require_scores, require_shape, require_some

_BLOCK_CELLS = 1 << 26  # 256 MiB of float32, and as much for comparing


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
    ranks = retrieval_ranks(similarity, image_of_text)
    return {f"{way}_r{k}": float((rank < k).mean()) for way, rank in ranks.items() for k in ks}


def retrieval_ranks(
    similarity: Float[np.ndarray, "images texts"], image_of_text: Integer[np.ndarray, " texts"]
) -> dict[str, Integer[np.ndarray, " queries"]]:
    """Count the wrong items that rank before the best right one, by direction: `i2t` (images with captions), `t2i`.

    Arguments and errors as in `recall_at_k`.
    """
    require_shape("similarity", similarity, "images texts")
    require_some("similarity", similarity)
    images, texts = similarity.shape
    require_shape("image_of_text", image_of_text, "texts", texts=texts)
    require_integers("image_of_text", image_of_text, low=0, high=images)
    score = similarity[image_of_text, np.arange(texts)]
    return {
        "i2t": _ranks_of_block(similarity, image_of_text, np.arange(texts)),
        "t2i": np.count_nonzero(similarity >= score, axis=0) - 1,
    }


def retrieval_ranks_in_blocks(
    similarity_of: Callable[[slice], Float[np.ndarray, "rows texts"]],
    images: int,
    image_of_text: Integer[np.ndarray, " texts"],
    block_cells: int = _BLOCK_CELLS,
) -> dict[str, Integer[np.ndarray, " queries"]]:
    """Compute `retrieval_ranks` in blocks, for similarity matrices that do not fit in memory.

    A caption's own score must come from the very product that it is compared with, for another order of summing
    rounds otherwise. So with several blocks each is computed twice: for the scores, and for the ranks.

    Args:
        similarity_of: gives the similarities of some images (rows of the whole matrix) and all texts.
        images: number of images.
        image_of_text: index of the image that each text describes.
        block_cells: most similarities in memory at once.

    Raises:
        InputError: as `retrieval_ranks` raises it.
    """
    texts = len(image_of_text)
    rows = max(1, block_cells // max(1, texts))
    if rows >= images:
        return retrieval_ranks(similarity_of(slice(0, images)), image_of_text)
    require_integers("image_of_text", image_of_text, low=0, high=images)
    blocks = [slice(first, min(first + rows, images)) for first in range(0, images, rows)]
    score = np.empty(texts, dtype=np.float32)
    i2t = []
    for block in blocks:
        similarity = similarity_of(block)
        require_shape("similarity", similarity, "rows texts", rows=block.stop - block.start, texts=texts)
        captions = np.flatnonzero((image_of_text >= block.start) & (image_of_text < block.stop))
        score[captions] = similarity[image_of_text[captions] - block.start, captions]
        i2t.append(_ranks_of_block(similarity, image_of_text[captions] - block.start, captions))
    t2i = np.full(texts, -1, dtype=np.int64)
    for block in blocks:
        t2i += np.count_nonzero(similarity_of(block) >= score, axis=0)
    return {"i2t": np.concatenate(i2t), "t2i": t2i}


def _ranks_of_block(
    similarity: Float[np.ndarray, "rows texts"],
    row_of_caption: Integer[np.ndarray, " captions"],
    captions: Integer[np.ndarray, " captions"],
) -> Integer[np.ndarray, " captioned"]:
    require_scores("similarity", similarity)
    # an image's own captions that equal its best one are not wrong texts ranked before it
    best = np.full(len(similarity), -np.inf, dtype=similarity.dtype)
    np.maximum.at(best, row_of_caption, similarity[row_of_caption, captions])
    equal = similarity[row_of_caption, captions] == best[row_of_caption]
    rank = np.count_nonzero(similarity >= best[:, None], axis=1) - np.bincount(
        row_of_caption[equal], minlength=len(best)
    )
    return rank[np.bincount(row_of_caption, minlength=len(best)) > 0]
