"""The recipes that are shipped: every key is known, every model exists, every side fits, every estimate is current."""

import itertools
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.cli.project.recipes import merge, params_of
from umgclip.errors import InputError, ParamsError
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.pretrained.load import named_config
from umgclip.params import (
    BaseParams,
    Section,
    SegmentParams,
    TrainParams,
    ValidateParams,
    parse_sections,
    read_params,
)
from umgclip.recipes import cost, reading

NAMES = reading.names()


@cache
def sections(name: str) -> dict[str, Section]:
    """The sections of the whole parameter file that `umgclip recipe use` writes."""
    return parse_sections(YAML(typ="safe").load(params_of(reading.load(name), "mine")), Path(name))


def learning(name: str) -> tuple[BaseParams, TrainParams, SegmentParams]:
    parsed = sections(name)
    base, train, segment = parsed["base"], parsed["train"], parsed["segment"]
    assert isinstance(base, BaseParams)
    assert isinstance(train, TrainParams)
    assert isinstance(segment, SegmentParams)
    return base, train, segment


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["recipe", *words])


def test_these_recipes_are_shipped() -> None:
    assert {name.rpartition("-")[0] for name in NAMES} >= {
        "coco-openai", "coco-laion", "clipself-eva02", "fgclip2-siglip2", "umg41m-eva02", "coco-panoptic-eva02",
        "windows-laion",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_allowed_and_every_side_is_a_multiple_of_the_patch(name: str) -> None:
    base, train, segment = learning(name)
    model = cost.towers(base)  # refuses a model or a tag that open_clip lacks
    sides = [train.image_px, segment.image_px, *(stage.image_px for stage in train.stages)]
    assert [side for side in sides if side is not None and side % model.patch_px] == []
    epochs = train.images_shown / reading.load(name).facts.images
    assert 0.5 < epochs < 20, "a recipe states how many epochs its steps are"


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_is_what_the_cost_model_says(name: str) -> None:
    facts = reading.load(name).facts
    assert cost.estimate(facts, *learning(name)) == facts.estimate
    assert facts.estimate.memory_gb < 75, "an A100 has 80 GB"


@pytest.mark.parametrize("name", NAMES)
def test_the_adapter_fits_the_model(name: str) -> None:
    base, train, _ = learning(name)
    config = named_config(base.model, base.pretrained)
    assert config is not None
    with torch.device("meta"):
        adapted = adapt(files.build(config), train)
    trained, total = adapted.counts()
    assert 0 < trained <= total


@pytest.mark.parametrize("name", NAMES)
def test_long_captions_pass_validation(name: str) -> None:
    train, validate = sections(name)["train"], sections(name)["validate"]
    assert isinstance(train, TrainParams)
    assert isinstance(validate, ValidateParams)
    if train.weights.long_text:  # FineHARD's long captions have 150 words and more
        assert validate.image_caption_words_max >= 500


def test_the_work_of_a_tower_by_hand() -> None:
    model = cost.towers(BaseParams(pretrained="openai", model="ViT-B-16"))
    assert (model.image.blocks, model.image.width, model.image_px, model.patch_px) == (12, 768, 224, 16)
    assert (model.text.blocks, model.text.width, model.tokens(224)) == (12, 512, 197)
    # ViT-B/16 at 224 px has 17.6 G multiplications, two operations each
    assert model.image.operations(197) == pytest.approx(2 * 17.6e9, rel=0.04)


@pytest.mark.parametrize("name", NAMES)
def test_commands_name_what_there_is(name: str) -> None:
    facts = reading.load(name).facts
    for command in [*facts.data, *facts.run]:
        words = command.split()
        assert words[0] in ("umgclip", "dvc")
        if words[:3] == ["umgclip", "data", "import"]:
            helped = CliRunner().invoke(app, [*words[1:4], "--help"], env={"COLUMNS": "250"})
            assert helped.exit_code == 0, helped.output
            options = [word for word in words if word.startswith("--")]
            assert [option for option in options if option not in helped.output] == []


def test_use_writes_a_whole_file_and_keeps_the_name_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    done = invoke("use", "coco-openai-b16", "--params", str(path))
    assert done.exit_code == 0, done.output
    assert "umgclip init" in done.output
    assert "umgclip data import coco" in done.output
    text = path.read_text()
    assert text.startswith("# coco-openai-b16: fine-tune OpenAI's ViT-B-16 on COCO\n")
    assert "# images a step, of all processes and micro-batches together" in text, "the comments stay"
    content = read_params(path)
    assert (content["base"]["model"], content["train"]["batch"]) == ("ViT-B-16", 256)
    content["register"]["name"] = "birds"
    YAML().dump(content, path)
    refused = invoke("use", "clipself-eva02-b16", "--params", str(path))
    assert isinstance(refused.exception, InputError)
    assert "--force replaces it" in str(refused.exception)
    assert invoke("use", "clipself-eva02-b16", "--params", str(path), "--force").exit_code == 0
    content = read_params(path)
    assert (content["base"]["model"], content["register"]["name"]) == ("EVA02-B-16", "birds")


def test_list_and_show_say_what_a_recipe_costs() -> None:
    listed = invoke("list")
    assert all(name[:12] in listed.output for name in NAMES)
    shown = invoke("show", "umg41m-eva02-l14").output
    assert "estimated, not measured" in shown
    assert "UMG-CLIP L: ADE-847 mIoU with Cat-Seg 15.4" in shown
    assert "batch: 8192" in shown
    whole = invoke("show", "umg41m-eva02-l14", "--complete").output
    assert set(YAML(typ="safe").load(whole)) >= {"base", "annotate", "validate", "train", "evaluate", "register"}


def test_an_unknown_recipe_or_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected one of clipself-eva02-b16, .* got 'coco'"):
        reading.load("coco")
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: {title: mine}\ntrain: {stepz: 3}\n")
    with pytest.raises(ParamsError, match="recipe.images: Field required"):
        reading.read(path)
    known = reading.load("coco-openai-b16")
    wrong = reading.ShippedRecipe("mine", "", known.facts, {"train": {"stepz": 3}})
    with pytest.raises(ParamsError, match="unknown key train.stepz"):
        params_of(wrong, "mine")


def test_changes_replace_values_on_every_level() -> None:
    into = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": {}}
    merge(into, {"a": {"c": [3]}, "d": {}, "f": {"g": 2}})
    assert into == {"a": {"b": 1, "c": [3]}, "d": {}, "f": {"g": 2}}


def test_every_published_mark_has_a_source() -> None:
    marks = itertools.chain.from_iterable(reading.load(name).facts.published for name in NAMES)
    assert all(mark.source for mark in marks)
