"""Dense tokens that look at their neighbours: timm's towers, padding, and the files that remember it."""

import json

import pytest
import torch

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_file import read_object
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage, read_usage, write_usage
from umgclip.model.clip.vision.reach import neighbours, reach_of, set_reach
from umgclip.params import TrainParams


@pytest.mark.parametrize("name", ["ViT-B-32", "EVA02-B-16"])
@torch.no_grad()
def test_a_token_sees_its_neighbours_and_no_further(make_named, name):
    """Changing the values of one token in the last block changes the tokens in its reach alone."""
    clip = make_named(name)
    tower = DenseClip(clip)
    side = 5 * tower.patch_px[0]
    images = torch.randn(1, 3, side, side)
    visual = clip.visual
    last = (visual.trunk.blocks if hasattr(visual, "trunk") else visual.transformer.resblocks)[-1]
    middle = 1 + 2 * 5 + 2  # behind the class token

    def disturb(module, inputs):
        x = inputs[0].clone()
        x[:, middle] = 3 * torch.randn(x.shape[2])
        return (x, *inputs[1:])

    for reach in (0, 1, 2):
        set_reach(clip, reach)
        before = tower.encode_image(images)[1][0]
        hook = last.register_forward_pre_hook(disturb)
        after = tower.encode_image(images)[1][0]
        hook.remove()
        moved = (before - after).abs().amax(0) > 1e-6
        expected = torch.zeros(5, 5, dtype=torch.bool)
        expected[2 - reach : 3 + reach, 2 - reach : 3 + reach] = True
        assert torch.equal(moved, expected)


@pytest.mark.parametrize("name", ["ViT-B-32", "EVA02-B-16"])
@torch.no_grad()
def test_padding_is_no_neighbour(make_named, name):
    clip = make_named(name)
    set_reach(clip, 1)
    tower = DenseClip(clip)
    patch = tower.patch_px[0]
    images = torch.randn(1, 3, 4 * patch, 4 * patch)
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[:, :3, :2] = True
    noisy = images.clone()
    noisy[:, :, 3 * patch :] = 9.0
    noisy[:, :, :, 2 * patch :] = -9.0
    for one, two in zip(tower.encode_image(images, valid), tower.encode_image(noisy, valid), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_neighbours_lie_on_the_grid():
    near = neighbours(2, 3, 1, torch.device("cpu"))
    assert near[0].tolist() == [True, True, False, True, True, False]
    assert near[4].tolist() == [True] * 6
    assert torch.equal(near, near.T)


def test_files_remember_the_reach(make_clip, tiny, tmp_path):
    clip = make_clip(0)
    for folder in ("base", "saved", "exported"):
        (tmp_path / folder).mkdir()
    files.save(tmp_path / "base", clip, files.tower_config(tiny))
    assert "dense_reach" not in read_object(tmp_path / "base" / files.CONFIG)["umgclip"]
    set_reach(clip, 2)
    files.save(tmp_path / "saved", clip, files.tower_config(tiny))
    assert reach_of(files.load(tmp_path / "saved")[0].visual) == 2
    write_usage(tmp_path / "exported", DenseClip(clip), Usage(DenseClip(clip).preprocess), "0" * 64)
    assert read_object(tmp_path / "exported" / "umgclip_preprocess.json")["dense_reach"] == 2
    assert read_usage(tmp_path / "exported") is not None
    config = read_object(tmp_path / "saved" / files.CONFIG)
    for wrong in (-1, 1.5, "2", 65, True):
        config["umgclip"]["dense_reach"] = wrong
        (tmp_path / "saved" / files.CONFIG).write_text(json.dumps(config))
        with pytest.raises(DataError, match="dense_reach: expected a whole number from 0 to 64, got"):
            files.load(tmp_path / "saved")


def test_a_tuned_model_looks_as_far_as_in_training(make_clip, tiny, tmp_path):
    (tmp_path / "base").mkdir()
    base = make_clip(0)
    digest = files.save(tmp_path / "base", base, files.tower_config(tiny))
    adapt(base, TrainParams()).save(tmp_path / "train" / "adapter")
    adapter = sha256_file(tmp_path / "train" / "adapter" / "adapter_model.safetensors")
    facts = {"base_sha256": digest, "adapter_sha256": adapter, "image_hw": [120, 120], "dense_reach": 1}
    (tmp_path / "train" / "train.json").write_text(json.dumps(facts))
    tuned = load_tuned(tmp_path / "base", tmp_path / "train" / "adapter")
    assert reach_of(tuned.visual) == 1
    assert DenseClip(tuned).image_hw == (120, 120)
