"""The sample that labels are examined on: which images it has, what is pasted where, and what is counted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from umgclip.annotate.calibration import run
from umgclip.annotate.calibration.measure import Examiner
from umgclip.annotate.calibration.pasting import ground_of, paste
from umgclip.annotate.calibration.sample import sample_images
from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.plan import jobs_of
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import Vocabulary, mine
from umgclip.io.manifest import read_manifest
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import AnnotateParams, LabelParams, ProposerParams, TowerParams
from umgclip.params.roles import RolesParams
from umgclip.records import parse_record


def jobs(data: Path) -> list:
    return jobs_of(data / "train", read_manifest(data / "train"), "train")


def test_the_sample_is_spread_over_the_shards(few):
    keys = [raw.key for _, raw in read_raw(few / "train")]  # two shards of six
    assert [one.record.key for one in sample_images(jobs(few), 4)] == [keys[0], keys[3], keys[6], keys[9]]
    assert [one.record.key for one in sample_images(jobs(few), 100)] == keys


def test_an_object_is_pasted_whole():
    pixels = np.full((60, 80, 3), 20, np.uint8)
    donor = np.full((50, 50, 3), 90, np.uint8)
    mask = np.zeros((50, 50), bool)
    mask[10:30, 5:45] = True
    donor[mask] = (200, 10, 10)
    for seed in range(5):
        done = paste(pixels, donor, mask, np.random.default_rng(seed))
        assert done.mask.sum() == pytest.approx(800 * (done.mask.any(0).sum() / 40) ** 2, rel=0.1)
        assert 0.75 < done.mask.any(0).sum() / 40 < 1.25
        assert (done.pixels[done.mask] == (200, 10, 10)).all()
        assert (done.pixels[~done.mask] == 20).all()


def test_an_object_can_take_the_colour_of_what_it_covers():
    pixels, donor = np.full((40, 40, 3), 100, np.uint8), np.full((20, 20, 3), 200, np.uint8)
    done = paste(pixels, donor, np.ones((20, 20), bool), np.random.default_rng(0), match=0.6)
    assert done.mask.any()
    assert np.abs(done.pixels[done.mask].astype(int) - 140).max() <= 1


def test_a_large_object_is_shrunk_to_the_image():
    pixels = np.zeros((20, 30, 3), np.uint8)
    done = paste(pixels, np.full((90, 90, 3), 255, np.uint8), np.ones((90, 90), bool), np.random.default_rng(0))
    assert done.mask.any(1).sum() == done.mask.any(0).sum() == 20


def test_the_ground_is_what_the_border_shows():
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[10:40, 10:40] = 255
    assert ground_of(pixels) == pytest.approx(ground_of(np.zeros((50, 50, 3), np.uint8)))
    assert np.abs(ground_of(pixels) - ground_of(np.full((50, 50, 3), 255, np.uint8))).sum() > 100


@pytest.fixture
def teacher_of(tiny: TowerParams):
    torch.manual_seed(0)
    tower = DenseClip(build(tower_config(tiny)).eval())
    return lambda vocabulary: ClipTeacher(tower, "clip_teacher/x", vocabulary, LabelParams(threshold=0.0))


def examine(few: Path, vocabulary: Vocabulary, teacher: ClipTeacher):
    proposer = ProposerParams()
    examiner = Examiner(teacher, SegmentTree(proposer), vocabulary, {}, proposer.working_px)
    return examiner.measure(sample_images(jobs(few), 12))


def test_as_many_decoys_as_names_compete(few, teacher_of):
    captions = [parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(few / "train")]
    vocabulary = mine(captions, 1)
    measured = examine(few, vocabulary, teacher_of(vocabulary))
    named = [sum(name in vocabulary.things for name in vocabulary.find(caption)) for caption in captions]
    assert measured.names == measured.decoys == sum(named)
    assert measured.images == 12
    assert 0 < len(measured.won) <= measured.names
    assert 0 < len(measured.decoys_won) <= measured.decoys
    easy, hard = measured.pasted
    assert 12 < easy.objects <= 24
    assert 0 < len(easy.scores) == len(easy.right) <= easy.objects
    assert 0 < len(hard.scores) == len(hard.right) <= hard.objects
    again = examine(few, vocabulary, teacher_of(vocabulary))
    for name in ("labels", "won", "decoys_won"):
        assert np.array_equal(getattr(measured, name), getattr(again, name))
    for first, second in zip(measured.pasted, again.pasted, strict=True):
        assert np.array_equal(first.scores, second.scores)
        assert np.array_equal(first.right, second.right)


def test_labels_of_held_out_names_are_not_counted(few, teacher_of):
    captions = [parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(few / "train")]
    things = mine(captions, 1).things
    vocabulary = Vocabulary(things, (), held_out=things)
    measured = examine(few, vocabulary, teacher_of(vocabulary))
    assert len(measured.labels) == sum(pasted.objects for pasted in measured.pasted) == 0
    assert len(measured.won)


@pytest.mark.parametrize(
    "params",
    [
        AnnotateParams(label=LabelParams(precision=None)),
        AnnotateParams(roles=RolesParams(region_tagger="given")),
        AnnotateParams(),  # of too few images
    ],
)
def test_where_nothing_can_be_estimated_nothing_is_loaded(few, params):
    vocabulary = Vocabulary(("dog", "cat"), ())
    assert run.calibrate(params, Path("no base"), vocabulary, jobs(few), {}) is None
