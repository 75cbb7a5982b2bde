"""The registered model as an MLflow "model from code": MLflow executes this file when it logs and loads the model.

A request has one row per image with the fields of `umgclip.inference.request`: `image` and optionally labels, boxes,
masks, tags and so on. The answer is one mapping per row, as `umgclip.inference.answerer.Answerer.answer` returns it.
Over HTTP (`mlflow models serve`) rows go into `dataframe_records`, `dataframe_split` or `inputs`. MLflow turns
`instances` into arrays, which works only for rows of the same lengths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from umgclip.errors import InputError
from umgclip.inference.folder import load_folder
from umgclip.register.scoring import keep_traces_here, refusing

_BATCH = 32


class UmgclipModel(PythonModel):
    """MLflow model that answers requests by an `Answerer`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model; it runs on a GPU if there is one."""
        keep_traces_here()
        self._answerer = load_folder(Path(context.artifacts["base_config"]).parent, context.model_config or {})

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> list[dict[str, Any]]:
        """Answer the rows of a request; the module's docstring describes both.

        Raises:
            RefusedError: a field of a row is missing or invalid, or the bytes are not an image; names row and field.
        """
        with refusing():
            return self._answer(model_input)

    def _answer(self, model_input: pd.DataFrame) -> list[dict[str, Any]]:
        rows = model_input.to_dict("records") if isinstance(model_input, pd.DataFrame) else list(model_input)
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), _BATCH):
            chunk = enumerate(rows[start : start + _BATCH], start)
            prepared = [self._answerer.prepare(_fields(row, index), where=f"row {index}") for index, row in chunk]
            answers.extend(self._answerer.answer(prepared))
        return answers


def _fields(row: Any, index: int) -> dict[str, Any]:  # noqa: ANN401 - the caller may send anything
    if not isinstance(row, dict):
        raise InputError(f"row {index}: expected a mapping of fields, got {type(row).__name__}")
    return {str(name): value for name, value in row.items()}


mlflow.models.set_model(UmgclipModel())
