"""The latency ratio under a clock of the test's own."""

from collections.abc import Callable, Iterator

import pytest

from umgclip.inference.answerer import Answerer
from umgclip.register.latency import ratio_of


class Clock:
    """Clock that advances only when a model answers."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(Answerer):
    """An answerer whose answers take as long as it is told."""

    def __init__(self, name: str, clock: Clock, prepare: Callable, seconds: Iterator[float]) -> None:
        self.name, self.prepare = name, prepare
        self._clock, self._seconds = clock, seconds
        self.batches: list[int] = []
        self.log: list[str] = []

    def answer(self, requests):
        self.batches.append(len(requests))
        self.log.append(self.name)
        self._clock.now += next(self._seconds)
        return []


def seconds(first: float, *then: float) -> Iterator[float]:
    """Yield the time of the warm-up, then of every answer after it, over and over."""
    yield first
    while True:
        yield from then


def measure(answerer: Answerer, candidate: Iterator[float], champion: Iterator[float]) -> tuple[float, Timed]:
    clock = Clock()
    models = [
        Timed(name, clock, answerer.prepare, each) for name, each in (("candidate", candidate), ("champion", champion))
    ]
    models[0].log = models[1].log
    return ratio_of(*models, clock=clock), models[0]


def test_it_is_the_ratio_of_the_medians_after_a_warm_up(answerer: Answerer):
    ratio, candidate = measure(answerer, seconds(100.0, 0.3, 0.3, 0.9), seconds(50.0, 0.2))
    assert ratio == pytest.approx(1.5)
    assert len(candidate.batches) == 16
    assert set(candidate.batches) == {4}


def test_the_two_take_turns_at_being_first(answerer: Answerer):
    _, candidate = measure(answerer, seconds(0.1, 0.1), seconds(0.1, 0.1))
    assert candidate.log[:6] == ["candidate", "champion", "candidate", "champion", "champion", "candidate"]


def test_slow_models_are_measured_three_times(answerer: Answerer):
    ratio, candidate = measure(answerer, seconds(40.0, 40.0), seconds(20.0, 20.0))
    assert ratio == pytest.approx(2.0)
    assert len(candidate.batches) == 1 + 3


def test_real_models_answer_the_request_that_is_timed(answerer: Answerer):
    assert ratio_of(answerer, answerer) > 0
