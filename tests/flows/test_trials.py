"""The parameter values that a sweep chooses for its trials."""

import pytest

from umgclip.errors import ParamsError
from umgclip.flows.trials import Range, assignment, grid, read_space, sample

SPACE = {"train.lora.rank": [4, 8], "train.lr_peak": [1e-3, 1e-2, 1e-1]}


def test_a_grid_is_every_combination():
    trials = grid(SPACE)
    assert len(trials) == 6
    assert trials[0] == {"train.lora.rank": 4, "train.lr_peak": 1e-3}
    assert trials[1] == {"train.lora.rank": 4, "train.lr_peak": 1e-2}
    assert len({str(trial) for trial in trials}) == 6


def test_a_sample_is_the_same_for_a_seed_in_range_and_without_repetition():
    space = read_space(
        {"train.lr_peak": {"low": 1e-4, "high": 1e-1, "log": True}, "train.steps": {"low": 1, "high": 9}}
    )
    trials = sample(space, 20, seed=3)
    assert trials == sample(space, 20, seed=3) != sample(space, 20, seed=4)
    assert len({str(trial) for trial in trials}) == 20
    assert all(1e-4 <= trial["train.lr_peak"] <= 1e-1 and trial["train.steps"] in range(1, 10) for trial in trials)
    # evenly over orders of magnitude: about a third lies below 1e-3
    low = sum(trial["train.lr_peak"] < 1e-3 for trial in sample(space, 300, seed=0))
    assert 70 < low < 130
    assert len(sample(SPACE, 50, seed=0)) == 6  # there are no more


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid({}), "space: expected at least one key"),
        (lambda: grid({"train.lora.rank": []}), "space: train.lora.rank: expected at least one value"),
        (lambda: grid({"train.lora.rnk": [1]}), "unknown key train.lora.rnk"),
        (lambda: grid({"train.steps": Range(low=1, high=2)}), "got a range; give a number of trials"),
        (lambda: grid({"train.steps": list(range(1001))}), "expected at most 1000 combinations, got 1001"),
        (lambda: sample(SPACE, 0, 0), "trials: expected 1 to 1000, got 0"),
        (lambda: read_space({"train.steps": {"low": 2, "high": 1}}), "expected low < high, got low 2, high 1"),
        (lambda: read_space({"train.steps": {"low": 0, "high": 1, "log": True}}), "expected 0 < low < high"),
        (lambda: assignment("annotate.held_out", ["a"]), "true, false or null, got ['a']"),
        (lambda: assignment("register.gates.floors.region.mask_top1", 1), "true, false or null, got 1"),
    ],
)
def test_what_cannot_be_tried_is_named(make, message):
    with pytest.raises(ParamsError) as caught:
        make()
    assert message in str(caught.value)


def test_values_are_written_as_dvc_reads_them():
    written = [assignment("train.precision", value) for value in (8, 1e-05, True, None, "it's, a=b", "{} x")]
    values = [word.partition("=")[2] for word in written]
    assert values == ["8", "1e-05", "true", "null", "'it\\'s, a=b'", "'{} x'"]
