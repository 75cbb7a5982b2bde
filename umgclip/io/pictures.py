"""Conversion of pictures of any kind (paths, bytes, arrays, tensors, PIL) to pixels: one reader for the Python API."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeGuard

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.io.images import MAX_PIXELS, READABLE, decode_image, upright_rgb
from umgclip.io.regular import open_regular

if TYPE_CHECKING:
    from torch import Tensor

    Picture = str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | np.ndarray | Tensor
    Pictures = Picture | Iterable[Picture]
else:  # what callers hand over is checked here, with words of its own, so nothing else has to
    Picture = Pictures = Tensor = Any

_KINDS = (
    "a path, the bytes of an image file, an open binary file, a PIL image, an array (height, width, 3) of uint8 or a "
    "tensor (3, height, width)"
)
_LAYERS = (1, 3, 4)


def is_picture(value: Any) -> TypeGuard[Picture]:  # noqa: ANN401 - whatever the caller has
    """Return whether a value is one picture and not several; arrays and tensors of four axes are several."""
    if isinstance(value, np.ndarray) or _is_tensor(value):
        return value.ndim < 4
    return isinstance(value, str | PathLike | bytes | bytearray | memoryview | Image.Image) or hasattr(value, "read")


def pictures(value: Pictures, where: str) -> Iterable[Picture]:
    """Return one picture as a list of one; several as they are.

    Args:
        value: what came.
        where: what to call it in errors.

    Raises:
        InputError: neither a picture nor several.
    """
    if is_picture(value):
        return [value]
    several: Any = value
    if isinstance(value, dict | set | frozenset) or not isinstance(value, Iterable):
        raise InputError(f"{where}: expected {_KINDS}, or a list of such, got {_told(value)}")
    return several


def read_picture(picture: Picture, where: str = "image") -> UInt8[np.ndarray, "height width 3"]:
    """Read a picture as upright RGB pixels.

    Files are JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF; an animation is its first picture. EXIF orientation is followed
    for files and for PIL images that still have it; transparency is seen on white; 16 bit become 8 bit.

    Arrays are (height, width), (height, width, 1), (.., 3) or (.., 4) of uint8, of uint16 with 65535 as white, or of
    fractions from 0 to 1. Tensors are the same with the channels first, on any device.

    Args:
        picture: one of these.
        where: what to call it in errors.

    Raises:
        InputError: not a kind of picture, no such file, or numbers of another shape, type or range.
        DataError: the file is unreadable or no image.
    """
    if isinstance(picture, Image.Image):
        return upright_rgb(picture, where=where)
    if isinstance(picture, np.ndarray):
        return _of_array(picture, where, "(height, width, 3)")
    if _is_tensor(picture):
        return _of_tensor(picture, where)
    if isinstance(picture, bytes | bytearray | memoryview):
        return decode_image(bytes(picture), where=where, formats=READABLE)
    if isinstance(picture, str | PathLike):
        return _of_path(picture, where)
    if hasattr(picture, "read"):
        return decode_image(_whole(picture, where), where=where, formats=READABLE)
    raise InputError(f"{where}: expected {_KINDS}, got {_told(picture)}")


def _of_path(path: str | PathLike[str], where: str) -> UInt8[np.ndarray, "height width 3"]:
    if not str(path):
        raise InputError(f"{where}: expected the path of an image file, got an empty text")
    if "://" in str(path):
        raise InputError(f"{where}: expected the path of an image file, got the address {path}; fetch it first")
    try:
        with open_regular(Path(path)) as file:
            data = file.read()
    except FileNotFoundError as error:
        raise InputError(f"{where}: expected the path of an image file, got {path}, which does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{where}: expected the path of an image file, got the folder {path}") from error
    except (OSError, ValueError) as error:  # no permission, a name too long, a null in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{where}: cannot read {str(path)[:200]!r}: {reason}") from error
    return decode_image(data, where=str(path), formats=READABLE)


def _whole(file: Any, where: str) -> bytes:  # noqa: ANN401 - anything with `read`
    try:
        data = _all_of(file)
    except (OSError, ValueError) as error:  # closed, or open for writing alone
        raise DataError(f"{where}: cannot read the open file: {error}") from error
    if not isinstance(data, bytes):
        raise InputError(f"{where}: expected a file that is open for bytes (mode 'rb'), got {type(data).__name__}")
    return data


def _all_of(file: Any) -> Any:  # noqa: ANN401 - anything with `read`
    """Read all of an open file and restore its position."""
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    if getattr(file, "seekable", lambda: False)():
        position = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(position)
        return data
    return file.read()


def _is_tensor(value: Any) -> TypeGuard[Tensor]:  # noqa: ANN401 - anything
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    return torch is not None and isinstance(value, torch.Tensor)


def _of_tensor(tensor: Tensor, where: str) -> UInt8[np.ndarray, "height width 3"]:
    array = tensor_array(tensor, where)
    if array.ndim == 3:
        if array.shape[0] not in _LAYERS:
            raise InputError(
                f"{where}: expected a tensor (3, height, width), got {array.shape}; an array of numpy has its "
                "channels last"
            )
        array = array.transpose(1, 2, 0)
    return _of_array(array, where, "(3, height, width)", tuple(tensor.shape))


def tensor_array(tensor: Tensor, where: str) -> np.ndarray:
    """Return the values of a tensor on any device and of any type as an array.

    Args:
        tensor: as it came.
        where: what to call it in errors.

    Raises:
        InputError: it has no numbers one after another: it is sparse, or on the device `meta`.
    """
    try:
        plain = tensor.detach().cpu()
        # numpy has no bfloat16
        return (plain.float() if plain.is_floating_point() and plain.itemsize < 4 else plain).numpy()
    except (TypeError, RuntimeError) as error:
        kind = str(tensor.layout).removeprefix("torch.")
        raise InputError(
            f"{where}: expected a dense tensor with numbers in it, got one of {tensor.dtype}, {kind} on {tensor.device}"
        ) from error


def _of_array(
    array: np.ndarray, where: str, wanted: str, shape: tuple[int, ...] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Grey, RGB or RGBA numbers with the channels last."""
    shown = shape or array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _LAYERS) or 0 in array.shape:
        raise InputError(f"{where}: expected {wanted}, or (height, width) for grey, got the shape {shown}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InputError(f"{where}: expected at most {MAX_PIXELS} pixels, got the shape {shown}")
    bytes_ = _as_bytes(array, where)
    if bytes_.ndim == 3 and bytes_.shape[2] == 1:
        bytes_ = bytes_[..., 0]
    if bytes_.ndim == 3 and bytes_.shape[2] == 3:
        return np.ascontiguousarray(bytes_)
    return upright_rgb(Image.fromarray(np.ascontiguousarray(bytes_)), where=where)


def _as_bytes(array: np.ndarray, where: str) -> UInt8[np.ndarray, "..."]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{where}: expected uint8, uint16 or fractions from 0 to 1, got {array.dtype}; pixels from 0 to 255 become "
            "uint8 by .astype('uint8')"
        )
    least, most = float(array.min()), float(array.max())
    if not (least >= 0 and most <= 1):  # NaN fails, too
        raise InputError(
            f"{where}: expected fractions from 0 to 1, got {least:g} to {most:g}; the model normalises its images "
            "itself, and pixels from 0 to 255 are uint8"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _told(value: Any) -> str:  # noqa: ANN401 - anything
    return "nothing" if value is None else f"a {type(value).__name__}"
