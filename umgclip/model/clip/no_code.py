"""Models from folders and from the hub without the code that they may bring along."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from umgclip.errors import InputError

_lock = threading.Lock()
_inside = 0
_before = 0


@contextmanager
def no_remote_code(where: str) -> Iterator[None]:
    """Refuse what would run a model's own code, also where a library forgets to say so.

    A library that passes no `trust_remote_code` on (open_clip's text towers) makes transformers ask on stdin, where a
    piped "y" is a yes. With no time for an answer it raises instead.

    Args:
        where: what to call the model in an error.

    Raises:
        InputError: the model cannot be loaded without its code.
    """
    try:
        from transformers import dynamic_module_utils as asking
    except ImportError:  # without transformers no code is offered
        yield
        return
    global _inside, _before  # noqa: PLW0603 - of the process, as what it changes
    with _lock:
        if not _inside:
            _before, asking.TIME_OUT_REMOTE_CODE = asking.TIME_OUT_REMOTE_CODE, 0
        _inside += 1
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise InputError(
            f"{where}: expected a model that needs no code of its own; its Python files are not run"
        ) from error
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                asking.TIME_OUT_REMOTE_CODE = _before
