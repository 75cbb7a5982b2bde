"""The champion's gates on hand-made numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from umgclip.params import GateParams
from umgclip.register.gates import Decision, Evidence, decide, flatten_metrics

GATES = GateParams(
    floors={"classification.top1": 0.6},
    max_regression={"retrieval.i2t_r1": 0.02},
    metrics=["retrieval.i2t_r1", "region.mask_top1"],
    min_mean_gain=0.01,
    min_gain_over_base={"region.mask_top1": 0.1},
)


def evidence(version: str | None = None, top1: float = 0.7, i2t: float = 0.5, mask: float = 0.4) -> Evidence:
    """Return a version whose base has mask top-1 0.05."""
    return Evidence(
        version=version,
        adapter_sha256=f"adapter of {version}",
        base_sha256="base",
        benchmark_digest="bench",
        protocol_digest="protocol",
        tuned={"classification.top1": top1, "retrieval.i2t_r1": i2t, "region.mask_top1": mask},
        base={"classification.top1": 0.7, "retrieval.i2t_r1": 0.5, "region.mask_top1": 0.05},
    )


def test_the_first_version_needs_floors_and_a_gain_over_its_base() -> None:
    decision = decide(evidence(), None, GATES)

    assert decision.promote
    assert decision.reason == "no champion yet: all 3 gates hold"
    assert [(check.gate, check.metric) for check in decision.checks] == [
        ("floors", "classification.top1"),
        ("max_regression", "retrieval.i2t_r1"),
        ("min_gain_over_base", "region.mask_top1"),
    ]


def test_the_first_version_below_a_floor_stays_challenger() -> None:
    decision = decide(evidence(top1=0.59), None, GATES)

    assert not decision.promote
    assert "1 of 3 gates fail: floors classification.top1: expected at least 0.600, got 0.590" in decision.reason


def test_the_first_version_that_gains_too_little_over_its_base_stays_challenger() -> None:
    decision = decide(evidence(mask=0.14), None, GATES)

    assert not decision.promote
    assert "min_gain_over_base region.mask_top1: expected at least 0.100, got 0.090" in decision.reason


@pytest.mark.parametrize(
    ("i2t", "mask", "promotes"),
    [
        (0.50, 0.42, True),  # gains 0 and .02: mean .01, just enough
        (0.50, 0.41, False),  # mean gain .005
        (0.48, 0.50, True),  # loses just what it may
        (0.479, 0.60, False),  # one hair more
        (0.60, 0.40, True),  # all gain in one metric
        (0.50, 0.40, False),  # a tie is no gain
    ],
)
def test_against_a_champion_regression_and_mean_gain_count(i2t: float, mask: float, promotes: bool) -> None:
    decision = decide(evidence("2", i2t=i2t, mask=mask), evidence("1"), GATES)

    assert decision.promote is promotes
    assert decision.reason.startswith("against champion v1: ")


def test_the_base_does_not_count_once_there_is_a_champion() -> None:
    champion = evidence("1", mask=0.05)

    assert decide(evidence("2", mask=0.10), champion, GATES).promote


def test_floors_hold_against_a_champion_too() -> None:
    decision = decide(evidence("2", top1=0.5, mask=0.9), evidence("1", top1=0.5), GATES)

    assert not decision.promote
    assert "floors classification.top1" in decision.reason


def test_another_benchmark_keeps_the_champion_however_good_the_candidate() -> None:
    champion = replace(evidence("1"), benchmark_digest="old")

    decision = decide(evidence("2", mask=1.0), champion, GATES)

    assert not decision.promote
    assert "champion v1 was measured by another benchmark (old, now bench)" in decision.reason
    assert "evaluate and register the champion's weights" in decision.reason


def test_another_protocol_keeps_the_champion() -> None:
    decision = decide(evidence("2", mask=1.0), replace(evidence("1"), protocol_digest="old"), GATES)

    assert not decision.promote
    assert "another protocol (old, now protocol)" in decision.reason


def test_a_champion_without_evidence_stays() -> None:
    stranger = Evidence("1", "", "", "", "", {}, {})

    decision = decide(evidence("2"), stranger, GATES)

    assert not decision.promote
    assert "another benchmark (unknown, now bench)" in decision.reason


def test_the_champions_own_weights_on_a_new_benchmark_take_the_alias() -> None:
    old = replace(evidence("1"), benchmark_digest="old")
    again = replace(evidence("2", mask=0.1), adapter_sha256=old.adapter_sha256)

    decision = decide(again, old, GATES)

    assert decision.promote
    assert decision.reason == "the weights of champion v1, measured anew on the present benchmark"


def test_same_adapter_on_another_base_is_another_model() -> None:
    old = replace(evidence("1"), benchmark_digest="old")

    assert not decide(replace(old, version="2", base_sha256="other", benchmark_digest="bench"), old, GATES).promote


def test_the_champion_itself_has_nothing_to_win() -> None:
    decision = decide(evidence("1"), evidence("1"), GATES)

    assert not decision.promote
    assert decision.reason == "champion v1 is this version"


@pytest.mark.parametrize("gates", [GATES, GATES.model_copy(update={"max_regression": {}, "floors": {}})])
def test_a_metric_that_is_missing_fails_its_gate(gates: GateParams) -> None:
    candidate = evidence("2", mask=0.9)
    candidate = replace(candidate, tuned={k: v for k, v in candidate.tuned.items() if k != "retrieval.i2t_r1"})

    decision = decide(candidate, evidence("1"), gates)

    assert not decision.promote
    assert "retrieval.i2t_r1: expected at least 0.010, got nothing" in decision.reason


def test_without_gates_a_candidate_passes() -> None:
    none = GateParams(floors={}, max_regression={}, metrics=[], min_gain_over_base={})

    assert decide(evidence("2"), evidence("1"), none).promote
    assert decide(evidence("2"), None, none).promote


def test_metrics_are_flattened_and_what_is_no_number_is_left_out() -> None:
    nested = {"region": {"box_top1": 1, "n": None, "heldout": math.nan}, "name": "x", "ok": True, "map": 0.5}

    assert flatten_metrics(nested) == {"region.box_top1": 1.0, "map": 0.5}


def test_a_decision_can_be_written_as_json() -> None:
    written = decide(evidence(), None, GATES).to_json()

    assert written["promote"] is True
    assert written["checks"][0] == {
        "gate": "floors",
        "metric": "classification.top1",
        "at_least": 0.6,
        "got": 0.7,
        "passed": True,
        "at_most": None,
        "skipped": None,
    }
    assert Decision.from_json(json.loads(json.dumps(written))) == decide(evidence(), None, GATES)


def test_the_champions_weights_registered_anew_take_the_alias() -> None:
    again = replace(evidence("2"), adapter_sha256=evidence("1").adapter_sha256)

    decision = decide(again, evidence("1"), GATES)

    assert decision.promote
    assert decision.reason == "the weights of champion v1, registered anew"


def test_versions_of_strangers_are_not_taken_for_the_same_weights() -> None:
    strangers = [Evidence(version, "", "", "", "", {}, {}) for version in ("1", "2")]

    assert not decide(strangers[1], strangers[0], GATES).promote


@pytest.mark.parametrize(("ratio", "promotes"), [(0.9, True), (1.2, True), (1.21, False)])
def test_latency_is_a_gate_where_it_is_asked_for(ratio: float, promotes: bool) -> None:
    gates = GATES.model_copy(update={"max_latency_ratio": 1.2})

    decision = decide(evidence("2", mask=0.9), evidence("1"), gates, lambda: ratio)

    assert decision.promote is promotes
    last = decision.checks[-1]
    assert (last.gate, last.at_least, last.at_most, last.got) == ("max_latency_ratio", None, 1.2, ratio)
    assert str(last) == f"max_latency_ratio time over the champion's: expected at most 1.200, got {ratio:.3f}"


def test_latency_that_nobody_measured_fails_its_gate() -> None:
    gates = GATES.model_copy(update={"max_latency_ratio": 1.2})

    decision = decide(evidence("2", mask=0.9), evidence("1"), gates)

    assert "expected at most 1.200, got nothing" in decision.reason


def test_latency_is_measured_only_against_a_champion_that_compares_and_when_asked() -> None:
    def never() -> float:
        raise AssertionError("measured without need")

    gates = GATES.model_copy(update={"max_latency_ratio": 1.2})

    assert decide(evidence("2", mask=0.9), evidence("1"), GATES, never).promote
    assert decide(evidence(), None, gates, never).promote
    assert not decide(evidence("1"), evidence("1"), gates, never).promote
    assert not decide(evidence("2"), replace(evidence("1"), benchmark_digest="old"), gates, never).promote


def test_the_field_of_the_protocol_that_differs_is_named_if_a_gate_asks_for_its_benchmark() -> None:
    blocks = {"region": {"readouts": {"mask": {"map": "value"}}}, "panoptic": {"crowd": "excused"}}
    other = {"region": {"readouts": {"mask": {"map": "last"}}}, "panoptic": {"crowd": "excused"}}
    unasked = {**blocks, "panoptic": {"crowd": "counted"}}
    champion = replace(evidence("1"), protocols=blocks)

    refused = decide(replace(evidence("2", mask=1.0), protocols=other), champion, GATES)
    compared = decide(replace(evidence("2", mask=1.0), protocols=unasked), champion, GATES)

    assert not refused.promote
    assert (
        "another protocol (region.readouts.mask.map: value, now last), so the numbers do not compare" in refused.reason
    )
    assert compared.promote


# what a benchmark may hold, and what evaluate measures of it
MEASURED = {
    "classes": {"classification.top1", "classification.top5", "classification.mean_per_class"},
    "captions": {"retrieval.i2t_r1", "retrieval.t2i_r1"},
    "tags": {"tagging.map", "tagging.f1"},
    "boxes": {"region.box_top1", "region.box_top1_seen", "region.crop_top1"},
    "maps": {"semantic.miou", "panoptic.pq_true_masks"},
}


def measured(kind: str, version: str | None = None, gain: float = 0.1) -> Evidence:
    """Return a version on a benchmark of a kind whose tuned model reaches `gain` more than its base."""
    whole = evidence(version)
    base = dict.fromkeys(MEASURED[kind], 0.3)
    return replace(whole, base=base, tuned={name: value + gain for name, value in base.items()})


@pytest.mark.parametrize("kind", MEASURED)
def test_by_the_default_gates_every_kind_of_benchmark_gets_a_first_champion_and_a_better_one(kind: str) -> None:
    first = decide(measured(kind, "1"), None, GateParams())
    second = decide(measured(kind, "2", gain=0.2), measured(kind, "1"), GateParams())
    worse = decide(measured(kind, "2", gain=0.09), measured(kind, "1"), GateParams())

    assert first.promote, first.reason
    assert second.promote, second.reason
    assert not worse.promote
    assert "min_mean_gain mean of" in worse.reason
    for decision in (first, second):
        skipped = {check.metric for check in decision.checks if check.skipped}
        assert skipped
        assert skipped.isdisjoint(MEASURED[kind])
        assert "skipped: " in decision.reason


@pytest.mark.parametrize("kind", ["classes", "captions", "tags", "boxes"])
def test_a_first_version_that_loses_to_its_base_stays_challenger(kind: str) -> None:
    decision = decide(measured(kind, gain=-0.1), None, GateParams())

    assert not decision.promote
    assert "max_regression" in decision.reason


def test_what_was_not_measured_is_said_in_one_line_with_what_the_benchmark_lacks() -> None:
    decision = decide(measured("boxes"), None, GateParams())

    assert decision.reason == (
        "no champion yet: all 1 gates hold; 6 skipped: classification.top1 (benchmark has no images of a single object)"
        "; retrieval.i2t_r1, retrieval.t2i_r1 (benchmark has no captions); tagging.map (benchmark has no tags)"
        "; region.mask_top1 (benchmark has no masks of regions)"
        "; semantic.miou (benchmark has no images whose regions all have masks)"
    )


@pytest.mark.parametrize("champion", [None, measured("captions", "1")])
def test_gates_of_which_nothing_was_measured_keep_the_champion_and_name_the_key(champion: Evidence | None) -> None:
    gates = GateParams(
        floors={}, max_regression={}, metrics=["semantic.miou"], min_gain_over_base={"region.box_top1": 0.0}
    )

    decision = decide(measured("captions", "2", gain=0.5), champion, gates)

    key = "min_gain_over_base" if champion is None else "metrics"
    assert not decision.promote
    assert f"register.gates.{key}, such as retrieval.i2t_r1, retrieval.t2i_r1" in decision.reason
    assert "umgclip promote --force --reason" in decision.reason


def test_a_gain_of_which_nothing_was_measured_keeps_the_champion_even_where_other_gates_hold() -> None:
    gates = GateParams(max_regression={"retrieval.i2t_r1": 0.5}, metrics=["semantic.miou"])

    decision = decide(measured("captions", "2"), measured("captions", "1"), gates)

    assert not decision.promote
    assert "no metric that register.gates.metrics lists was measured: semantic.miou" in decision.reason


def test_a_metric_that_nobody_asked_evaluate_for_fails_its_gate() -> None:
    asked = {"region": {"readouts": {"box": {}, "crop": {}, "mask": {}}}}
    candidate = replace(measured("boxes"), protocols=asked)

    def failing(metric: str) -> str:
        return decide(candidate, None, GateParams(floors={metric: 0.1}, max_regression={})).reason

    assert "floors region.maskout_top1: expected at least 0.100, got nothing" in failing("region.maskout_top1")
    assert "floors region.box_mean: expected at least 0.100, got nothing" in failing("region.box_mean")
    assert "region.box_top1_heldout (benchmark has no regions of the kind heldout)" in failing(
        "region.box_top1_heldout"
    )
    assert "region.mask_top1 (benchmark has no masks of regions)" in failing("region.mask_top1")


def test_metrics_of_no_benchmark_are_refused_by_their_name() -> None:
    with pytest.raises(ValueError, match=r"metrics\.0\n.*should match pattern"):
        GateParams(metrics=["retreival.i2t_r1"])
