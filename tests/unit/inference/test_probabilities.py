"""One rule for probabilities: `Model.classify`, the answers of the server and the evaluation agree."""

import numpy as np
import pytest
import torch

from umgclip.evaluate.examples import Classes
from umgclip.evaluate.reader import Reader
from umgclip.inference.answerer import Answerer
from umgclip.inference.model import Model
from umgclip.io.images import encode_png
from umgclip.model.clip import files
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.reader import Scoring
from umgclip.model.clip.tower import DenseClip
from umgclip.params import EvaluateParams

LABELS = ["dog", "apple", "cat"]
PIXELS = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
BOX = [[0, 0, 48, 48]]


@pytest.mark.parametrize("bias", [None, -3.0])
def test_all_readers_give_one_probability(tiny, bias):
    torch.manual_seed(0)
    config = files.tower_config(tiny) | ({} if bias is None else {"init_logit_bias": bias})
    clip = files.build(config).eval()
    tower = DenseClip(clip).eval()
    model = Model(clip, device="cpu")
    answerer = Answerer(clip, vocabulary=LABELS, device="cpu")
    request = {"image": encode_png(PIXELS), "labels": LABELS, "boxes": BOX, "tags": 3}
    [answer] = answerer.answer([answerer.prepare(request)])
    params = EvaluateParams(image_px=96, thing_templates=["{a} {}"])
    reader = Reader(
        tower, tower.tokenizer, Classes(tuple(LABELS), (), frozenset()), params, ImageInput.of(tower, 96, "squash")
    )
    with torch.inference_mode():
        image, _ = tower.encode_image(files.to_input(PIXELS[None]))
        logits = tower.logit_scale() * image @ tower.encode_text(tower.tokenizer(["a dog", "an apple", "a cat"])).T
        wanted = logits.softmax(1) if bias is None else torch.sigmoid(logits + bias)
    close = {"atol": 1e-6}
    np.testing.assert_allclose(model.classify(PIXELS, LABELS), wanted, **close)
    np.testing.assert_allclose(answer["label_scores"], wanted[0], **close)
    np.testing.assert_allclose(reader.probabilities(image), wanted, **close)
    np.testing.assert_allclose(answer["box_label_scores"], model.classify(PIXELS, LABELS, boxes_xyxy=BOX), **close)
    best = wanted[0].argsort(descending=True)
    assert [tag["label"] for tag in answer["tags"]] == [LABELS[index] for index in best]
    np.testing.assert_allclose([tag["score"] for tag in answer["tags"]], wanted[0][best], **close)


def test_a_bias_changes_no_ranking_and_no_choice_among_exclusive_classes():
    rows, labels = torch.randn(5, 8), torch.randn(4, 8)
    softmax, sigmoid = Scoring(10.0), Scoring(10.0, -2.0)
    assert torch.equal(
        softmax.probabilities(rows / 9, labels / 9).argsort(1), sigmoid.probabilities(rows / 9, labels / 9).argsort(1)
    )
    assert torch.equal(softmax.exclusive(rows @ labels.T), sigmoid.exclusive(rows @ labels.T))
