"""Reading `params.yaml`: what is refused, and how it says so."""

import json
import textwrap
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from umgclip.errors import ParamsError
from umgclip.params import SECTIONS, AnnotateParams, BaseParams, DataParams, load_section


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_what_is_left_out_has_its_default(write):
    assert load_section(write("base: {seed: 3}\n"), BaseParams) == BaseParams(seed=3)
    assert load_section(write("base: {seed: 3}\n"), DataParams) == DataParams()


@pytest.mark.parametrize("text", ["1.0e-3", "1e-3"])
def test_an_exponent_is_a_number(write, text):
    assert load_section(write(f"base: {{lr_other: {text}}}\n"), BaseParams).lr_other == 0.001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bass: {}\n", "unknown section 'bass'; expected one of data, base"),
        ("base: {sede: 1}\n", "unknown key base.sede; expected one of "),
        ("annotate: {label: {crop: 1}}\n", "unknown key annotate.label.crop; expected one of batch, coverage, crop_px"),
        (
            "annotate: {ray: {pools: {a: {gpu: 1}}}}\n",
            "key annotate.ray.pools.a.gpu; expected one of cpus, gpus, workers",
        ),
        ("base: {seed: '1'}\n", "base.seed: Input should be a valid integer, got '1'"),
        ("base: {tag_weight: -1.0}\n", "base.tag_weight: "),
        ("base: {tag_weight: .nan}\n", "base.tag_weight: "),
        ("validate: {side_min_px: 100, side_max_px: 50}\n", "expected side_min_px <= side_max_px, got 100 > 50"),
        ("base: [1]\n", "base: "),
        ("- 1\n", "expected a mapping of sections, got list"),
        ("base: {\n", "not valid YAML"),
        ("base: {seed: 1}\nbase: {seed: 2}\n", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(write, text, said):
    with pytest.raises(ParamsError) as caught:
        load_section(write(text), BaseParams)
    assert said in str(caught.value)


def test_a_mistake_in_another_section_is_found_too(write):
    with pytest.raises(ParamsError, match=r"train\.stepz"):
        load_section(write("train: {stepz: 1}\n"), BaseParams)


def test_a_missing_file_says_where_to_look(tmp_path):
    with pytest.raises(ParamsError, match="expected a parameter file, found none"):
        load_section(tmp_path / "params.yaml", BaseParams)


@pytest.mark.parametrize("section", SECTIONS.values())
def test_sections_are_frozen_and_have_defaults(section):
    params = section()
    with pytest.raises(ValidationError):
        params.seed = 1


def test_the_example_of_the_annotators_documentation_is_one():
    text = (Path(__file__).parents[3] / "docs" / "annotators.md").read_text(encoding="utf-8")
    block = text.split("## An example\n\n")[1].split("\n\nOnly entries")[0]
    block = textwrap.dedent(block).replace("FULL_COMMIT_HASH", f'"{"0" * 40}"')
    section = YAML(typ="safe").load(block)["annotate"]
    params = AnnotateParams.model_validate(section)
    assert params.roles.of("tagger") == ["siglip", "qwen"]
    assert params.models["sam"].dtype == "bf16"


@pytest.mark.parametrize("name", ["", "  ", "\u200b"])
@pytest.mark.parametrize(
    ("kind", "key"),
    [(kind, "queries") for kind in ("vlm", "sam3", "owlv2", "grounding_dino", "mm_grounding_dino")]
    + [("nsfw", "unsafe"), ("nsfw", "safe")],
)
def test_a_blank_name_is_no_query(write, kind, key, name):
    source = {"url": "http://127.0.0.1:9/v1", "model": "m"} if kind == "vlm" else {"path": "weights"}
    entry = {"kind": kind, key: ["cat", name], **source}
    with pytest.raises(ParamsError) as caught:
        load_section(write(json.dumps({"annotate": {"models": {"m": entry}}})), AnnotateParams)
    told = str(caught.value)
    assert f"annotate.models.m.{kind}.{key}" in told
    assert f"expected names, got {name!r}, which is blank" in told
