"""Retries of a batch that a role fails on: in parts, down to one image, so that one image does not stop others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from umgclip.annotate.cache.lazy_model import NotAnsweredError
from umgclip.annotate.rejected import Failure
from umgclip.errors import UmgclipError


def guarded(compute: Callable[[range], list[Any]], rows: range) -> list[Any]:
    """Return one answer or `Failure` a row.

    A batch that runs out of a GPU's memory is done again in halves; a batch that raises an unexpected exception is
    done image by image. An image that fails alone gets a `Failure`: `out_of_memory`, or `error` with the exception's
    first line.

    Args:
        compute: returns the answers for some of the rows.
        rows: all rows of the batch.

    Raises:
        UmgclipError, NotAnsweredError: errors that every other image would meet too.
        torch.AcceleratorError: this process can no longer use its device.
    """
    failure: Failure
    try:
        answers = compute(rows)
        if len(answers) != len(rows):
            raise AssertionError(f"expected {len(rows)} answers, got {len(answers)}")  # noqa: TRY301
    except (UmgclipError, NotAnsweredError, torch.AcceleratorError):
        raise
    except torch.OutOfMemoryError as error:
        failure, parts = Failure("out_of_memory", first_line(error)), 2
    except Exception as error:  # noqa: BLE001 - whatever a model may raise
        failure, parts = Failure("error", first_line(error)), len(rows)
    else:
        return answers
    # outside of the handler: inside it the traceback would keep the batch's tensors alive
    if failure.reason == "out_of_memory" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(rows) <= 1:
        return [failure for _ in rows]
    step = -(-len(rows) // parts)
    return [answer for start in range(0, len(rows), step) for answer in guarded(compute, rows[start : start + step])]


def first_line(error: Exception) -> str:
    """Return an exception in one line of at most 300 characters."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
