"""Checks of the arguments of `umgclip.load` and `Model`: texts, boxes, masks, images; shapes are never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from umgclip.errors import InputError
from umgclip.inference.request_values import is_list, is_number, short
from umgclip.io.pictures import Picture, Pictures, is_picture, pictures, read_picture, tensor_array
from umgclip.model.clip.preprocess import FITS, Fit

if TYPE_CHECKING:
    Labels = str | Iterable[str]
    Boxes = Sequence[Sequence[float | int]] | np.ndarray | Tensor
    Masks = Sequence[np.ndarray] | np.ndarray | Tensor
    Where = str | PathLike[str]
    Share = float | None
    Pixels = int | None
    Resize = Fit | None
    Device = str | None
else:  # at run time these functions check arguments, with their own messages, so jaxtyping must not
    Labels = Boxes = Masks = Where = Share = Pixels = Resize = Device = Any

_Item = TypeVar("_Item")


def listed_texts(value: Labels, where: str, *, empty_allowed: bool) -> list[str]:
    """Return texts as a list; a single text becomes a list of one.

    Args:
        value: the argument.
        where: name of the argument, for errors.
        empty_allowed: whether a text may be empty.

    Raises:
        InputError: the argument is not an ordered collection of texts; names the index.
    """
    if isinstance(value, str):
        value = [value]
    if isinstance(value, bytes | Mapping | set | frozenset) or not isinstance(value, Iterable):
        raise InputError(f"{where}: expected a text or a list of texts, got a {type(value).__name__}")
    texts = list(value)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{where}[{index}]: expected a text, got {short(text)}")
        if not empty_allowed and not text.strip():
            raise InputError(f"{where}[{index}]: expected a text that is not empty, got {short(text)}")
    return [str(text) for text in texts]


def check_options(box_share: Share, image_px: Pixels, resize: Resize, device: Device) -> None:
    """Check the arguments of `umgclip.load`, of any type; None is allowed.

    Raises:
        InputError: names the argument.
    """
    if box_share is not None and (not is_number(box_share) or not 0 < box_share <= 1):
        raise InputError(f"box_share: expected more than 0 and at most 1, got {short(box_share)}")
    if image_px is not None and (isinstance(image_px, bool) or not isinstance(image_px, int) or image_px < 1):
        raise InputError(f"image_px: expected a whole number of pixels, got {short(image_px)}")
    if resize is not None and resize not in FITS:
        raise InputError(f"resize: expected one of {', '.join(FITS)}, got {short(resize)}")
    if device is not None and not isinstance(device, str | torch.device):
        raise InputError(f"device: expected a name such as cpu or cuda:1, got {short(device)}")


def box_shares(value: Boxes, size_wh: tuple[int, int], where: str) -> Float[Tensor, "r 4"]:
    """Clip boxes to the image and return them as shares of its sides.

    Args:
        value: one row `x0, y0, x1, y1` per box, in pixels; an empty list means no boxes.
        size_wh: width and height of the image in pixels.
        where: name of the argument, for errors.

    Raises:
        InputError: the shape is wrong, a number is not finite, or a box lies outside the image; names the row.
    """
    sides = np.array([*size_wh, *size_wh], np.float64)
    boxes = _rows(value, where)
    inside = np.clip(boxes, 0, sides)
    for index in np.flatnonzero((inside[:, 0] >= inside[:, 2]) | (inside[:, 1] >= inside[:, 3])):
        raise InputError(
            f"{where}[{index}]: expected x0 < x1 and y0 < y1 within {size_wh[0]} x {size_wh[1]} pixels, "
            f"got {boxes[index].tolist()}"
        )
    return torch.from_numpy((inside / sides).astype(np.float32))


def _rows(value: Any, where: str) -> Float[np.ndarray, "r 4"]:  # noqa: ANN401 - any argument
    value = tensor_array(value, where) if isinstance(value, Tensor) else value
    if not is_list(value):
        raise InputError(f"{where}: expected one row x0, y0, x1, y1 per box, got {short(value)}")
    if isinstance(value, np.ndarray) and (value.ndim != 2 or value.shape[1] != 4) and value.shape != (0,):
        raise InputError(
            f"{where}: expected one row x0, y0, x1, y1 per box, the shape (boxes, 4), got the shape {value.shape}"
        )
    rows = np.zeros((len(value), 4))
    for index, row in enumerate(value):
        box = row.tolist() if isinstance(row, Tensor | np.ndarray) else row
        if is_number(box):
            raise InputError(
                f"{where}: expected one row x0, y0, x1, y1 per box, got the number {short(box)}; a single box is "
                "[[x0, y0, x1, y1]]"
            )
        if not is_list(box) or len(box) != 4 or not all(is_number(side) for side in box):
            raise InputError(f"{where}[{index}]: expected 4 finite numbers x0, y0, x1, y1, got {short(box)}")
        rows[index] = box
    return rows


def masks_inside(value: Masks, size_hw: tuple[int, int], where: str) -> list[Bool[np.ndarray, "h w"]]:
    """Return masks as arrays of bool of the image's size.

    Args:
        value: one mask per region, of bool, or of 0 and one other number; an empty list means no masks.
        size_hw: height and width of the image.
        where: name of the argument, for errors.

    Raises:
        InputError: a mask is empty, has another size than the image, or more than two values; names the mask.
    """
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 2 and len(value):
        raise InputError(
            f"{where}: expected one mask per region, the shape (masks, {size_hw[0]}, {size_hw[1]}), got the shape "
            f"{tuple(value.shape)}; a single mask is [mask]"
        )
    if not isinstance(value, Tensor) and not is_list(value):
        raise InputError(f"{where}: expected a list of masks, got {short(value)}")
    return [_inside(mask, size_hw, f"{where}[{index}]") for index, mask in enumerate(value)]


def _inside(mask: Any, size_hw: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"]:  # noqa: ANN401 - anything
    try:
        array = tensor_array(mask, where) if isinstance(mask, Tensor) else np.asarray(mask)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{where}: expected the image's shape {size_hw}, got {short(mask)}: {error}") from error
    if array.shape != size_hw:
        raise InputError(f"{where}: expected the image's shape {size_hw}, got {array.shape}")
    if array.dtype != bool:
        values = np.unique(array) if array.dtype.kind in "iuf" else np.zeros(0)
        if not len(values) or not np.isfinite(values).all() or len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise InputError(
                f"{where}: expected bool, or 0 outside and one other number inside, got {array.dtype} with "
                f"{len(values)} values; turn it into bool with a threshold, as in mask > 0.5"
            )
    if not array.any():
        raise InputError(f"{where}: expected at least one pixel inside, got an empty mask")
    return array.astype(bool)


def find_device(name: str | None) -> torch.device:
    """Return the torch device of a name after trying it; None: a GPU if there is one.

    Raises:
        InputError: torch does not know the name, or this machine lacks the device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"device: expected one of torch's, such as cpu, cuda or cuda:1, got {name!r}") from error
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # no driver, no such GPU, or torch was built without CUDA
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"device: expected a device of this machine, such as cpu, got {str(device)!r}: {reason}"
        ) from error
    return device


def one_picture(image: Picture) -> UInt8[np.ndarray, "height width 3"]:
    """Read a single image; a list of images is refused.

    Raises:
        InputError: it is not one image.
        DataError: the image cannot be read.
    """
    if not is_picture(image):
        raise InputError(f"image: expected one image, got a {type(image).__name__}")
    return read_picture(image)


def read_pictures(images: Pictures, where: str) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """Read one image or many, one after another.

    Args:
        images: one image or any iterable of images.
        where: the argument, for errors.
    """
    single = is_picture(images)
    for index, image in enumerate(pictures(images, where)):
        yield read_picture(image, "image" if single else f"{where}[{index}]")


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Group items into lists of `size`; the last one may be shorter.

    Raises:
        InputError: the size is below 1.
    """
    if size < 1:
        raise InputError(f"batch: expected at least 1, got {size}")
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
