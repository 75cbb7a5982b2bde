"""The prediction of each model about each true thing, as a table for the gallery and for other programs."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float

from umgclip.io.atomic import atomic_file
from umgclip.io.tables import PREDICTIONS, TableWriter

FILE = "predictions.parquet"
_DIGITS = 4  # further ones differ between machines


class Predictions:
    """Rows of `predictions.parquet`, written to a temporary file as they come, so that memory does not grow.

    Args:
        names: names of all things, by label.
        models: names of the models.
    """

    def __init__(self, names: Sequence[str], models: Sequence[str]) -> None:
        self._names, self._models = names, models
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._writer = TableWriter(self._file, PREDICTIONS)
        self._close = weakref.finalize(self, _close, self._writer, self._file)

    def add(
        self,
        key: str,
        regions: Sequence[str | None],
        labels: Sequence[int],
        probabilities: Sequence[Float[np.ndarray, "rows things"]],
    ) -> None:
        """Add what each model predicts about some regions of an image, or about the whole image.

        Args:
            key: key of the image.
            regions: id of each region; None is the image.
            labels: true label of each region.
            probabilities: for each model, one row per region.
        """
        for model, of_model in zip(self._models, probabilities, strict=True):
            best = of_model.argmax(axis=1)
            self._writer.add(
                {
                    "key": key,
                    "region_id": region,
                    "model": model,
                    "label": self._names[best[row]],
                    "score": round(float(of_model[row, best[row]]), _DIGITS),
                    "truth": self._names[label],
                    "truth_score": round(float(of_model[row, label]), _DIGITS),
                }
                for row, (region, label) in enumerate(zip(regions, labels, strict=True))
            )

    def write(self, path: Path) -> None:
        """Write the table, whole or not at all; nothing can be added after that."""
        self._writer.close()
        self._file.seek(0)
        with atomic_file(path) as temporary, temporary.open("wb") as target:
            shutil.copyfileobj(self._file, target)
        self._close()


def _close(writer: TableWriter, file: IO[bytes]) -> None:
    """Close the temporary file, also after an error elsewhere; the writer first, because it writes a footer."""
    writer.close()
    file.close()
