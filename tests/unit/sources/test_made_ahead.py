"""Calls that threads make ahead of their turn: their order, how many at once, and what is made when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from umgclip.sources.formats.shared.reading import made_ahead, one_at_a_time


def calls(taken: list[int], made: Callable[[int], int]) -> Iterator[Callable[[], int]]:
    for number in range(20):
        taken.append(number)
        yield partial(made, number)


def test_results_come_in_order_and_few_calls_are_taken_before_their_turn() -> None:
    taken: list[int] = []
    results = made_ahead(calls(taken, lambda number: number * number), threads=3, most=4)
    for number, result in enumerate(results):
        assert result == number * number
        assert len(taken) <= number + 4
    assert number == 19


def test_a_call_is_made_while_the_result_before_it_is_used() -> None:
    second = threading.Event()
    results = made_ahead(calls([], lambda number: number if number != 1 else bool(second.set())), threads=1, most=2)
    assert next(results) == 0
    assert second.wait(10)


def test_an_error_comes_in_the_turn_of_its_call() -> None:
    results = made_ahead(calls([], lambda number: number // (number != 2)), threads=2, most=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_one_at_a_time_nothing_is_made_ahead() -> None:
    taken: list[int] = []
    here: list[bool] = []
    with one_at_a_time():
        results = made_ahead(
            calls(taken, lambda number: here.append(threading.current_thread() is threading.main_thread()) or number),
            threads=2,
            most=4,
        )
        assert next(results) == 0
    assert (taken, here) == ([0], [True])
