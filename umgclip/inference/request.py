"""Requests to the model: checked, decoded, and converted to the model's units for a forward pass, without torch.

Fields, of which only `image` is required:

* `image`: a JPEG, PNG or WebP file as bytes, as base64 text or as a `data:` URL of base64
* `labels`: texts to score
* `boxes`: regions as `[x0, y0, x1, y1]` in pixels of the upright image; the part outside the image is cut off
* `masks`: regions as COCO run-length encodings `{"size": [height, width], "counts": "..."}` or base64 PNG files of the
  image's size, in which every pixel that is neither black nor transparent is inside
* `tags`: how many of the best concepts of the vocabulary to name
* `vocabulary`: the concepts that tags are chosen from; by default those registered with the model
* `similarity_map`: whether to compare every patch with every label
* `region_embeddings`: whether to return the embeddings of boxes and masks
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from umgclip.errors import InputError
from umgclip.geometry.fit import Interpolation, Resize, covered_cells, on_canvas, resized
from umgclip.inference.interface import FIELDS
from umgclip.inference.request_masks import masks_on_grid
from umgclip.inference.request_values import file_bytes, flag, is_absent, is_list, is_number, items, short
from umgclip.io.images import FORMATS, MAX_PIXELS, decode_image


class LimitError(InputError):
    """A request is well formed, but exceeds a limit of the caller."""


@dataclass(frozen=True)
class Limits:
    """The limits of one request; by default only decompression bombs are refused.

    Attributes:
        image_bytes: bytes of an encoded image, after base64 is decoded.
        pixels: pixels of a decoded image.
        texts: number of labels, and of concepts in the request's vocabulary.
        text_chars: characters of one text; the model reads only its first few dozen tokens.
        regions: number of boxes and masks together.
        side_px: longer side of an image; the memory of resampling is proportional to it.
        counts_chars: characters of a mask's run-length encoding.
    """

    image_bytes: int = sys.maxsize
    pixels: int = MAX_PIXELS
    texts: int = sys.maxsize
    text_chars: int = sys.maxsize
    regions: int = sys.maxsize
    side_px: int = sys.maxsize
    counts_chars: int = sys.maxsize


class Target(NamedTuple):
    """The input of a model: its size in pixels, its grid, the vocabulary, and how images are resized."""

    size_wh: tuple[int, int]
    grid_hw: tuple[int, int]
    vocabulary: tuple[str, ...]
    resize: Resize = "squash"
    interpolation: Interpolation = "bicubic"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked request, ready for a forward pass.

    Attributes:
        pixels: the image at the size of the model's input, squeezed to it or padded right and below.
        image_wh: width and height of the upright image of the request, in pixels.
        cells_hw: rows and columns of the patch grid that the image covers.
        labels: texts to score.
        boxes: xyxy as shares of the input's sides.
        masks: share of each cell of the patch grid that a mask covers.
        tags: number of tags to return; 0 for none.
        vocabulary: concepts to choose them from; empty without tags.
        similarity_map: whether to compare patches with labels.
        region_embeddings: whether to return the embeddings of regions.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    image_wh: tuple[int, int]
    cells_hw: tuple[int, int]
    labels: tuple[str, ...]
    boxes: Float32[np.ndarray, "r 4"]
    masks: Float32[np.ndarray, "m gh gw"]
    tags: int
    vocabulary: tuple[str, ...]
    similarity_map: bool
    region_embeddings: bool


def prepare(request: Mapping[str, Any], target: Target, limits: Limits, where: str) -> Prepared:
    """Check a request and decode its image and masks; None and NaN count as absent, because tables fill gaps with them.

    Args:
        request: the fields; see the docstring of this module.
        target: the input of the model.
        limits: the limits that the caller sets.
        where: name of the request in errors.

    Raises:
        LimitError: the request exceeds a limit.
        InputError: a field is unknown, missing or of the wrong kind.
        DataError: the bytes are not an image.
    """
    if unknown := [name for name in request if name not in FIELDS]:
        raise InputError(f"{where}: unknown field {str(unknown[0])[:40]!r}; expected some of {', '.join(FIELDS)}")
    given = {name: value for name, value in request.items() if not is_absent(value)}
    if "image" not in given:
        raise InputError(f"{where}: image: expected bytes or base64 text of a JPEG, PNG or WebP file, got none")
    labels = _texts(given.get("labels", ()), limits, f"{where}: labels")
    similarity_map = flag(given.get("similarity_map", False), f"{where}: similarity_map")
    if similarity_map and not labels:
        raise InputError(f"{where}: labels: expected at least one text for similarity_map, got none")
    tags, vocabulary = _tagging(given, target.vocabulary, limits, where)
    boxes = items(given.get("boxes", ()), f"{where}: boxes", "boxes")
    masks = items(given.get("masks", ()), f"{where}: masks", "masks")
    if len(boxes) + len(masks) > limits.regions:
        raise LimitError(f"{where}: expected at most {limits.regions} boxes and masks, got {len(boxes) + len(masks)}")
    pixels = _image(given["image"], limits, f"{where}: image")
    height, width = pixels.shape[:2]
    (rows, columns), (size_w, size_h) = target.grid_hw, target.size_wh
    cell_hw = size_h // rows, size_w // columns
    cells = covered_cells((width, height), target.grid_hw, cell_hw, target.resize)
    inner_wh = target.size_wh if target.resize == "squash" else (cells[1] * cell_hw[1], cells[0] * cell_hw[0])
    share = np.array([cells[1] / columns, cells[0] / rows] * 2, np.float32)
    _check_counts(masks, limits, where)
    small = masks_on_grid(masks, (height, width), cells, where)
    return Prepared(
        pixels=on_canvas(resized(pixels, inner_wh, target.interpolation), target.size_wh),
        image_wh=(width, height),
        cells_hw=cells,
        labels=labels,
        boxes=_boxes(boxes, (width, height), where) * share,
        masks=np.pad(small, ((0, 0), (0, rows - cells[0]), (0, columns - cells[1]))),
        tags=tags,
        vocabulary=vocabulary,
        similarity_map=similarity_map,
        region_embeddings=flag(given.get("region_embeddings", False), f"{where}: region_embeddings"),
    )


def pixels_to_decode(request: Mapping[str, Any], where: str) -> int:
    """Return the number of pixels that decoding a request costs: those of its image, and as many for each mask.

    Only the header of the image is read; bytes that are not an image count as 0.

    Raises:
        InputError: the image is neither bytes nor text.
        DataError: the text is not base64.
    """
    if is_absent(request.get("image")):
        return 0
    width, height = _size(file_bytes(request["image"], f"{where}: image"))
    masks = request.get("masks", ())
    return width * height * (1 + (len(masks) if is_list(masks) else 0))


def _check_counts(masks: Sequence[Any], limits: Limits, where: str) -> None:
    for index, mask in enumerate(masks):
        counts = mask.get("counts") if isinstance(mask, Mapping) else None
        if isinstance(counts, str | bytes) and len(counts) > limits.counts_chars:
            raise LimitError(
                f"{where}: masks[{index}]: counts: expected at most {limits.counts_chars} characters, got {len(counts)}"
            )


def _texts(value: Any, limits: Limits, where: str) -> tuple[str, ...]:  # noqa: ANN401 - any value of a request
    texts = items(value, where, "texts")
    if len(texts) > limits.texts:
        raise LimitError(f"{where}: expected at most {limits.texts} texts, got {len(texts)}")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}[{index}]: expected a text that is not empty, got {short(text)}")
        if len(text) > limits.text_chars:
            raise LimitError(f"{where}[{index}]: expected at most {limits.text_chars} characters, got {len(text)}")
    return tuple(str(text) for text in texts)


def _tagging(
    given: Mapping[str, Any], registered: tuple[str, ...], limits: Limits, where: str
) -> tuple[int, tuple[str, ...]]:
    tags = given.get("tags", 0)
    # a table's column with a gap holds integers as floats, such as 5.0
    if not is_number(tags) or tags != int(tags) or tags < 0:
        raise InputError(f"{where}: tags: expected a whole number of tags, 0 or more, got {short(tags)}")
    requested = _texts(given.get("vocabulary", ()), limits, f"{where}: vocabulary")
    if requested and not tags:
        raise InputError(f"{where}: tags: expected how many of the vocabulary to name, got none")
    if tags and not (requested or registered):
        raise InputError(f"{where}: vocabulary: expected texts, because the model was registered with none; got none")
    return int(tags), tuple(dict.fromkeys(requested or registered)) if tags else ()


def _image(value: Any, limits: Limits, where: str) -> UInt8[np.ndarray, "height width 3"]:  # noqa: ANN401 - any value of a request
    data = file_bytes(value, where)
    if len(data) > limits.image_bytes:
        raise LimitError(f"{where}: expected at most {limits.image_bytes} bytes, got {len(data)}")
    width, height = _size(data)
    if width * height > limits.pixels:
        raise LimitError(f"{where}: expected at most {limits.pixels} pixels, got {width} x {height}")
    if max(width, height) > limits.side_px:
        raise LimitError(f"{where}: expected sides of at most {limits.side_px} pixels, got {width} x {height}")
    return decode_image(data, where=where)


def _size(data: bytes) -> tuple[int, int]:
    """Read width and height from the header of a file; (0, 0) for a file that `decode_image` will refuse."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0, 0


def _boxes(boxes: Sequence[Any], size_wh: tuple[int, int], where: str) -> Float32[np.ndarray, "r 4"]:
    """Clip boxes to the image and return them as shares of its sides."""
    width, height = size_wh
    shares = []
    for index, box in enumerate(boxes):
        sides = list(box) if is_list(box) else []
        if len(sides) != 4 or not all(is_number(side) for side in sides):
            raise InputError(f"{where}: boxes[{index}]: expected 4 numbers x0 y0 x1 y1, got {short(box)}")
        x0, y0, x1, y1 = (float(side) for side in sides)
        inside = [max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)]
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            raise InputError(
                f"{where}: boxes[{index}]: expected x0 < x1 and y0 < y1 within {width} x {height} pixels, "
                f"got {short(box)}"
            )
        shares.append([side / of for side, of in zip(inside, (width, height) * 2, strict=True)])
    return np.array(shares, np.float32).reshape(-1, 4)
