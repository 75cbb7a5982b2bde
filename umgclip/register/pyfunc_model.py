"""The registered model as MLflow runs it ("models from code"): MLflow executes this file when it logs and loads.

Request, one row an image: `image` (bytes of a JPEG, PNG or WebP file, or the same as base64 text), optional `labels`
(texts), optional `boxes` (pixels, x0 y0 x1 y1). Answer, one mapping a row: `embedding` (d numbers, L2-normalised),
`label_scores` (softmax over the labels; null without labels) and `box_label_scores` (the same for every box; null
without boxes or labels).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import mlflow
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from mlflow.pyfunc import PythonModel, PythonModelContext
from torch import Tensor

from umgclip.data.concepts import with_article
from umgclip.errors import DataError, InputError
from umgclip.io.images import decode_image
from umgclip.model import files
from umgclip.model.adapters import load_tuned
from umgclip.model.readout import pool_boxes
from umgclip.model.tower import DenseClip
from umgclip.register.base_files import restore_base

_BATCH = 32


@dataclass(frozen=True)
class _Request:
    """One row: pixels squeezed to the model's square, labels, boxes as shares of the image's sides."""

    pixels: np.ndarray
    labels: list[str]
    boxes: Float[Tensor, "r 4"]


class UmgclipModel(PythonModel):
    """Base weights with the adapter merged in, answering with embeddings and label scores."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read base and adapter; runs on a GPU when there is one."""
        with restore_base(Path(context.artifacts["base_config"]).parent) as base:
            clip = load_tuned(base, Path(context.artifacts["adapter"]))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tower = DenseClip(clip).eval().to(self._device)
        height, width = cast(Any, clip).visual.image_size
        self._size_wh = (int(width), int(height))
        self._tokenize = files.Tokenizer(self._tower.context_length)
        self._template = str((context.model_config or {}).get("template", "{a} {}"))

    @torch.inference_mode()
    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> list[dict[str, Any]]:
        """Answer rows; see the module's text.

        Raises:
            InputError: a row lacks its image, or has labels or boxes that are none; names row and field.
            DataError: the bytes are no image.
        """
        rows = model_input.to_dict("records") if isinstance(model_input, pd.DataFrame) else list(model_input)
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), _BATCH):
            chunk = enumerate(rows[start : start + _BATCH], start)
            answers.extend(self._answer([self._parse(row, f"row {index}") for index, row in chunk]))
        return answers

    def _answer(self, requests: Sequence[_Request]) -> list[dict[str, Any]]:
        image, dense = self._tower.encode_image(files.to_input(np.stack([r.pixels for r in requests])).to(self._device))
        labels = list(dict.fromkeys(label for request in requests for label in request.labels))
        prompts = [_prompt(self._template, label) for label in labels]
        text = self._tower.encode_text(self._tokenize(prompts).to(self._device))
        place = {label: index for index, label in enumerate(labels)}
        scale = self._tower.logit_scale()
        answers = []
        for index, request in enumerate(requests):
            answer: dict[str, Any] = {
                "embedding": image[index].tolist(),
                "label_scores": None,
                "box_label_scores": None,
            }
            if request.labels:
                own = text[[place[label] for label in request.labels]]
                answer["label_scores"] = (scale * image[index] @ own.T).softmax(-1).tolist()
                if len(request.boxes):
                    owner = torch.zeros(len(request.boxes), dtype=torch.long, device=self._device)
                    pooled = pool_boxes(dense[index : index + 1], request.boxes.to(self._device), owner)
                    answer["box_label_scores"] = (scale * pooled @ own.T).softmax(-1).tolist()
            answers.append(answer)
        return answers

    def _parse(self, row: Any, where: str) -> _Request:  # noqa: ANN401 - whatever the caller sent
        if not isinstance(row, dict) or _absent(row.get("image")):
            raise InputError(f"{where}: image: expected bytes or base64 text of a JPEG, PNG or WebP file, got none")
        pixels = decode_image(_bytes(row["image"], where), where=f"{where}: image")
        height, width = pixels.shape[:2]
        boxes = torch.tensor(_boxes(row.get("boxes"), width, height, where)).reshape(-1, 4)
        labels = [] if _absent(row.get("labels")) else list(row["labels"])
        if isinstance(row.get("labels"), str) or not all(isinstance(label, str) and label.strip() for label in labels):
            raise InputError(f"{where}: labels: expected a list of texts, got {str(row['labels'])[:80]!r}")
        return _Request(_squeeze(pixels, self._size_wh), labels, boxes / torch.tensor([width, height] * 2))


def _prompt(template: str, label: str) -> str:
    """`{}` is the label, `{a}` its article, as in the evaluation's class prompts."""
    return template.replace("{a}", with_article(label).partition(" ")[0]).replace("{}", label)


def _absent(value: Any) -> bool:  # noqa: ANN401 - a cell of a table
    """Whether a cell is empty: pandas fills what a row lacks with NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _bytes(value: Any, where: str) -> bytes:  # noqa: ANN401 - a cell of a table
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: image: expected bytes or base64 text, got {type(value).__name__}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: image: not valid base64 ({error})") from error


def _boxes(value: Any, width: int, height: int, where: str) -> list[list[float]]:  # noqa: ANN401 - a cell of a table
    """Boxes clipped to the image, in pixels."""
    if _absent(value):
        return []
    clipped = []
    for index, box in enumerate(value):
        try:
            x0, y0, x1, y1 = (float(side) for side in box)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: boxes[{index}]: expected 4 numbers x0 y0 x1 y1, got {box!r}") from error
        inside = [max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)]
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            raise InputError(
                f"{where}: boxes[{index}]: expected x0 < x1 and y0 < y1 within {width} x {height} pixels, got {box!r}"
            )
        clipped.append(inside)
    return clipped


def _squeeze(pixels: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Resize to the model's square without keeping the aspect, as the evaluation does, so that boxes stay shares."""
    if (pixels.shape[1], pixels.shape[0]) == size_wh:
        return pixels
    shrink = pixels.shape[1] > size_wh[0] or pixels.shape[0] > size_wh[1]
    return cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


mlflow.models.set_model(UmgclipModel())
