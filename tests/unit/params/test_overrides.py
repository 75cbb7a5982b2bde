"""Values of `--set`: read as the file is, digested as the file is, and named where they were used."""

import pytest
from ruamel.yaml import YAML

from umgclip.errors import ParamsError
from umgclip.io.atomic import MARKER, fresh_folder, sha256_json
from umgclip.params import SECTIONS, TrainParams, load_section, overrides


@pytest.fixture
def set_():
    """Sets overrides as the command line does; they are removed afterwards."""

    def assign(*words: str) -> None:
        overrides.replace(overrides.read_assignments(words, SECTIONS))

    yield assign
    overrides.replace([])


@pytest.fixture
def write(tmp_path):
    def write_params(text: str):
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_params


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("train.steps=7", "train: {steps: 7}"),
        ("train.lora.rank=4", "train: {lora: {rank: 4}}"),
        ("train.lora={rank: 4}", "train: {lora: {rank: 4}}"),
        ("train.lr_peak=1e-4", "train: {lr_peak: 1.0e-4}"),
        ("train.lr_peak=1", "train: {lr_peak: 1}"),
        ("train.image_px=null", "train: {image_px: null}"),
        ("train.image_px=", "train: {image_px: null}"),
        ("train.stages=[{image_px: 48, steps: 300}]", "train: {stages: [{image_px: 48, steps: 300}]}"),
        ("train.lora.text_tower=false", "train: {lora: {text_tower: false}}"),
    ],
)
def test_a_value_is_what_the_file_would_say(set_, write, word, file):
    expected = load_section(write(file), TrainParams)
    path = write("train:\n")
    set_(word)
    section = load_section(path, TrainParams)

    assert section == expected
    assert sha256_json(section.decisive()) == sha256_json(expected.decisive())


def test_a_name_with_dots_below_a_mapping_is_one_key(set_):
    set_("register.gates.floors.region.mask_top1=0.3")
    content = overrides.apply({"register": {"gates": {"floors": {"a.b": 0.1}}}}, SECTIONS)

    assert content["register"]["gates"]["floors"] == {"a.b": 0.1, "region.mask_top1": 0.3}


def test_the_file_stays_and_its_value_is_remembered(set_, write):
    path = write("train: {steps: 350}\n")
    set_("train.steps=7", "train.batch=8")
    load_section(path, TrainParams)

    assert [one.in_words() for one in overrides.active()] == [
        "train.steps=7 (in the file: 350)", "train.batch=8 (in the file: nothing)",
    ]  # fmt: skip
    assert path.read_text(encoding="utf-8") == "train: {steps: 350}\n"


def test_the_last_of_two_values_counts(set_, write):
    set_("train.steps=7", "train.steps=9")
    assert load_section(write("train:\n"), TrainParams).steps == 9


def test_what_the_command_does_not_read_is_known(set_, write):
    set_("train.steps=7", "evaluate.batch=8")
    load_section(write("train:\n"), TrainParams)

    assert [one.key for one in overrides.unused()] == ["evaluate.batch"]


def test_an_error_of_the_file_names_the_file_and_of_a_value_the_option(set_, write):
    path = write("train: {batch: many}\n")
    set_("train.steps=many")
    with pytest.raises(ParamsError) as raised:
        load_section(path, TrainParams)

    lines = str(raised.value).splitlines()
    assert f"{path}: train.batch: Input should be a valid integer, got 'many'" in lines
    assert "--set: train.steps: Input should be a valid integer, got 'many'" in lines


def test_the_marker_of_an_output_names_them(set_, tmp_path):
    set_("train.steps=7")
    with fresh_folder(tmp_path / "out"):
        pass
    assert "train.steps=7" in (tmp_path / "out" / MARKER).read_text(encoding="utf-8")


def test_every_key_of_the_repository_can_be_set():
    def keys_of(value, prefix=""):
        for name, below in value.items():
            if isinstance(below, dict) and below:
                yield from keys_of(below, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    from pathlib import Path

    params = YAML(typ="safe").load(Path(__file__).parents[3] / "params.yaml")
    for key in keys_of(params):
        overrides.require_key(key, SECTIONS)
