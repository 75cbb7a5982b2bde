"""Workers that decode ahead: order, content and errors are those of a plain map."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from umgclip.data.loader import Backend, ordered_map
from umgclip.errors import DataError, UmgclipError


def square(number: int) -> int:
    if number < 0:
        raise DataError(f"number {number}")
    return number * number


def slowly(number: int) -> int:
    """The later, the faster."""
    time.sleep((10 - number) / 500)
    return number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_keep_the_order(workers: int) -> None:
    assert list(ordered_map(square, iter(range(20)), workers)) == [n * n for n in range(20)]
    assert list(ordered_map(slowly, iter(range(10)), workers)) == list(range(10))
    assert list(ordered_map(square, iter([]), workers)) == []


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_comes_where_its_result_would(workers: int) -> None:
    stream = ordered_map(square, iter([1, 2, -3, 4]), workers)
    assert [next(stream), next(stream)] == [1, 4]
    with pytest.raises(DataError, match="number -3"):
        next(stream)


def test_workers_run_ahead_and_no_further_than_they_may() -> None:
    given: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            given.append(number)
            yield number

    stream = ordered_map(square, source(), 3)
    next(stream)
    time.sleep(0.2)
    assert 6 <= len(given) <= 10
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "workers"), [("processes", 2)])
def test_processes_keep_the_order_and_their_death_is_told(backend: Backend, workers: int) -> None:
    # functions of the package: those of a test module cannot be imported by another process
    assert list(ordered_map(abs, iter(range(-9, 9)), workers, backend)) == [abs(n) for n in range(-9, 9)]
    with pytest.raises(UmgclipError, match="a process that decodes images died"):
        list(ordered_map(os._exit, iter([9]), workers, backend))


@pytest.mark.slow
def test_processes_that_are_closed_early_end_in_peace(capfd: pytest.CaptureFixture[str]) -> None:
    # a worker sometimes aborted here: it was sending a tensor while its interpreter ended
    for _ in range(2):
        stream = ordered_map(torch.zeros, iter([200_000] * 100), 2, "processes")
        assert [len(next(stream)) for _ in range(3)] == [200_000] * 3
        stream.close()
    assert capfd.readouterr().err == ""
