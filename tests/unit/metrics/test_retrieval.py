"""Recall at k, in both directions."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.retrieval import recall_at_k, retrieval_ranks, retrieval_ranks_in_blocks


def slow_recall(similarity, image_of_text, k):
    """Sort every query's items, the wrong ones first among equals."""
    images, texts = similarity.shape
    i2t = []
    for image in range(images):
        if image not in image_of_text:
            continue
        order = sorted(range(texts), key=lambda text: (-similarity[image, text], image_of_text[text] == image))
        i2t.append(any(image_of_text[text] == image for text in order[:k]))
    t2i = []
    for text in range(texts):
        order = sorted(range(images), key=lambda image: (-similarity[image, text], image_of_text[text] == image))
        t2i.append(image_of_text[text] in order[:k])
    return sum(i2t) / len(i2t), sum(t2i) / len(t2i)


def test_hand_computed():
    # given two images; texts 0 and 1 describe the first, text 2 the second
    similarity = np.array([[0.9, 0.1, 0.8], [0.2, 0.3, 0.7]])
    # when
    got = recall_at_k(similarity, np.array([0, 0, 1]), ks=(1, 2))
    # then both images find text of theirs first, but texts 1 and 2 prefer the wrong image
    assert got == pytest.approx({"i2t_r1": 1, "i2t_r2": 1, "t2i_r1": 1 / 3, "t2i_r2": 1})


def test_default_keys():
    got = recall_at_k(np.eye(2), np.array([0, 1]))
    assert set(got) == {"i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"}
    assert set(got.values()) == {1.0}


def test_scores_of_zero_and_below_are_ranked():
    # given only negative similarities: the right item is the least negative
    got = recall_at_k(-2 + np.eye(3), np.arange(3), ks=(1,))
    assert got == {"i2t_r1": 1.0, "t2i_r1": 1.0}


def test_constant_similarity_scores_nothing():
    assert recall_at_k(np.zeros((4, 4)), np.arange(4), ks=(1, 3, 4)) == {
        **{"i2t_r1": 0.0, "i2t_r3": 0.0, "i2t_r4": 1.0},
        **{"t2i_r1": 0.0, "t2i_r3": 0.0, "t2i_r4": 1.0},
    }


def test_own_captions_that_tie_do_not_push_each_other_down():
    # given two captions of image 0 as similar as each other, and a worse wrong one
    similarity = np.array([[0.5, 0.5, 0.1], [0.0, 0.0, 0.9]])
    assert recall_at_k(similarity, np.array([0, 0, 1]), ks=(1,))["i2t_r1"] == 1.0


def test_image_without_caption_is_only_a_distractor():
    # given image 1 without a caption, more similar to text 0 than its own image
    similarity = np.array([[0.5], [0.6]])
    assert recall_at_k(similarity, np.array([0]), ks=(1, 2)) == {
        **{"i2t_r1": 1.0, "i2t_r2": 1.0},
        **{"t2i_r1": 0.0, "t2i_r2": 1.0},
    }


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("levels", [2, 5, 100_000])
def test_equals_slow_oracle(seed, levels):
    rng = np.random.default_rng(seed)
    images, texts = int(rng.integers(1, 9)), int(rng.integers(1, 25))
    similarity = (rng.integers(-levels, levels, (images, texts)) / levels).astype(np.float32)
    image_of_text = rng.integers(0, images, texts)
    got = recall_at_k(similarity, image_of_text, ks=(1, 3, 50))
    for k in (1, 3, 50):
        assert (got[f"i2t_r{k}"], got[f"t2i_r{k}"]) == pytest.approx(slow_recall(similarity, image_of_text, k))


def test_order_of_the_images_is_of_no_account():
    # given similarities with many ties, when images are renamed, then nothing changes
    rng = np.random.default_rng(3)
    similarity, image_of_text = rng.integers(0, 3, (6, 12)).astype(float), rng.integers(0, 6, 12)
    order = rng.permutation(6)
    renamed = np.argsort(order)[image_of_text]
    assert recall_at_k(similarity, image_of_text) == recall_at_k(similarity[order], renamed)


def test_equals_torchmetrics_on_positive_scores():
    retrieval = pytest.importorskip("torchmetrics.retrieval")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    similarity, image_of_text = rng.random((12, 40)) + 0.01, rng.permutation(np.arange(40) % 12)
    right = np.arange(12)[:, None] == image_of_text
    text_of_pair = torch.arange(40).repeat(12)
    image_of_pair = torch.arange(12).repeat_interleave(40)
    scores, target = torch.from_numpy(similarity).flatten(), torch.from_numpy(right).flatten()
    got = recall_at_k(similarity, image_of_text, ks=(1, 5))
    for k in (1, 5):
        # a text has one image, so that its recall is its hit rate
        assert got[f"t2i_r{k}"] == pytest.approx(
            float(retrieval.RetrievalRecall(top_k=k)(scores, target, indexes=text_of_pair))
        )
        assert got[f"i2t_r{k}"] == pytest.approx(
            float(retrieval.RetrievalHitRate(top_k=k)(scores, target, indexes=image_of_pair))
        )


@pytest.mark.parametrize(
    ("similarity", "image_of_text", "ks", "message"),
    [
        (np.zeros(3), np.zeros(3, int), (1,), r"similarity: expected shape \(images, texts\), got \(3,\)"),
        (np.zeros((2, 3)), np.zeros(2, int), (1,), r"image_of_text: expected shape \(texts=3\), got \(2,\)"),
        (np.zeros((2, 0)), np.zeros(0, int), (1,), r"similarity: expected at least one element, got shape \(2, 0\)"),
        (np.full((1, 1), np.nan), np.zeros(1, int), (1,), "similarity: expected no NaN, got 1 of 1"),
        (np.zeros((2, 1)), np.array([2]), (1,), "image_of_text: expected values below 2, got 2"),
        (np.zeros((2, 1)), np.array([-1]), (1,), "image_of_text: expected values of at least 0, got -1"),
        (np.zeros((2, 1)), np.array([0]), (5, 0), r"ks: expected one or more integers of at least 1, got \(5, 0\)"),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came(similarity, image_of_text, ks, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        recall_at_k(similarity, image_of_text, ks)


@pytest.mark.parametrize("block_cells", [1, 40, 90, 10_000])
def test_blocks_of_images_rank_as_the_whole_matrix_does(block_cells):
    rng = np.random.default_rng(5)
    image_of_text = rng.permutation(np.repeat(np.arange(12), rng.integers(0, 5, 12)))
    similarity = (rng.integers(-3, 4, (12, len(image_of_text))) / 3).astype(np.float32)
    asked = []

    def block(rows):
        asked.append(rows.stop - rows.start)
        return similarity[rows]

    got = retrieval_ranks_in_blocks(block, 12, image_of_text, block_cells)
    want = retrieval_ranks(similarity, image_of_text)
    assert all(np.array_equal(got[way], want[way]) for way in ("i2t", "t2i"))
    assert max(asked) * len(image_of_text) <= max(block_cells, len(image_of_text))
