"""The decision whether a new version becomes the champion, without access to MLflow or files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from umgclip.metrics.measured import lacking
from umgclip.metrics.protocol import differences
from umgclip.params import GateParams

FORCE = "`umgclip promote --force --reason TEXT`"
_ROUNDING = 1e-9  # 0.50 - 0.02 must count as 0.48


@dataclass(frozen=True)
class Evidence:
    """The facts about one version: its weights, how it was measured, and its metrics (under dotted names).

    `benchmark_digest` identifies the benchmark's samples, `protocol_digest` the settings of the evaluation (templates,
    sizes, thresholds). `protocols` describes field by field how each benchmark was measured; old versions have none.
    Metrics are comparable only if all of these that both versions have are equal.
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
        """Return whether both versions are known to have the same weights."""
        return bool(self.adapter_sha256) and (self.adapter_sha256, self.base_sha256) == (
            other.adapter_sha256,
            other.base_sha256,
        )


@dataclass(frozen=True)
class Check:
    """The result of one gate, which has either a lower or an upper bound.

    `got` is None if the metric is missing. That fails the gate, unless the benchmark cannot measure the metric:
    `skipped` then names what the benchmark lacks, and the gate neither holds nor fails.
    """

    gate: str
    metric: str
    at_least: float | None
    got: float | None
    passed: bool
    at_most: float | None = None
    skipped: str | None = None

    @property
    def failed(self) -> bool:
        """True if the gate failed and so keeps the old champion."""
        return not self.passed and self.skipped is None

    @property
    def holds(self) -> str:
        """Text for a table: yes, NO, or the reason that the gate was skipped."""
        return f"skipped: benchmark has {self.skipped}" if self.skipped else "yes" if self.passed else "NO"

    @property
    def expected(self) -> str:
        """The bound as text, as in `at least 0.480`."""
        return f"at least {self.at_least:.3f}" if self.at_least is not None else f"at most {self.at_most:.3f}"

    @property
    def measured(self) -> str:
        """The measured value as text, as in `0.470`."""
        return "nothing" if self.got is None else f"{self.got:.3f}"

    def __str__(self) -> str:
        """Describe the check, as in `max_regression region.box_top1: expected at least 0.480, got 0.470`."""
        return f"{self.gate} {self.metric}: expected {self.expected}, got {self.measured}"


