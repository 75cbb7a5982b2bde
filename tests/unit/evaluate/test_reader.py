"""How a model reads images, masks, crops and class names."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from umgclip.evaluate.benchmarks.region import RegionTop1
from umgclip.evaluate.benchmarks.semantic import label_map
from umgclip.evaluate.examples import read_examples
from umgclip.evaluate.reader import Reader
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.crops import crop_region
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.readout import pool_masks, read_masks


def test_templates_are_averaged_and_normalised(read_with, kit):
    class PromptTower(kit.ColourTower):
        def encode_text(self, tokens):  # the second template, marked by a second word, points elsewhere
            return F.normalize(tokens.float() + torch.eye(8)[7] * (tokens.sum(1, keepdim=True) > 1), dim=-1)

    params = kit.PARAMS.model_copy(update={"thing_templates": ["{}", "{} sand"]})
    expected = F.normalize(torch.eye(8)[0] + F.normalize(torch.eye(8)[0] + 2 * torch.eye(8)[7], dim=0), dim=0)
    assert torch.allclose(read_with(PromptTower(), params).things[0], expected)


def test_masks_of_one_image_are_pooled_as_pool_masks_does():
    generator = torch.Generator().manual_seed(0)
    dense = F.normalize(torch.randn(16, 5, 7, generator=generator), dim=0)
    masks = np.random.default_rng(0).random((4, 30, 42)) < 0.3
    weights = torch.from_numpy(np.stack([mask_ops.to_grid(mask, (5, 7)) for mask in masks]))
    expected = pool_masks(dense[None], weights, torch.zeros(4, dtype=torch.long))
    assert torch.allclose(read_masks(dense, list(masks)), expected, atol=1e-6)


def test_label_map_is_the_argmax_of_upsampled_scores(read_with, kit):
    reader = read_with(kit.RandomTower())
    dense = F.normalize(torch.randn(8, 4, 6, generator=torch.Generator().manual_seed(1)), dim=0)
    scores = torch.einsum("cd,dhw->chw", reader.all_classes, dense)
    expected = F.interpolate(scores[None], (20, 33), mode="bilinear", align_corners=False)[0].argmax(0)
    assert np.array_equal(label_map(reader, dense, (20, 33)), expected.numpy())


def test_images_of_another_size_are_squeezed_to_the_square(toy, read_with, kit):
    seen_sizes = []

    class SizeTower(kit.ColourTower):
        def encode_image(self, images):
            seen_sizes.append(tuple(images.shape))
            return super().encode_image(images)

    params = kit.PARAMS.model_copy(update={"image_px": 12})
    read_with(SizeTower(), params).see(list(read_examples(toy, kit.CLASSES))[:3])
    assert seen_sizes == [(3, 3, 12, 12)]


def test_crops_are_the_shared_crops_one_a_region(toy, read_with, kit, monkeypatch):
    reader = read_with(kit.ColourTower(), kit.PARAMS.model_copy(update={"crop_px": 10}))
    example = next(read_examples(toy, kit.CLASSES))
    encoded = []
    monkeypatch.setattr(reader, "crops", lambda crops: encoded.append(crops) or torch.zeros(len(crops), 8))
    RegionTop1(reader).add([example], reader.see([example]))
    plain, masked = encoded
    for crops, frame, fill in ((plain, 0.8, "none"), (masked, 0.6, "background")):
        for crop, region in zip(crops, example.things, strict=True):
            mask = None if fill == "none" else region.mask
            assert np.array_equal(crop, crop_region(example.pixels, region.box_xyxy, mask, 10, frame, fill))


def test_a_masked_out_crop_hides_the_neighbours(read_with, kit):
    # two things that touch: the plain crop shows both, the masked-out crop one
    drawn = kit.draw([0, 1], 0, slots=((4, 8), (12, 8)))
    mask = mask_ops.decode(drawn.record.regions[0].mask)
    canvas = kit.COLOURS[np.where(mask, 0, np.where(mask_ops.decode(drawn.record.regions[1].mask), 1, 6))]
    box = drawn.record.regions[0].box_xyxy
    plain = crop_region(canvas, box, None, 24, 0.6)
    masked = crop_region(canvas, box, mask, 24, 0.6, "background")
    neighbour = kit.COLOURS[1]
    assert (plain == neighbour).all(-1).any()
    assert not (masked == neighbour).all(-1).any()


def test_padded_images_have_maps_of_their_own_size(toy, read_with, kit):
    class Padded(kit.ColourTower):
        def encode_image(self, images, valid=None):
            image, dense = super().encode_image(images)
            return image, dense.masked_fill(~valid[:, None], torch.nan)

    example = next(read_examples(toy, kit.CLASSES))
    reader = Reader(Padded(), kit.tokenize, kit.CLASSES, kit.PARAMS, ImageInput((36, 24), (1, 1), "pad"))
    seen = reader.see([example])
    assert [tuple(dense.shape[1:]) for dense in seen.dense] == [(24, 24)]
    assert seen.dense[0].isfinite().all()
    squashed = RegionTop1(read_with(kit.ColourTower()))
    squashed.add([example], read_with(kit.ColourTower()).see([example]))
    padded = RegionTop1(reader)
    reader.clip = replace(reader.clip, tower=kit.ColourTower())  # crops are not padded
    padded.add([example], seen)
    for readout in ("box", "mask"):
        assert np.array_equal(padded.predictions(readout), squashed.predictions(readout))
