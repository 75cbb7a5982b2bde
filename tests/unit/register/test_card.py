"""The model card of the demo."""

from dataclasses import replace

import pytest

from umgclip.params import RegisterParams
from umgclip.register.card import CardFacts, model_card
from umgclip.register.gates import Check, Decision, Evidence
from umgclip.register.identity import Identity


@pytest.fixture
def facts(demo) -> CardFacts:
    checks = (
        Check("floors", "region.mask_top1", 0.5, 0.4756, passed=False),
        Check("max_latency_ratio", "time over the champion's", None, 1.1, passed=True, at_most=1.5),
    )
    return CardFacts(
        identity=Identity("a" * 64, "b" * 64, "dvc:c.dir", "d" * 64, "e" * 64),
        evidence=Evidence(None, "a", "b", "d", "p", tuned={"region.mask_top1": 0.4756}, base={"tagging.map": 0.1}),
        decision=Decision(promote=False, reason="against champion v1: 1 of 2 gates fail", checks=checks),
        data=demo,
        base={"model": "umgclip-tiny", "pretrained": "scratch"},
        training={"params": {"steps": 300, "lora": {"rank": 16}}},
        settings={"match_iou": 0.5, "stuff_templates": "{} | on {}"},
        protocols={"region": "true things of the scenes, micro top-1 over all things", "annotator": "no number here"},
        concepts=160,
    )


def test_the_card_tells_data_licences_use_limits_numbers_protocols_and_gates(facts):
    card = model_card(RegisterParams(), facts)
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == [
        "# umgclip", "## Intended use", "## Limits", "## Data and licences", "## Base and training", "## Numbers",
        "## Protocols", "## Gates", "## Identity",
    ]  # fmt: skip
    for line in (
        "- train: 24 images. In the 24 records looked at: demo/train: CC BY-SA 4.0 (contains OpenMoji).",
        "Base: a small CLIP that this pipeline trained from random weights on the training images and their alt texts.",
        "| lora.rank | `16` |",
        "| region.mask_top1 | - | 0.476 |",
        "| tagging.map | 0.100 | - |",
        "- region: true things of the scenes, micro top-1 over all things",
        "| match_iou | `0.5` |",
        r"| stuff_templates | `{} \| on {}` |",
        "It did not pass them when it was registered: against champion v1: 1 of 2 gates fail.",
        "| floors | region.mask_top1 | at least 0.500 | 0.476 | NO |",
        "| max_latency_ratio | time over the champion's | at most 1.500 | 1.100 | yes |",
        f"| interface_sha256 | `{'e' * 64}` |",
    ):
        assert line in card.splitlines(), line
    assert "registered concepts unless a request brings its own" in card
    assert "prompt `{a} {}`, where {} is the label" in card
    assert "no number here" not in card


def test_a_pretrained_base_is_named(facts):
    facts = CardFacts(**{**vars(facts), "base": {"model": "ViT-B-32", "pretrained": "openai"}, "protocols": {}})
    assert "Base: open_clip's `ViT-B-32` with the weights `openai`." in model_card(RegisterParams(), facts)


def test_what_was_not_recorded_is_not_made_up(facts):
    bare = CardFacts(**{**vars(facts), "training": {}, "settings": {}, "protocols": {}, "concepts": 0})
    card = model_card(RegisterParams(), bare)
    assert card.count("Nothing was recorded.") == 2
    assert "Tags come from no\nregistered concepts" in card


def test_the_card_tells_who_passed_the_gates_by(facts):
    by_force = Decision(promote=True, reason="forced by me at noon: own photographs", forced=True)
    card = model_card(RegisterParams(), replace(facts, decision=by_force))
    assert "It was made champion without them: forced by me at noon: own photographs." in card
