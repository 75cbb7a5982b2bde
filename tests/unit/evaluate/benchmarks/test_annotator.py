"""The annotator's regions against the truth."""

import pytest

from umgclip.errors import DataError
from umgclip.evaluate.benchmarks.annotator import AnnotatorBenchmark, check_proposals, read_proposals
from umgclip.evaluate.examples import read_examples
from umgclip.records import Text


def with_label(region, name, score=1.0):
    return region.model_copy(update={"tags": [Text(text=name, score=score, source="x")]})


@pytest.fixture
def measure(kit, tmp_path):
    """Metrics of one scene (apple, boat and the held-out egg) whose true regions were changed into annotations."""

    def run(change):
        drawn = kit.draw([0, 1, 4], 0)
        folder = kit.write_dataset(tmp_path / "b", [drawn], kit.TOY_CLASSES)
        benchmark = AnnotatorBenchmark(kit.CLASSES, 0.5)
        benchmark.add(list(read_examples(folder, kit.CLASSES)), {drawn.record.key: change(drawn.record.regions)})
        return dict(benchmark.results())

    return run


def test_the_truth_is_perfect_and_held_out_things_are_not_asked_for(measure):
    assert set(measure(list).values()) == {1.0}


def test_a_wrong_label_costs_precision_recall_and_label_precision(measure):
    found = measure(lambda regions: [regions[0], with_label(regions[1], "cat"), regions[3]])
    assert found == {"precision": 0.5, "recall": 0.5, "box_recall": 1.0, "label_precision": 0.5, "mask_iou": 1.0}


def test_a_label_that_is_no_class_is_wrong_not_missing(measure):
    found = measure(lambda regions: [regions[0], with_label(regions[1], "yak")])
    assert (found["precision"], found["recall"]) == (0.5, 0.5)


def test_an_unlabelled_proposal_counts_for_box_recall_alone(measure):
    found = measure(lambda regions: [regions[0], regions[1].model_copy(update={"tags": [], "score": 1.0})])
    assert found == {"precision": 1.0, "recall": 0.5, "box_recall": 1.0, "label_precision": 1.0, "mask_iou": 1.0}


def test_an_unlabelled_proposal_takes_no_true_box_from_a_labelled_one(measure):
    def both(regions):
        return [regions[0].model_copy(update={"tags": None, "score": 1.0}), with_label(regions[0], "apple", 0.1)]

    assert measure(both)["recall"] == 0.5


def test_a_label_on_a_held_out_thing_costs_precision(measure):
    found = measure(lambda regions: [regions[0], regions[1], with_label(regions[2], "cat")])
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == 1.0


def test_no_annotation_at_all_leaves_out_what_divides_by_nothing(measure):
    assert measure(lambda regions: []) == {"recall": 0.0, "box_recall": 0.0}


def test_missing_proposals_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none: expected the annotator's proposals on the benchmark .* found none"):
        read_proposals(tmp_path / "none")


def test_proposals_of_another_image_are_named(kit, toy, tmp_path):
    example = next(read_examples(toy, kit.CLASSES))
    region = kit.draw([0], 0).record.regions[0]
    wrong = region.model_copy(update={"mask": region.mask.model_copy(update={"size": (12, 48)})})
    with pytest.raises(DataError, match=r"expected a mask of size \(24, 24\).* got \(12, 48\)"):
        check_proposals([wrong], example, tmp_path)
