"""A model that is given another side for good: same embeddings, and a file that plain open_clip loads."""

import json

import open_clip
import pytest
import torch

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_file import read_object
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.native_side import set_native_side
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams

SIDES = {"ViT-B-32": (128, 96), "ViT-B-16-SigLIP": (96, 128), "EVA02-B-16": (128, 96), "convnext_base": (96, 64)}


@pytest.mark.parametrize("positions", ["antialiased", "plain"])
@pytest.mark.parametrize("name", SIDES)
def test_embeddings_are_those_of_a_forward_at_that_side(make_named, shallow, tmp_path, name, positions):
    clip = make_named(name)
    clip.visual.umgclip_positions = positions
    clip.umgclip_config = shallow(name)
    images = torch.randn(2, 3, *SIDES[name])
    with torch.no_grad():
        before = DenseClip(clip).encode_image(images)
        set_native_side(clip, SIDES[name])
        after = DenseClip(clip).encode_image(images)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert DenseClip(clip).image_hw == SIDES[name]
    files.save(tmp_path, clip, clip.umgclip_config)
    again = files.load(tmp_path)[0]
    assert DenseClip(again).image_hw == SIDES[name]
    with torch.no_grad():
        torch.testing.assert_close(DenseClip(again).encode_image(images)[1], after[1], atol=1e-5, rtol=1e-5)


def test_plain_open_clip_loads_the_larger_model(make_clip, tiny, tmp_path):
    clip = make_clip(0)
    clip.umgclip_config = files.tower_config(tiny)
    set_native_side(clip, (144, 144))
    files.save(tmp_path, clip, clip.umgclip_config)
    loaded, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    assert tuple(torch.tensor(transform.transforms[0].size).expand(2).tolist()) == (144, 144)
    images = torch.randn(2, 3, 144, 144)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval().encode_image(images), clip.encode_image(images), atol=1e-5, rtol=1e-5)


def test_a_tuned_model_has_the_side_that_it_was_tuned_at(make_clip, tiny, tmp_path):
    (tmp_path / "base").mkdir()
    base = make_clip(0)
    files.save(tmp_path / "base", base, files.tower_config(tiny))
    adapt(base, TrainParams()).save(tmp_path / "train" / "adapter")
    report = tmp_path / "train" / "train.json"
    hashes = {"base_sha256": read_object(tmp_path / "base" / files.CONFIG)["umgclip"]["weights_sha256"]}
    hashes["adapter_sha256"] = sha256_file(tmp_path / "train" / "adapter" / "adapter_model.safetensors")

    def loaded(image_hw):
        report.write_text(json.dumps(hashes | ({} if image_hw is None else {"image_hw": image_hw})))
        return DenseClip(load_tuned(tmp_path / "base", tmp_path / "train" / "adapter"))

    assert loaded(None).image_hw == (96, 96)
    assert loaded([144, 144]).image_hw == (144, 144)
    for wrong in ([100, 96], "144", [144], [0, 0]):
        with pytest.raises(DataError, match="train.json: image_hw: "):
            loaded(wrong)


def test_a_side_between_patches_is_refused(make_clip):
    with pytest.raises(InputError, match=r"multiples of the patch \(12, 12\), got \(100, 96\)"):
        set_native_side(make_clip(0), (100, 96))
