"""The policy `nsfw` on a tiny classifier and on tiny CLIPs."""

import numpy as np
import pytest
import torch

from umgclip.annotate.models.foundation.clip import Clip
from umgclip.annotate.models.policy.nsfw import Nsfw
from umgclip.annotate.rejected import Failure
from umgclip.annotate.roles import Policy
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.params.annotators import ClipParams, NsfwParams

PROMPTS = {"unsafe": ["a naked person", "gore"], "safe": ["a landscape", "a portrait", "a drawing"]}


def scores(policy, images):
    return [found[0].score for found in policy.judge_images(images)]


def test_a_classifiers_label(weights, images):
    policy = Nsfw(NsfwParams(path=weights("vit"), threshold=0.0, batch=2), "m")
    assert isinstance(policy, Policy)
    found = policy.judge_images(images)
    assert [(one.role, one.reason, one.box_xyxy) for (one,) in found] == [("policy", "nsfw", None)] * 3
    assert all(one.source == policy.name and one.source.startswith("nsfw/vit@") for (one,) in found)
    both = Nsfw(NsfwParams(path=weights("vit"), threshold=0.0, unsafe=["nsfw", "normal"]), "m")
    assert scores(both, images) == [1.0] * 3
    middle = sorted(scores(policy, images))[1]
    some = Nsfw(NsfwParams(path=weights("vit"), threshold=middle - 1e-4), "m").judge_images(images)
    assert sorted(map(len, some)) == [0, 1, 1]


def test_a_label_that_the_classifier_lacks_is_refused(weights):
    with pytest.raises(InputError, match=r"m.unsafe: expected labels of normal, nsfw, got porn"):
        Nsfw(NsfwParams(path=weights("vit"), unsafe=["porn"]), "m")


def test_prompts_of_a_clip_share_one_whole(weights, images):
    params = NsfwParams(path=weights("clip"), threshold=0.0, **PROMPTS)
    turned = params.model_copy(update={"unsafe": PROMPTS["safe"], "safe": PROMPTS["unsafe"]})
    pairs = zip(scores(Nsfw(params, "m"), images), scores(Nsfw(turned, "m"), images), strict=True)
    assert [unsafe + safe for unsafe, safe in pairs] == pytest.approx([1.0] * 3, abs=2e-4)


def test_prompts_of_a_siglip_stand_by_themselves(weights, images):
    policy = Nsfw(NsfwParams(path=weights("siglip2"), threshold=0.0, **PROMPTS), "m")
    reader = Clip(ClipParams(path=weights("siglip2"), template="{}"), "m", Vocabulary(tuple(PROMPTS["unsafe"]), (), ()))
    with torch.inference_mode():
        expected = [float(np.max(row)) for row in reader.concept_scores(images)]
    assert scores(policy, images) == pytest.approx(expected, abs=1e-4)


def test_an_image_that_the_model_refuses_is_a_failure_of_its_own(weights, images, monkeypatch):
    policy = Nsfw(NsfwParams(path=weights("vit"), threshold=0.0), "m")
    asked = policy._reader.scores
    bad = images[1].shape

    def fails(batch):
        if any(pixels.shape == bad for pixels in batch):
            raise ValueError("cannot be looked at")
        return asked(batch)

    monkeypatch.setattr(policy._reader, "scores", fails)
    first, second, third = policy.judge_images(images)
    assert (len(first), len(third)) == (1, 1)
    assert second == Failure("model_error", "ValueError: cannot be looked at")
