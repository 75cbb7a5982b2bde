"""Two teachers in one: what they agree on, which region is the place of a name, and what they may not say."""

import numpy as np
import pytest
import torch

from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.models.tuned_reader import ImageReading, TunedReader
from umgclip.annotate.models.tuned_teacher import Agreement, SecondOpinion, TunedTeacher
from umgclip.annotate.roles import Partly, Proposal
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LabelParams, TowerParams, TunedParams

VOCABULARY = Vocabulary(things=("apple", "dog", "owl"), stuff=("sand", "snow"), held_out=("owl",))


def agreement(first: list[float], second: list[float]) -> Agreement:
    return Agreement(("apple", "dog"), np.array(first), np.array(second), ("base", "tuned"))


def test_agreement_raises_a_label_and_names_both_sources():
    (text,) = agreement([0.6, 0.2], [0.5, 0.3]).texts(0, 0.4)
    # one of the two is right: 1 - 0.4 x 0.5
    assert text.score == pytest.approx(0.8)
    assert (text.text, text.source, text.agreed_by) == ("apple", "base", ["tuned"])


def test_disagreement_lowers_a_label_and_both_texts_stay_with_their_sources():
    label, other = agreement([0.2, 0.6], [0.5, 0.3]).texts(0, 0.3)
    assert (label.text, label.source, label.score, label.agreed_by) == ("apple", "tuned", 0.3, None)
    # the other text comes second whatever its own source thinks of it
    assert (other.text, other.source, other.score) == ("dog", "base", 0.3)


def test_a_name_that_neither_likes_best_is_removed():
    assert agreement([0.2, 0.6], [0.1, 0.3]).texts(0, 0.3) == ()


def reading(places: np.ndarray, scale: float = 50.0) -> ImageReading:
    """A map of 4 x 4 cells that show one concept each, by its position in the vocabulary."""
    concepts = torch.eye(5)
    dense = concepts[torch.from_numpy(places).long()].permute(2, 0, 1)
    return ImageReading(torch.nn.functional.normalize(torch.ones(5), dim=0), dense, concepts, scale)


@pytest.fixture
def half() -> ImageReading:
    """A dog on the left half, snow on the right."""
    places = np.full((4, 4), 4)
    places[:, :2] = 1
    return reading(places)


def masks_of(*boxes: tuple[int, int, int, int]) -> list[np.ndarray]:
    masks = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((8, 8), bool)
        mask[y0:y1, x0:x1] = True
        masks.append(mask)
    return masks


def test_the_whole_fits_its_name_better_than_a_part_or_more_than_it(half):
    whole, part, more = (0, 0, 4, 8), (0, 0, 4, 4), (0, 0, 8, 8)
    fits = half.fits(half.weights(masks_of(whole, part, more)), [1], things=3)
    # Dice coefficients of areas 8, 4 and 16 cells with the place of 8
    assert fits[:, 0] == pytest.approx([1, 2 * 4 / 12, 2 * 8 / 24], abs=1e-3)


def test_the_fit_decides_between_nested_regions(half):
    opinion = SecondOpinion(half, VOCABULARY, TunedParams(weight=0.0, fit=1.0), ("base", "tuned"))
    masks = masks_of((0, 0, 4, 8), (0, 0, 4, 4))
    joint = opinion.joint(np.array([[0.4], [0.5]]), masks, [1])
    assert joint[:, 0] == pytest.approx([0.4, 0.5 * 2 / 3], abs=1e-3)


def test_a_background_is_named_by_both(half):
    opinion = SecondOpinion(half, VOCABULARY, TunedParams(weight=0.75), ("base", "tuned"))
    (ground,) = masks_of((4, 0, 8, 8))
    region = Proposal.of_mask(ground, 1.0, is_stuff=True)
    # the base leans to sand, the tuned model sees snow
    label, other = opinion.ground(region, np.array([0.6, 0.4]), [0, 1], 0.3)
    assert [(t.text, t.source) for t in (label, other)] == [("snow", "tuned"), ("sand", "base")]
    assert opinion.ground(region, np.array([0.6, 0.4]), [0], 0.3) == ()
    assert opinion.ground(region, np.array([0.5, 0.5]), [0, 1], 1.0) == ()


