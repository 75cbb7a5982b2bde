"""95 % intervals of each model's metrics, and of the gain of the second model over the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umgclip.evaluate.suite import Suite
from umgclip.metrics.bootstrap import centred_interval

Values = Mapping[str, Mapping[str, float]]
CONFIDENCE = 0.95


def intervals(suites: Sequence[Suite], results: Mapping[str, Values], resamples: int) -> dict[str, Any]:
    """Return `{model: {benchmark: {metric: {low, high}}}}` of each model and, as `change`, of second minus first.

    Images are drawn together with all their regions and captions, and both models get the same draws, so the interval
    of a change is narrower than those of the two numbers.

    Args:
        suites: the suites of the models.
        results: their metrics, by name of the suite.
        resamples: number of draws; 0 gives no intervals.
    """
    if not resamples:
        return {}
    drawn = {suite.name: suite.draws(resamples) for suite in suites}
    ends = {name: _each(results[name], draws) for name, draws in drawn.items()}
    if len(suites) == 2:
        first, second = (suite.name for suite in suites)
        change = {
            benchmark: {
                metric: values - drawn[first][benchmark][metric]
                for metric, values in metrics.items()
                if metric in drawn[first].get(benchmark, {})
            }
            for benchmark, metrics in drawn[second].items()
        }
        gains = {
            name: {metric: results[second][name][metric] - results[first][name][metric] for metric in each}
            for name, each in change.items()
        }
        ends["change"] = _each(gains, change)
    return {name: each for name, each in ends.items() if each}


def _each(results: Values, draws: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    ends: dict[str, Any] = {}
    for benchmark, metrics in draws.items():
        for metric, values in metrics.items():
            interval = centred_interval(results[benchmark][metric], values, CONFIDENCE)
            if interval is not None:
                ends.setdefault(benchmark, {})[metric] = {"low": interval.low, "high": interval.high}
    return ends
