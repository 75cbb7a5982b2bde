"""Recipes with a decoder for real, small: the same keys with a tiny tower, few steps and a handful of images."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from umgclip.cli.project.recipes import params_of
from umgclip.params import SegmentParams, parse_sections
from umgclip.recipes import reading
from umgclip.segment import stage
from umgclip.segment.stage import SegmentInputs

WITH_DECODER = [
    name
    for name in reading.names()
    if any(command.startswith("umgclip segment") for command in reading.load(name).facts.run)
]


def shrunken(name: str) -> SegmentParams:
    """The recipe's section `segment` with two steps and a small decoder."""
    asked = parse_sections(YAML(typ="safe").load(params_of(reading.load(name), "mine")), Path(name))["segment"]
    assert isinstance(asked, SegmentParams)
    small = {"queries": 16, "width": 32, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1}
    changes = {"image_px": 96, "steps": 2, "batch": 2, "points": 64, "device": "cpu", "precision": "fp32"}
    return asked.model_copy(update={**changes, "decoder": asked.decoder.model_copy(update=small)})


@pytest.mark.parametrize("name", WITH_DECODER)
def test_a_recipe_trains_its_decoder(name: str, inputs: SegmentInputs, tmp_path: Path) -> None:
    steps: list[int] = []
    stage.run(shrunken(name), inputs, tmp_path / "segment", report=lambda step, _: steps.append(step))
    assert steps == [0, 1]
