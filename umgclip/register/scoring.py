"""Errors for clients of `mlflow models serve`: the reason that a request was refused, and nothing else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from umgclip.errors import DataError, InputError

_APP = "mlflow.pyfunc.scoring_server.app"
_TRACE = "stack_trace"
_logger = logging.getLogger(__name__)


class RefusedError(MlflowException, InputError):
    """An invalid request: status 400 with the reason only. MLflow itself would put the request's data before it."""

    def __init__(self, message: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        MlflowException.__init__(self, message, error_code=error_code)
        self._reason = message

    def serialize_as_json(self) -> str:
        """Return the body of MLflow's answer, with the reason as its message."""
        self.message = self._reason
        return str(super().serialize_as_json())


@contextmanager
def refusing() -> Iterator[None]:
    """Turn any error of a request into a `RefusedError` for the client; the log gets the details.

    Raises:
        RefusedError: instead of any other error; with status 500 if the request is not at fault.
    """
    try:
        yield
    except (InputError, DataError) as error:
        raise RefusedError(str(error)) from error
    except Exception as error:
        _logger.exception("cannot answer a request")
        raise RefusedError(
            "the request could not be answered; see the server's log for the reason", INTERNAL_ERROR
        ) from error


def keep_traces_here() -> None:
    """Make `mlflow models serve` log stack traces and not send them to clients; MLflow has no setting for this."""
    if _APP not in sys.modules or hasattr(MlflowException.serialize_as_json, "__wrapped__"):
        return
    original = MlflowException.serialize_as_json

    @wraps(original)
    def serialize_as_json(error: Any) -> str:  # noqa: ANN401 - MLflow is not read by the type checker
        trace = error.json_kwargs.pop(_TRACE, None)
        if trace is not None:
            _logger.warning("%s\n%s", error.message, trace)
        return str(original(error))

    MlflowException.serialize_as_json = serialize_as_json
