"""Half precision reaches every model, and neither coordinates nor scores are lost by it."""

import pytest
import torch

from umgclip.annotate.models.build import build_model
from umgclip.annotate.models.foundation.sam2 import Sam2
from umgclip.annotate.models.foundation.sam3 import Sam3
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.params import AnnotateParams
from umgclip.params.annotators import Sam2Params, Sam3Params

FILLS = {
    "florence2": ("caption_images", "caption_regions", "tag_images", "propose_images"),
    "grounding_dino": ("propose_images",), "mm_grounding_dino": ("propose_images",), "owlv2": ("propose_images",),
    "detr": ("propose_images",), "rt_detr_v2": ("propose_images",), "mask2former": ("propose_images",),
    "sam2": ("refine_images", "propose_images"), "sam3": ("refine_images", "propose_images"),
    "clip": ("tag_images", "tag_regions"), "siglip2": ("tag_images", "tag_regions"),
    "blip2": ("caption_images", "caption_regions"), "qwen3_vl": ("caption_images", "caption_regions"),
}  # fmt: skip
SETTINGS = {
    "florence2": {"max_new_tokens": 4}, "blip2": {"max_new_tokens": 4}, "qwen3_vl": {"max_new_tokens": 4},
    "sam2": {"points_per_side": 4}, "sam3": {"threshold": 0.0, "stuff_threshold": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", FILLS)
def test_every_role_answers(weights, images, vocabulary, name, dtype):
    kind = "clip" if name == "siglip2" else name
    entry = {"kind": kind, "path": weights(name), "dtype": dtype, "device": "cpu", **SETTINGS.get(name, {})}
    params = AnnotateParams.model_validate({"models": {"m": entry}})
    model = build_model(params.models, "m", vocabulary)
    assert next(model._loaded.model.parameters()).dtype == model._loaded.dtype
    for role in FILLS[name]:
        places = [[Proposal.of_box((4.0, 4.0, 40.0, 50.0), i.shape[:2], 0.5)] for i in images]
        if role == "tag_regions":
            answers = model.tag_regions(images, [""] * 3, places)
        else:
            answers = getattr(model, role)(images, places if role[:2] in ("ca", "re") else ["a cat"] * 3)
        assert len(answers) == 3
        assert not [a for a in answers if isinstance(a, Failure)], answers


def test_prompts_of_sam3_keep_their_coordinates(weights, images, vocabulary):
    model = Sam3(Sam3Params(path=weights("sam3"), dtype="bf16", device="cpu"), "m", vocabulary)
    seen = []
    model._loaded.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    model.refine_images(images[:1], [[Proposal.of_box((11.25, 10.75, 50.5, 61.25), (96, 128), 0.5)]])
    (given,) = seen
    assert given["input_boxes"].dtype == given["vision_embeds"].fpn_hidden_states[0].dtype == torch.float32
    center = torch.tensor([30.875 / 128, 36 / 96, 39.25 / 128, 50.5 / 96])
    torch.testing.assert_close(given["input_boxes"][0, 0], center)


def test_prompts_of_masks_keep_their_coordinates(weights, images):
    model = Sam2(Sam2Params(path=weights("sam2"), dtype="bf16", device="cpu"), "m")
    seen = []
    model._loaded.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    model.refine_images(images[:1], [[Proposal.of_box((11.25, 10.75, 50.5, 61.25), (96, 128), 0.5)]])
    (given,) = seen
    assert given["input_boxes"].dtype == torch.float32
    assert given["image_embeddings"][0].dtype == torch.float32
    torch.testing.assert_close(given["input_boxes"][0, 0], torch.tensor([11.25, 10.75 * 4 / 3, 50.5, 61.25 * 4 / 3]))
