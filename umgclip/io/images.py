"""Image bytes to pixels and back. Arrays are RGB uint8, (height, width, 3)."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from umgclip.errors import DataError
from umgclip.safe_text import cause

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
SIDEWAYS = 5  # from this orientation on, width and height change places
_ORIENTATION = 0x0112
_TURNS: dict[int, Image.Transpose] = {
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
# what an import reads; names are Pillow's, the first extension of a format is the one that is written
READABLE = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "BMP": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "AVIF": ("avif",),
}
FORMAT_OF = {extension: name for name, extensions in READABLE.items() for extension in extensions}
_LOSSY = ("JPEG", "AVIF")


class RejectedImageError(DataError):
    """An image that is not taken in, with a reason of one word that can be counted.

    `empty`, `mislabelled` (the name promises another format, or no image at all), `too_large`, `truncated`,
    `unreadable`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class PreparedImage:
    """An image as shards hold it: an upright 8-bit RGB or grey JPEG, PNG or WebP file.

    `orientation` is what its EXIF said (1: upright, 2 to 8: it was turned) and `raw_wh` its size before that.
    `changed` is false where the bytes are those that came in.
    """

    data: bytes = field(repr=False)
    extension: str
    width: int
    height: int
    raw_wh: tuple[int, int]
    orientation: int
    changed: bool


def sniff(data: bytes) -> str | None:
    """Return the format that a file's first bytes announce; None if it cannot be read."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    return "BMP" if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0" else None


def prepare_image(
    data: bytes, *, extension: str = "", max_pixels: int = MAX_PIXELS, quality: int = 95, strict: bool = True
) -> PreparedImage:
    """Look an image file through to its end and make it one that every reader understands.

    Upright 8-bit RGB and grey JPEG, PNG and WebP files keep their bytes. Others are written anew: turned by their
    EXIF, transparency on white, palette, CMYK and 16 bit as 8-bit RGB or grey; JPEG and AVIF as JPEG without chroma
    subsampling, the rest as PNG. Of an animation only the first picture is taken.

    Args:
        data: the file.
        extension: what its name promises, without dot; empty: nothing.
        max_pixels: most that it may have.
        quality: of JPEG files that are written anew.
        strict: whether another format than the promised one is refused.

    Raises:
        RejectedImageError: with the reason.
    """
    if not data:
        raise RejectedImageError("empty", "expected image bytes, got an empty file")
    image_format, promised = sniff(data), FORMAT_OF.get(extension.lower())
    if image_format is None:
        raise RejectedImageError("mislabelled", f"expected {promised or 'an image'}, got bytes {data[:12]!r}")
    if strict and promised is not None and image_format != promised:
        raise RejectedImageError("mislabelled", f"expected {promised} by its name, got {image_format}")
    try:
        with Image.open(io.BytesIO(data), formats=(image_format,)) as image:
            return _prepared(image, data, image_format, max_pixels, quality)
    except RejectedImageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Pillow makes of broken bytes
        message = cause(error)
        if isinstance(error, Image.DecompressionBombError) or "decompressed" in message.lower():
            raise RejectedImageError("too_large", message) from error
        cut = "truncated" in message.lower() or _is_cut(data, image_format)
        raise RejectedImageError("truncated" if cut else "unreadable", message) from error


def _prepared(image: Image.Image, data: bytes, image_format: str, max_pixels: int, quality: int) -> PreparedImage:
    raw_wh = image.size
    if raw_wh[0] * raw_wh[1] > max_pixels:
        raise RejectedImageError("too_large", f"expected at most {max_pixels} pixels, got {raw_wh[0]} x {raw_wh[1]}")
    orientation = _orientation(image)
    if orientation == 1 and image_format in FORMATS and _is_plain(image, data):
        if image_format == "JPEG":  # every coefficient is read, but few pixels are computed of them
            image.draft(image.mode, (max(raw_wh[0] // 8, 1), max(raw_wh[1] // 8, 1)))
        image.load()
        return PreparedImage(data, READABLE[image_format][0], *raw_wh, raw_wh, 1, changed=False)
    upright = _eight_bit(image if orientation == 1 else image.transpose(_TURNS[orientation]))
    pixels = upright if upright.mode == "L" else upright.convert("RGB")
    buffer, lossy = io.BytesIO(), image_format in _LOSSY
    if lossy:
        pixels.save(buffer, format="JPEG", quality=quality, subsampling=0)
    else:
        pixels.save(buffer, format="PNG", optimize=False, compress_level=6)
    return PreparedImage(buffer.getvalue(), "jpg" if lossy else "png", *pixels.size, raw_wh, orientation, changed=True)


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Return whether a plain decoder gets 8-bit RGB or grey out of the file."""
    if image.mode not in ("RGB", "L") or "transparency" in image.info or getattr(image, "n_frames", 1) > 1:
        return False
    return image.format != "PNG" or data[24] <= 8  # the bit depth of the header


