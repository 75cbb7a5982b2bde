"""Pictures with what was detected in them: masks, boxes, labels with their confidence."""

from __future__ import annotations

import io
from colorsys import hls_to_rgb
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from umgclip.inference.detecting.regions import DetectedRegions
from umgclip.io.atomic import write_bytes

Colour = tuple[int, int, int]
_MASK = 0.4  # share of the label's colour in a pixel of the mask
_THUMB_PX = 320
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def colour_of(label: int) -> Colour:
    """Return the colour of a label: hues far apart from those of its neighbours."""
    red, green, blue = hls_to_rgb((label * 0.618034) % 1.0, 0.42, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def annotated(pixels: UInt8[np.ndarray, "height width 3"], regions: DetectedRegions) -> Image.Image:
    """Return the picture with its detections drawn on it, the best on top."""
    shown = pixels.copy()
    order = range(len(regions))[::-1]
    if regions.masks is not None:
        for row in order:
            mask, tint = regions.masks[row], np.array(colour_of(int(regions.label_ids[row])))
            shown[mask] = np.rint(shown[mask] * (1 - _MASK) + tint * _MASK).astype(np.uint8)
    image = Image.fromarray(shown)
    draw = ImageDraw.Draw(image)
    longer = max(image.size)
    width, font = max(1, longer // 400), ImageFont.load_default(max(10, longer // 45))
    for row in order:
        colour = colour_of(int(regions.label_ids[row]))
        x0, y0, x1, y1 = (float(edge) for edge in regions.boxes_xyxy[row])
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
        text = f"{regions.names[row]} {regions.scores[row]:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        x = min(max(0.0, x0), max(0.0, image.width - (right - left) - 4.0))
        y = max(0.0, y0 - (bottom - top) - 4)
        draw.rectangle((x, y, x + right - left + 4, y + bottom - top + 4), fill=colour)
        draw.text((x + 2 - left, y + 2 - top), text, fill="white", font=font)
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write a picture in the format that its name says, whole or not at all.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    image.save(buffer, format=_FORMATS[path.suffix.lower()], quality=90)
    write_bytes(path, buffer.getvalue())


def thumbnail(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Return the picture as a small JPEG file, for the page."""
    image = Image.fromarray(pixels)
    scale = _THUMB_PX / max(image.size)
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=78)
    return buffer.getvalue()
