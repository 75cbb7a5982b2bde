"""Image bytes to pixels and back. Arrays are RGB uint8, (height, width, 3)."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from umgclip.errors import DataError

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
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
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable image ({type(error).__name__}: {error})") from error


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
