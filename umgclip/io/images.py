"""Image bytes to pixels and back. Arrays are RGB uint8, (height, width, 3)."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from umgclip.errors import DataError

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
_ORIENTATION = 0x0112
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FORMATS = ("JPEG", "PNG", "WEBP")
EXTENSIONS = ("jpg", "jpeg", "png", "webp")


def decode_image(data: bytes, *, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a JPEG, PNG or WebP file, upright by its EXIF orientation.

    Raises:
        DataError: the bytes are empty, truncated, too large or no image; the message starts with `where`.
    """
    if not data:
        raise DataError(f"{where}: expected image bytes, got an empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            upright = _upright(image)
            if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable image ({type(error).__name__}: {error})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says; Pillow's own `exif_transpose` writes all of EXIF anew and fails on odd ones."""
    turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    return image if turn is None else image.transpose(turn)


def encode_jpeg(pixels: UInt8[np.ndarray, "height width 3"], quality: int = 95) -> bytes:
    """Encode as JPEG without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()
