"""Boxes of another detector for the benchmark's images, from a file of COCO results, as proposals to name.

COCO results are a JSON list of `{"image_id": 139, "bbox": [x, y, width, height], "score": 0.9}`; categories and masks
in them are not read. An image is found by the name that it had in the source: by its stem, or by the number that it
stands for, as COCO and LVIS name their files (`000000000139.jpg` is image 139).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from umgclip.errors import DataError
from umgclip.io.json_stream import read_elements

_TABLE = "images.parquet"


class Boxes(NamedTuple):
    """Boxes of one image, edges in pixels, and how sure the detector is of each, 0 to 1."""

    boxes_xyxy_px: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]


class GivenBoxes(NamedTuple):
    """Boxes by image key; of images that are not in the benchmark only the number of boxes is known."""

    of_key: dict[str, Boxes]
    elsewhere: int


def read_boxes(path: Path, benchmark: Path) -> GivenBoxes:
    """Read a file of COCO results.

    Args:
        path: the file; it is read as a stream.
        benchmark: the imported benchmark, whose table of images has their names.

    Raises:
        DataError: the file is no COCO results, a box or a score makes no sense, or no box is of the benchmark's images.
    """
    keys = _keys(benchmark)
    rows: dict[str, list[list[float]]] = defaultdict(list)
    elsewhere = 0
    for number, (_, value) in enumerate(read_elements(path)):
        image, row = _row(value, f"{path}: element {number}")
        key = keys.get(image)
        if key is None:
            elsewhere += 1
        else:
            rows[key].append(row)
    if not rows:
        raise DataError(
            f"{path}: expected boxes of the images of {benchmark}, got none of them and {elsewhere} of others; "
            f"image_id has to be the number or the stem of an image's file name"
        )
    of_key = {key: np.array(each, dtype=np.float64) for key, each in rows.items()}
    return GivenBoxes({key: Boxes(each[:, :4], each[:, 4]) for key, each in of_key.items()}, elsewhere)


def _keys(benchmark: Path) -> dict[str, str]:
    """Return the key of each image by the stem of its name, and by the number that the stem stands for."""
    table = benchmark / _TABLE
    names = pq.read_schema(table).names if table.is_file() else []
    if "name" not in names:
        raise DataError(f"{table}: expected the names of imported images, found none; import the benchmark again")
    rows = pq.read_table(table, columns=["key", "name"]).to_pylist()
    stems = {Path(row["name"]).stem: row["key"] for row in rows}
    return {str(int(stem)): key for stem, key in stems.items() if stem.isdecimal()} | stems


def _row(value: Any, where: str) -> tuple[str, list[float]]:  # noqa: ANN401 - what JSON held
    """Return the image of a result, and its edges with the score."""
    if not isinstance(value, dict) or "image_id" not in value:
        raise DataError(f"{where}: expected an object with image_id, bbox and score, got {str(value)[:80]}")
    box, score = value.get("bbox"), value.get("score")
    numbers = [*box, score] if isinstance(box, list) and len(box) == 4 else []
    if not numbers or not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers) or min(numbers[2:]) < 0:
        raise DataError(f"{where}: expected bbox [x, y, width, height] and a score, got {box} and {score}")
    if not 0 <= float(numbers[4]) <= 1:
        raise DataError(f"{where}: score: expected 0 to 1, to be combined with a probability, got {score}")
    x, y, width, height = map(float, numbers[:4])
    return str(value["image_id"]), [x, y, x + width, y + height, float(numbers[4])]
