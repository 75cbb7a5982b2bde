"""The decision whether a new version becomes the champion. Pure: no MLflow, no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from umgclip.metrics.protocol import differences
from umgclip.params import GateParams

_ROUNDING = 1e-9  # 0.50 - 0.02 must count as 0.48


@dataclass(frozen=True)
class Evidence:
    """What is known about one version: its weights, how it was measured, and the numbers (under dotted names).

    `benchmark_digest` names the benchmark's samples, `protocol_digest` the settings of the evaluation (templates,
    sizes, thresholds), and `protocols` say how each benchmark was measured, field by field; versions from before there
    were such have none. Numbers compare only where all that both know is the same.
    """

    version: str | None
    adapter_sha256: str
    base_sha256: str
    benchmark_digest: str
    protocol_digest: str
    tuned: Mapping[str, float]
    base: Mapping[str, float]
    protocols: Mapping[str, Any] = field(default_factory=dict)

    def same_weights(self, other: Evidence) -> bool:
        """Whether both are known to be the same model."""
        return bool(self.adapter_sha256) and (self.adapter_sha256, self.base_sha256) == (
            other.adapter_sha256,
            other.base_sha256,
        )


@dataclass(frozen=True)
class Check:
    """One gate, with one of two bounds: `got` is None when the metric is missing, which fails it."""

    gate: str
    metric: str
    at_least: float | None
    got: float | None
    passed: bool
    at_most: float | None = None

    @property
    def expected(self) -> str:
        """The bound, as in `at least 0.480`."""
        return f"at least {self.at_least:.3f}" if self.at_least is not None else f"at most {self.at_most:.3f}"

    @property
    def found(self) -> str:
        """What came, as in `0.470`."""
        return "nothing" if self.got is None else f"{self.got:.3f}"

    def __str__(self) -> str:
        """As in `max_regression region.box_top1: expected at least 0.480, got 0.470`."""
        return f"{self.gate} {self.metric}: expected {self.expected}, got {self.found}"


@dataclass(frozen=True)
class Decision:
    """Whether the alias moves, why, and every check behind it."""

    promote: bool
    reason: str
    checks: tuple[Check, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"promote": self.promote, "reason": self.reason, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Decision:
        """Read what `to_json` gave."""
        return cls(value["promote"], value["reason"], tuple(Check(**check) for check in value["checks"]))


def flatten_metrics(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics as dotted names; what is no finite number (null, text, NaN) is left out.

    Example: `{"region": {"box_top1": 0.4, "n": None}}` gives `{"region.box_top1": 0.4}`.
    """
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten_metrics(value, f"{prefix}{name}."))
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def decide(
    candidate: Evidence, champion: Evidence | None, gates: GateParams, latency_ratio: Callable[[], float] | None = None
) -> Decision:
    """Compare a candidate with the champion, or with its own base while there is no champion.

    The champion's weights themselves take the alias without gates: measured anew, which is how a champion moves to a
    new benchmark, or registered anew with another template, vocabulary or request format.

    Args:
        candidate: the version to judge.
        champion: the present champion, None when there is none.
        gates: the bounds.
        latency_ratio: measures the candidate's time to answer over the champion's; called only where
            `gates.max_latency_ratio` asks for it and the other gates have a champion to compare with.
    """
    if champion is None:
        return _verdict([*_floors(candidate, gates), *_gains_over_base(candidate, gates)], "no champion yet")
    name = f"champion v{champion.version}"
    if candidate.version is not None and candidate.version == champion.version:
        return Decision(promote=False, reason=f"{name} is this version")
    difference = _difference(candidate, champion, gates)
    if candidate.same_weights(champion):
        how = "registered anew" if difference is None else "measured anew on the present benchmark"
        return Decision(promote=True, reason=f"the weights of {name}, {how}")
    if difference is not None:
        return Decision(promote=False, reason=f"{name} {difference}")
    compared = (*_regressions(candidate, champion, gates), *_mean_gain(candidate, champion, gates))
    return _verdict([*_floors(candidate, gates), *compared, *_latency(gates, latency_ratio)], f"against {name}")


def _difference(candidate: Evidence, champion: Evidence, gates: GateParams) -> str | None:
    """Why the numbers that the gates ask for do not compare; None where they do."""
    if candidate.benchmark_digest != champion.benchmark_digest:
        said = f"benchmark ({champion.benchmark_digest[:12] or 'unknown'}, now {candidate.benchmark_digest[:12]})"
    elif candidate.protocols and champion.protocols:
        asked = {metric.partition(".")[0] for metric in (*gates.max_regression, *gates.metrics)}
        then, now = ({n: block for n, block in e.protocols.items() if n in asked} for e in (champion, candidate))
        found = next(differences(then, now), None)
        if found is None:
            return None
        said = f"protocol ({found.field}: {found.first}, now {found.second})"
    elif candidate.protocol_digest != champion.protocol_digest:
        said = f"protocol ({champion.protocol_digest[:12] or 'unknown'}, now {candidate.protocol_digest[:12]})"
    else:
        return None
    return (
        f"was measured by another {said}, so the numbers do not compare: "
        f"evaluate and register the champion's weights by this one first"
    )


def _verdict(checks: list[Check], against: str) -> Decision:
    failed = [check for check in checks if not check.passed]
    if failed:
        listed = "; ".join(str(check) for check in failed)
        reason = f"{against}: {len(failed)} of {len(checks)} gates fail: {listed}"
        return Decision(promote=False, reason=reason, checks=tuple(checks))
    return Decision(promote=True, reason=f"{against}: all {len(checks)} gates hold", checks=tuple(checks))


def _check(gate: str, metric: str, at_least: float, got: float | None) -> Check:
    return Check(gate, metric, at_least, got, passed=got is not None and got >= at_least - _ROUNDING)


def _floors(candidate: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, least in sorted(gates.floors.items()):
        yield _check("floors", metric, least, candidate.tuned.get(metric))


def _gains_over_base(candidate: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, least in sorted(gates.min_gain_over_base.items()):
        yield _check("min_gain_over_base", metric, least, _gain(candidate.tuned, candidate.base, metric))


def _regressions(candidate: Evidence, champion: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, allowed in sorted(gates.max_regression.items()):
        yield _check("max_regression", metric, -allowed, _gain(candidate.tuned, champion.tuned, metric))


def _mean_gain(candidate: Evidence, champion: Evidence, gates: GateParams) -> Iterator[Check]:
    if not gates.metrics:
        return
    gains = [_gain(candidate.tuned, champion.tuned, metric) for metric in gates.metrics]
    missing = [metric for metric, gain in zip(gates.metrics, gains, strict=True) if gain is None]
    if missing:
        for metric in missing:
            yield _check("min_mean_gain", metric, gates.min_mean_gain, None)
        return
    known = [gain for gain in gains if gain is not None]
    yield _check("min_mean_gain", f"mean of {len(known)}", gates.min_mean_gain, sum(known) / len(known))


def _latency(gates: GateParams, ratio: Callable[[], float] | None) -> Iterator[Check]:
    if (most := gates.max_latency_ratio) is None:
        return
    got = None if ratio is None else ratio()
    passed = got is not None and got <= most + _ROUNDING
    yield Check("max_latency_ratio", "time over the champion's", None, got, passed, at_most=most)


def _gain(ours: Mapping[str, float], theirs: Mapping[str, float], metric: str) -> float | None:
    """Ours minus theirs, None where either is missing."""
    if metric not in ours or metric not in theirs:
        return None
    return ours[metric] - theirs[metric]
