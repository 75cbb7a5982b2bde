"""Other values for single parameters: found, typed, in range, or refused with the allowed ones."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from umgclip.errors import ParamsError
from umgclip.flows.dvc.overrides import edited, locate, overridden, read_assignments

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_values_change_and_everything_else_stays():
    before = YAML(typ="safe").load(PARAMS.read_text())
    text = overridden(PARAMS, {"train.lora.rank": 8, "register.gates.floors.classification.top1": 0.3})
    after = YAML(typ="safe").load(text)
    assert after["train"]["lora"].pop("rank") == 8
    assert before["train"]["lora"].pop("rank") == 16
    assert after["register"]["gates"].pop("floors") == {"classification.top1": 0.3}
    before["register"]["gates"].pop("floors")
    assert after == before
    assert "# largest norm of all gradients together" in text


def test_no_overrides_change_no_byte():
    assert overridden(PARAMS, {}) == PARAMS.read_text()


def test_a_file_that_stays_changes_in_the_lines_of_its_values_alone():
    changes = {"annotate.teacher": "teacher", "validate.leave_out": 7, "train.lora.rank": 8, "annotate.tuned.fit": 0.0}
    text = edited(PARAMS, changes)
    old, new = PARAMS.read_text().splitlines(), text.splitlines()
    lines = [after.strip().partition(" #")[0] for before, after in zip(old, new, strict=True) if before != after]
    assert lines == ["teacher: teacher", "fit: 0.0", "leave_out: 7", "rank: 8"]
    assert YAML(typ="safe").load(text) == YAML(typ="safe").load(overridden(PARAMS, changes))
    assert edited(PARAMS, {}) == PARAMS.read_text()
    # a text that YAML would read as something else is quoted
    assert 'teacher: "7" #' in edited(PARAMS, {"annotate.teacher": "7"})


def test_a_value_of_several_lines_is_written_as_for_one_run():
    changes = {"annotate.held_out": ["fox"]}
    assert edited(PARAMS, changes) == overridden(PARAMS, changes)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trian.steps": 1}, "unknown key trian.steps; expected one of annotate, base, data, evaluate"),
        ({"train.lora.rnk": 1}, "unknown key train.lora.rnk; expected one of train.lora.alpha, train.lora.dropout"),
        ({"train.lora": {"rank": 1}}, "train.lora is a group of values; expected one of train.lora.alpha"),
        ({"train.steps.now": 1}, "unknown key train.steps.now: train.steps has no keys below it"),
        ({"train.steps": "8"}, "train.steps: Input should be a valid integer, got '8'"),
        ({"train.steps": 0}, "train.steps: Input should be greater than 0, got 0"),
        ({"train.precision": "fp8"}, "train.precision: Input should be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ({"validate.tolerances.no_such_rule": 0.1}, "validate.tolerances.no_such_rule"),
    ],
)
def test_what_does_not_fit_is_named(overrides, message):
    with pytest.raises(ParamsError) as caught:
        overridden(PARAMS, overrides)
    assert message in str(caught.value)


def test_keys_are_found_below_models_and_mappings():
    assert locate("train.lora.rank") == ("train", "lora", "rank")
    assert locate("register.gates.floors.region.mask_top1") == ("register", "gates", "floors", "region.mask_top1")


def test_assignments_are_yaml():
    words = ["train.steps=8", "train.lr_peak=1.0e-3", "register.promote=false", "annotate.held_out=[fox, lion]"]
    read = read_assignments(words)
    assert read["train.steps"] == 8
    assert read["train.lr_peak"] == 1e-3
    assert read["register.promote"] is False
    assert read["annotate.held_out"] == ["fox", "lion"]
    for wrong in ("train.steps", "=3", "a=[1"):
        with pytest.raises(ParamsError, match="expected"):
            read_assignments([wrong])
