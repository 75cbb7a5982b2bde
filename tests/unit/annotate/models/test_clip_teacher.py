"""The offline annotator: what it looks at, and what it need not look at twice."""

import numpy as np
import pytest
import torch

from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.roles import Proposal
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LabelParams, TowerParams

VOCABULARY = Vocabulary(things=("apple", "dog", "owl"), stuff=("sand",), held_out=("owl",))


class Counting(DenseClip):
    """Counts the images that are encoded."""

    images = 0

    def encode_image(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.images += len(images)
        return super().encode_image(images)

    def encode_global(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return super().encode_global(images)


@pytest.fixture
def tower(tiny: TowerParams) -> Counting:
    torch.manual_seed(0)
    return Counting(build(tower_config(tiny)).eval())


def proposals(things: int) -> list[Proposal]:
    """Disjoint strips in falling score, then the ground."""
    found = []
    for row in range(things):
        mask = np.zeros((96, 96), bool)
        mask[row * 4 : row * 4 + 4, 10:80] = True
        found.append(Proposal.of_mask(mask, 1 - row / 100))
    ground = np.zeros((96, 96), bool)
    ground[90:] = True
    return [*found, Proposal.of_mask(ground, 1.0, is_stuff=True)]


@pytest.mark.parametrize(
    ("caption", "looks"),
    [("a dog", 5), ("a dog and an apple on sand", 8), ("an owl", 5), ("nothing known", 2), ("", 2)],
)
def test_more_things_are_looked_at_the_more_the_caption_names(tower: Counting, caption: str, looks: int) -> None:
    params = LabelParams(looks_at_least=2, looks_per_noun=3, keep_unlabelled=20)
    teacher = ClipTeacher(tower, "t", VOCABULARY, params)
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    tower.images = 0
    kept = teacher.tag_regions([pixels], [caption], [proposals(20)])[0]
    assert tower.images == looks + 1  # and the ground
    scores = sorted((p.score for p in kept if not p.is_stuff), reverse=True)
    assert scores[-1] >= 1 - (looks - 1) / 100, "the best come first"
    assert sum(p.is_stuff for p in kept) == 1


def test_images_that_were_tagged_are_not_encoded_again_for_the_filter(tower: Counting) -> None:
    teacher = ClipTeacher(tower, "t", VOCABULARY, LabelParams())
    images = list(np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), dtype=np.uint8))
    fresh = teacher.score(images, ["a dog", "an apple", "sand"])
    teacher.tag_images(images, ["", "", ""])
    tower.images = 0
    assert teacher.score([images[2], images[0]], ["sand", "a dog"]) == pytest.approx([fresh[2], fresh[0]], abs=1e-6)
    assert tower.images == 0
    teacher.score([images[0].copy()], ["a dog"])
    assert tower.images == 1, "another image is looked at"


def test_a_held_out_name_is_recognised_and_not_written(tower: Counting) -> None:
    teacher = ClipTeacher(tower, "t", VOCABULARY, LabelParams(threshold=0.0))
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    kept = teacher.tag_regions([pixels], ["an owl"], [proposals(3)])[0]
    assert kept
    assert all(not p.tags for p in kept if not p.is_stuff)
    assert all(p.embedding is not None for p in kept)


def test_images_of_any_size_are_embedded(tower: Counting) -> None:
    teacher = ClipTeacher(tower, "t", VOCABULARY, LabelParams(crop_px=None))
    sizes = ((96, 96), (300, 50), (40, 333))
    images = [np.random.default_rng(i).integers(0, 255, (*size, 3), dtype=np.uint8) for i, size in enumerate(sizes)]
    tags, features = teacher.tag_images(images, ["a dog", "an apple", "sand"]), teacher.embed_images(images)
    assert [len(each) for each in tags] == [1, 1, 1]
    assert features.shape == (3, 64)
    assert len(teacher.score(images, ["a dog"] * 3)) == 3


def test_crops_of_half_a_patch_are_refused(tower: Counting) -> None:
    with pytest.raises(InputError, match=r"annotate.label.crop_px: expected a multiple .* \(12, 12\), got 50"):
        ClipTeacher(tower, "t", VOCABULARY, LabelParams(crop_px=50))