@dataclass(frozen=True)
class Decision:
    """The decision whether the alias moves, its reason and all checks; `forced` if a user overrode the gates."""

    promote: bool
    reason: str
    checks: tuple[Check, ...] = ()
    forced: bool = False

    def to_json(self) -> dict[str, Any]:
        """Convert the decision to plain JSON values."""
        return asdict(self) | {"checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Decision:
        """Restore a decision from the values of `to_json`."""
        checks = tuple(Check(**check) for check in value["checks"])
        return cls(value["promote"], value["reason"], checks, value.get("forced", False))


def flatten_metrics(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten nested metrics to dotted names; values that are not finite numbers (null, text, NaN) are left out.

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

    A gate on a metric that the benchmark cannot measure is skipped, and the reason says so. A metric that is missing
    for any other reason fails its gate. The candidate is refused if nothing that the gates name was measured.

    A candidate with the champion's own weights takes the alias without gates: it was measured again, which is how a
    champion moves to a new benchmark, or registered again with another template, vocabulary or request format.

    Args:
        candidate: the version to judge.
        champion: the current champion, None if there is none.
        gates: the bounds.
        latency_ratio: measures the candidate's time to answer divided by the champion's; called only if
            `gates.max_latency_ratio` is set and the metrics of the two can be compared.
    """
    if champion is None:
        base = replace(candidate, version=None, tuned=candidate.base)
        first = (*_regressions(candidate, base, gates), *_gains_over_base(candidate, base, gates))
        return _verdict(candidate, [*_floors(candidate, gates), *first], "no champion yet")
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
    measured = (*_floors(candidate, gates), *compared)
    if measured and (problem := _nothing_measured(candidate, measured)):
        return Decision(promote=False, reason=f"against {name}: {problem}", checks=measured)
    return _verdict(candidate, [*measured, *_latency(gates, latency_ratio)], f"against {name}")


def _difference(candidate: Evidence, champion: Evidence, gates: GateParams) -> str | None:
    """Explain why the metrics that the gates name are not comparable; None if they are."""
    if candidate.benchmark_digest != champion.benchmark_digest:
        what = f"benchmark ({champion.benchmark_digest[:12] or 'unknown'}, now {candidate.benchmark_digest[:12]})"
    elif candidate.protocols and champion.protocols:
        benchmarks = {metric.partition(".")[0] for metric in (*gates.max_regression, *gates.metrics)}
        then, now = ({n: block for n, block in e.protocols.items() if n in benchmarks} for e in (champion, candidate))
        difference = next(differences(then, now), None)
        if difference is None:
            return None
        what = f"protocol ({difference.field}: {difference.first}, now {difference.second})"
    elif candidate.protocol_digest != champion.protocol_digest:
        what = f"protocol ({champion.protocol_digest[:12] or 'unknown'}, now {candidate.protocol_digest[:12]})"
    else:
        return None
    return (
        f"was measured by another {what}, so the numbers do not compare: "
        f"evaluate and register the champion's weights by this one first, promote without gates by {FORCE}, "
        f"or give this project's versions a register.name of their own"
    )


def _verdict(candidate: Evidence, checks: Sequence[Check], against: str) -> Decision:
    failed, skipped = [c for c in checks if c.failed], [c for c in checks if c.skipped]
    evaluated = len(checks) - len(skipped)
    if failed:
        verdict = f"{len(failed)} of {evaluated} gates fail: {'; '.join(str(check) for check in failed)}"
    elif checks and (problem := _nothing_measured(candidate, checks)):
        return Decision(promote=False, reason=f"{against}: {problem}", checks=tuple(checks))
    else:
        verdict = f"all {evaluated} gates hold"
    reason = f"{against}: {verdict}{f'; {len(skipped)} skipped: {_why_skipped(skipped)}' if skipped else ''}"
    return Decision(promote=not failed, reason=reason, checks=tuple(checks))


def _nothing_measured(candidate: Evidence, checks: Sequence[Check]) -> str | None:
    """Explain that the benchmark measures none of the metrics for the mean gain, or of any gate; else None."""
    gains = [check for check in checks if check.gate == "min_mean_gain"]
    if not all(check.skipped for check in gains or checks):
        return None
    key = "register.gates.metrics" if gains else "register.gates.min_gain_over_base"
    return (
        f"no metric that {'register.gates.metrics lists' if gains else 'register.gates needs'} was measured: "
        f"{_why_skipped(gains or checks)}; list metrics of this benchmark in {key}, such as "
        f"{', '.join(sorted(candidate.tuned)[:3]) or 'nothing so far'}, or promote without gates: {FORCE}"
    )


def _why_skipped(skipped: Sequence[Check]) -> str:
    """List skipped metrics by reason, as in `region.box_top1, region.mask_top1 (benchmark has no regions)`."""
    of_reason: dict[str, list[str]] = {}
    for check in skipped:
        of_reason.setdefault(check.skipped or "", []).append(check.metric)
    listed = ((", ".join(dict.fromkeys(metrics)), reason) for reason, metrics in of_reason.items())
    return "; ".join(f"{metrics} (benchmark has {reason})" for metrics, reason in listed)


def _check(gate: str, metric: str, at_least: float, got: float | None) -> Check:
    return Check(gate, metric, at_least, got, passed=got is not None and got >= at_least - _ROUNDING)


def _skipped(check: Check, candidate: Evidence, other: Evidence | None = None) -> Check:
    """Mark a check as skipped if neither version has its metric because the benchmark cannot measure it."""
    known = [candidate.tuned, *([] if other is None else [other.tuned])]
    if check.got is not None or any(check.metric in metrics for metrics in known):
        return check
    readouts = candidate.protocols.get("region", {}).get("readouts", {})
    return replace(check, skipped=lacking(check.metric, candidate.tuned, readouts))


def _floors(candidate: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, least in sorted(gates.floors.items()):
        yield _skipped(_check("floors", metric, least, candidate.tuned.get(metric)), candidate)


def _gains_over_base(candidate: Evidence, base: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, least in sorted(gates.min_gain_over_base.items()):
        check = _check("min_gain_over_base", metric, least, _gain(candidate, base, metric))
        yield _skipped(check, candidate, base)


def _regressions(candidate: Evidence, other: Evidence, gates: GateParams) -> Iterator[Check]:
    for metric, allowed in sorted(gates.max_regression.items()):
        check = _check("max_regression", metric, -allowed, _gain(candidate, other, metric))
        yield _skipped(check, candidate, other)


def _mean_gain(candidate: Evidence, champion: Evidence, gates: GateParams) -> Iterator[Check]:
    """Yield one check of the mean over the metrics that were measured, and one for each missing metric."""
    gains = {metric: _gain(candidate, champion, metric) for metric in gates.metrics}
    for metric, gain in gains.items():
        if gain is None:
            yield _skipped(_check("min_mean_gain", metric, gates.min_mean_gain, None), candidate, champion)
    known = [gain for gain in gains.values() if gain is not None]
    if known:
        yield _check("min_mean_gain", f"mean of {len(known)}", gates.min_mean_gain, sum(known) / len(known))


def _latency(gates: GateParams, ratio: Callable[[], float] | None) -> Iterator[Check]:
    if (most := gates.max_latency_ratio) is None:
        return
    got = None if ratio is None else ratio()
    passed = got is not None and got <= most + _ROUNDING
    yield Check("max_latency_ratio", "time over the champion's", None, got, passed, at_most=most)


def _gain(ours: Evidence, theirs: Evidence, metric: str) -> float | None:
    """Return our value minus theirs, None if either is missing."""
    if metric not in ours.tuned or metric not in theirs.tuned:
        return None
    return ours.tuned[metric] - theirs.tuned[metric]
