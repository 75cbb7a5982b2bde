"""Batches that are halved when memory runs out, and in which one bad item does not spoil the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from umgclip.annotate.rejected import Failure

T = TypeVar("T")
R = TypeVar("R")


def run_batches(items: Sequence[T], size: int, forward: Callable[[Sequence[T]], Sequence[R]]) -> list[R | Failure]:
    """Return one result for each item, in order.

    A batch that runs out of memory, or on which the model fails, is repeated in halves. An item that fails alone
    becomes a `Failure` (`out_of_memory` or `model_error`).

    Args:
        items: the input of `forward`.
        size: items in a batch.
        forward: returns one result for each item; it runs in inference mode.
    """
    results: list[R | Failure] = []
    for start in range(0, len(items), size):
        results.extend(_run(items[start : start + size], forward))
    return results


def _run(items: Sequence[T], forward: Callable[[Sequence[T]], Sequence[R]]) -> list[R | Failure]:
    failure: Failure
    try:
        with torch.inference_mode():
            results: list[R | Failure] = [*forward(items)]
    except torch.AcceleratorError:
        raise  # this process cannot use the device any more
    except torch.OutOfMemoryError as error:
        failure = Failure("out_of_memory", _first_line(error))
    except (RuntimeError, ValueError, IndexError) as error:
        failure = Failure("model_error", _first_line(error))
    else:
        if len(results) != len(items):
            raise AssertionError(f"expected {len(items)} results, got {len(results)}")
        return results
    # outside the handler, because there the traceback keeps the tensors of the batch alive
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(items) == 1:
        return [failure]
    middle = len(items) // 2
    return [*_run(items[:middle], forward), *_run(items[middle:], forward)]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
