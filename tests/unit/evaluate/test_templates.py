"""Class prompts."""

import open_clip
import pytest
import torch

from umgclip.errors import InputError
from umgclip.evaluate.examples import Classes
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.templates import template_set
from umgclip.model.clip.tokenizer import Tokenizer
from umgclip.model.clip.tower import DenseClip
from umgclip.params import EvaluateParams

NAMES = ("tench", "great white shark", "owl")


def test_named_sets():
    assert len(template_set("thing_templates", "openai80", ())) == 80
    assert template_set("thing_templates", "simple", ())[0] == "itap of a {}."
    assert template_set("thing_templates", "manifest", ["a satellite photo of {}."]) == ("a satellite photo of {}.",)
    assert template_set("thing_templates", ["{a} {}"], ["unused {}"]) == ("{a} {}",)


def test_templates_that_the_benchmark_lacks_are_named():
    with pytest.raises(InputError, match="evaluate.thing_templates: expected simple, openai80 or a list, .* manifest"):
        template_set("thing_templates", "manifest", ())


def test_class_embeddings_equal_open_clips_zero_shot_classifier():
    torch.manual_seed(0)
    text = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    clip = open_clip.CLIP(
        8, {"image_size": 24, "patch_size": 12, "width": 16, "layers": 1, "head_width": 8}, text
    ).eval()
    params = EvaluateParams(image_px=24, thing_templates="openai80")
    classes = Classes(NAMES, (), frozenset(), prompt_names={"owl": "barn owl"})
    things = Reader(DenseClip(clip), Tokenizer(32), classes, params).things
    want = open_clip.build_zero_shot_classifier(
        clip,
        open_clip.SimpleTokenizer(context_length=32),
        ["tench", "great white shark", "barn owl"],
        open_clip.OPENAI_IMAGENET_TEMPLATES,
    )
    assert torch.allclose(things.clone(), want.T, atol=1e-5)