def test_a_held_out_name_is_no_label_and_no_second_text(half):
    opinion = SecondOpinion(half, VOCABULARY, TunedParams(), ("base", "tuned"))
    (mask,) = masks_of((0, 0, 4, 8))
    region = Proposal.of_mask(mask, 1.0)
    base = np.array([0.0, 0.0, 9.0])
    # the base says owl, the tuned model dog
    assert opinion.label(region, base, [1, 2], 1, 0.5) == ()
    texts = opinion.label(region, base, [1, 2], 0, 0.5)
    assert [(text.text, text.source) for text in texts] == [("dog", "tuned")]
    assert opinion.refused == []
    # neither says apple, which is counted as refused
    assert opinion.label(region, base, [0, 1, 2], 0, 0.5) == ()
    (refused,) = opinion.refused
    assert (refused.role, refused.reason, refused.text.text) == ("region_tagger", "disagreement", "apple")


class Counting(DenseClip):
    """Counts the images that are encoded."""

    images = 0

    def encode_image(self, images: torch.Tensor, valid: torch.Tensor | None = None):
        self.images += len(images)
        return super().encode_image(images, valid)

    def encode_global(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return super().encode_global(images)


@pytest.fixture
def teacher(tiny: TowerParams) -> TunedTeacher:
    torch.manual_seed(0)
    towers = [Counting(build(tower_config(tiny)).eval()) for _ in range(2)]
    base = ClipTeacher(towers[0], "base", VOCABULARY, LabelParams(threshold=0.0))
    reader = ClipReader(towers[1], towers[1].tokenizer, ImageInput.of(towers[1]))
    teacher = TunedTeacher(
        base, TunedReader(reader, "tuned", VOCABULARY, 0.5), VOCABULARY, TunedParams(threshold=0, tag_threshold=0.0)
    )
    teacher.tower = towers[1]
    return teacher


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)


def proposals() -> list[Proposal]:
    masks = np.zeros((3, 96, 96), bool)
    masks[0, 10:40, 10:40] = masks[1, 50:80, 50:80] = masks[2, 90:] = True
    return [Proposal.of_mask(masks[0], 0.9), Proposal.of_mask(masks[1], 0.8), Proposal.of_mask(masks[2], 1.0, True)]


def test_an_image_is_read_once_for_all_roles(teacher, pixels):
    teacher.begin_batch([pixels])
    teacher.tag_regions([pixels], ["a dog and an apple"], [proposals()])
    teacher.tag_images([pixels], ["a dog"])
    teacher.score([pixels, pixels], ["a dog", "an apple"])
    assert teacher.tower.images == 1


def test_labels_name_their_sources(teacher, pixels):
    (tagged,) = teacher.tag_regions([pixels], ["a dog, an owl and an apple"], [proposals()])
    labels = [tag for proposal in tagged for tag in proposal.tags]
    assert labels
    assert {tag.source for tag in labels} | {name for tag in labels for name in tag.agreed_by or []} <= {
        "base", "tuned",
    }  # fmt: skip
    assert "owl" not in {tag.text for tag in labels}
    refused = tagged.refused if isinstance(tagged, Partly) else ()
    assert len(labels) + len(refused) >= 1


def test_tags_of_an_image_without_a_caption_come_from_the_tuned_model(teacher, pixels):
    (named,) = teacher.tag_images([pixels], ["a dog"])
    assert {(tag.text, tag.source) for tag in named} <= {("dog", "alt"), ("dog", "tuned")}
    (seen,) = teacher.tag_images([pixels], [""])
    assert sorted(tag.text for tag in seen) == ["apple", "dog", "owl"]
    assert [tag.score for tag in seen] == sorted((tag.score for tag in seen), reverse=True)
    assert {tag.source for tag in seen} == {"tuned"}


def test_the_filter_is_the_mean_of_both(teacher, pixels):
    (score,) = teacher.score([pixels], ["a dog"])
    (first,) = teacher._base.score([pixels], ["a dog"])
    (image,) = teacher._tuned.read([pixels])
    second = float((image.image @ teacher._tuned.texts(["a dog"])[0] + 1) / 2)
    assert score == pytest.approx((first + second) / 2)
