"""What a client of `mlflow models serve` is told of a request that cannot be answered: a reason, nothing else."""

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
    """A request that is not what it should be: 400, with the reason alone. MLflow would print the data before it."""

    def __init__(self, message: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        MlflowException.__init__(self, message, error_code=error_code)
        self._reason = message

    def serialize_as_json(self) -> str:
        """The body of MLflow's answer."""
        self.message = self._reason
        return str(super().serialize_as_json())


@contextmanager
def refusing() -> Iterator[None]:
    """Have what a request sets off reach its sender as a `RefusedError`; the log has the rest.

    Raises:
        RefusedError: always instead of another error; 500 where the fault is not the request's.
    """
    try:
        yield
    except (InputError, DataError) as error:
        raise RefusedError(str(error)) from error
    except Exception as error:
        _logger.exception("a request could not be answered")
        raise RefusedError("the request could not be answered; the server's log says why", INTERNAL_ERROR) from error


def keep_traces_here() -> None:
    """In the process of `mlflow models serve`: have stack traces logged and not sent; MLflow has no setting for it."""
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