def _is_cut(data: bytes, image_format: str) -> bool:
    if image_format == "JPEG":
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if image_format == "PNG":
        return b"IEND" not in data[-64:]
    return image_format == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)


def decode_image(
    data: bytes, *, where: str, at_least_px: int | None = None, formats: Collection[str] = FORMATS
) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an image file, upright by its EXIF orientation, transparency on white.

    Args:
        data: the file.
        where: what to call it in errors.
        formats: Pillow's names of the formats that are read; JPEG, PNG and WebP, unless more are asked for.
        at_least_px: sides that are enough: a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where that leaves as
            much, which is several times faster. None: the whole size.

    Raises:
        DataError: the bytes are empty, truncated, too large or no image; the message starts with `where`.
    """
    if not data:
        raise DataError(f"{where}: expected image bytes, got an empty file")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(formats)) as image:
            if at_least_px is not None:
                image.draft(image.mode, (at_least_px, at_least_px))
            return upright_rgb(image, where=where)
    except DataError:
        raise
    except UnidentifiedImageError as error:  # its text is the address of a buffer
        raise DataError(
            f"{where}: not a readable image (expected {', '.join(formats)}, got bytes {data[:12]!r})"
        ) from error
    except Exception as error:  # noqa: BLE001 - whatever Pillow makes of broken bytes
        raise DataError(f"{where}: not a readable image ({cause(error)})") from error


def upright_rgb(image: Image.Image, *, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """Convert an opened image to pixels: upright by its EXIF orientation, transparency on white, 16 bit as 8 bit.

    Everything that becomes pixels goes through here, so a file and what Pillow made of it are the same picture.

    Args:
        image: in any of Pillow's modes except floating-point ones; it is not changed.
        where: what to call it in errors.

    Raises:
        DataError: it is empty, cut short, too large or of a mode that has no RGB.
    """
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{where}: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
    if not image.width or not image.height:
        raise DataError(f"{where}: expected at least one pixel, got {image.width} x {image.height}")
    try:
        turn = _orientation(image)
        upright = image if turn == 1 else image.transpose(_TURNS[turn])
        plain = _eight_bit(upright)
        return np.asarray(plain if plain.mode == "RGB" else plain.convert("RGB"))  # which would copy an RGB image
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Pillow makes of broken bytes
        raise DataError(f"{where}: not a readable image ({cause(error)})") from error


def orientation_of(data: bytes) -> tuple[int, tuple[int, int]]:
    """Return the EXIF orientation of an image file (1: upright, 2 to 8: turned), and its stored width and height, px.

    Raises:
        DataError: the header cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(READABLE)) as image:
            return _orientation(image), image.size
    except Exception as error:  # noqa: BLE001 - whatever Pillow makes of broken bytes
        raise DataError(f"not a readable image ({cause(error)})") from error


def _orientation(image: Image.Image) -> int:
    """Return an image's EXIF orientation; Pillow's `exif_transpose` rewrites all of EXIF and fails on odd ones."""
    if image.format == "TIFF":
        image.load()  # Pillow turns these itself, and takes the tag away, when it reads their pixels
    if image.format == "JPEG" and "exif" not in image.info:
        return 1
    turn = image.getexif().get(_ORIENTATION)
    return turn if isinstance(turn, int) and turn in _TURNS else 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8 bit, where Pillow would cut it off at 255, and transparency as it looks on white.

    Mode `I` is what Pillow makes of 16-bit files of some formats, and of 8-bit pixels by `convert("I")`: its values say
    which, 16 bit above 255.
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image).clip(0, 65535)
        deep = image.mode != "I" or grey.max() > 255
        return Image.fromarray((grey.astype(np.uint16) >> 8 if deep else grey).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("expected whole numbers as pixels, got fractions")
    if image.mode in ("La", "RGBa"):  # transparency multiplied in already
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image


def encode_jpeg(pixels: UInt8[np.ndarray, "height width 3"], quality: int = 95) -> bytes:
    """Encode as JPEG without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode pixels as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()
