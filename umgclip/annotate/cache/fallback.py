"""One image must not stop the others: what a role cannot do at once is tried in parts, down to one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from umgclip.annotate.cache.lazy_model import NotAnsweredError
from umgclip.annotate.rejected import Failure
from umgclip.errors import UmgclipError


def guarded(compute: Callable[[range], list[Any]], rows: range) -> list[Any]:
    """One answer or `Failure` a row.

    A batch that runs out of a GPU's memory is done again in halves, one in which something unexpected is raised is
    done image by image. Alone, an image gets a `Failure`: `out_of_memory`, or `error` with the exception's first line.

    Args:
        compute: answers for some of the rows.
        rows: all.

    Raises:
        UmgclipError, NotAnsweredError: nothing that other images would not meet too.
        torch.AcceleratorError: the device is lost to this process.
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
    # outside of the handler, where the traceback would keep the batch's tensors alive
    if failure.reason == "out_of_memory" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(rows) <= 1:
        return [failure for _ in rows]
    step = -(-len(rows) // parts)
    pieces = [rows[start : start + step] for start in range(0, len(rows), step)]
    return [answer for piece in pieces for answer in guarded(compute, piece)]


def first_line(error: Exception) -> str:
    """An exception in one line of at most 300 characters."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
