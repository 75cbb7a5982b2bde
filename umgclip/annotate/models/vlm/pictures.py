"""Images as requests carry them: scaled down, as JPEG, or as PNG with a region in the alpha channel."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.io.images import encode_jpeg
from umgclip.params.annotators import VlmParams

Picture = str | Callable[[], str]
"""An image as a `data:` URL, or what makes it when it is sent: PNGs of many regions would fill the memory."""

_MOST_ASPECT = 100  # servers refuse thinner images (Qwen-VL: 200)
_QWEN_PATCH_PX = 28  # Qwen2.5-VL scales images to multiples of it, and counts in pixels of the scaled image


def sent_size(image_hw: tuple[int, int], params: VlmParams) -> tuple[int, int]:
    """Return width and height in pixels of an image as it is sent; slivers are stretched.

    Args:
        image_hw: height and width of the stored image.
        params: of the model.
    """
    scale = min(1.0, params.max_side_px / max(image_hw))
    width, height = max(1, round(image_hw[1] * scale)), max(1, round(image_hw[0] * scale))
    least = math.ceil(max(width, height) / _MOST_ASPECT)
    return max(width, least), max(height, least)


class SentFrame(NamedTuple):
    """The place of an image in the picture that is sent, all in pixels of the picture.

    Attributes:
        size_wh: width and height of the picture.
        image_wh: width and height of the image in it.
        at_xy: the image's upper left corner.
    """

    size_wh: tuple[int, int]
    image_wh: tuple[int, int]
    at_xy: tuple[int, int] = (0, 0)


def grounded_frame(image_hw: tuple[int, int], params: VlmParams) -> SentFrame:
    """Return how an image is sent where the question or the answer has coordinates.

    With `bbox_2d` and `pixel` both sides are multiples of 28, at least 56, so that Qwen2.5-VL does not scale the image
    again and count in other pixels. With `shikra` the image is in the middle of a white square, because Shikra pads
    images so, and its shares are those of the square.
    """
    width, height = sent_size(image_hw, params)
    if params.grammar == "shikra":
        side = max(width, height)
        return SentFrame((side, side), (width, height), ((side - width) // 2, (side - height) // 2))
    if (params.grammar, params.box_unit) == ("bbox_2d", "pixel"):
        width, height = _whole_patches(width, params.max_side_px), _whole_patches(height, params.max_side_px)
    return SentFrame((width, height), (width, height))


def jpeg_url(pixels: Pixels, params: VlmParams) -> str:
    """Return an image as the `data:` URL of a JPEG."""
    return _jpeg(pixels, sent_size((pixels.shape[0], pixels.shape[1]), params), params)


def grounded_url(pixels: Pixels, params: VlmParams) -> str:
    """Return an image in its `grounded_frame` as the `data:` URL of a JPEG."""
    frame = grounded_frame((pixels.shape[0], pixels.shape[1]), params)
    if frame.image_wh == frame.size_wh:
        return _jpeg(pixels, frame.size_wh, params)
    picture = np.full((frame.size_wh[1], frame.size_wh[0], 3), 255, np.uint8)
    (x, y), (width, height) = frame.at_xy, frame.image_wh
    picture[y : y + height, x : x + width] = _scaled(pixels, frame.image_wh)
    return _jpeg(picture, frame.size_wh, params)


def alpha_url(pixels: Pixels, region: Proposal, params: VlmParams) -> str:
    """Return an image as the `data:` URL of a PNG whose alpha channel is 255 in a region and 0 elsewhere.

    The region is its mask, or its box if it has none. A region that is smaller than a pixel of the image sent is still
    one pixel.
    """
    small = _scaled(pixels, sent_size((pixels.shape[0], pixels.shape[1]), params))
    height, width = small.shape[:2]
    share = _resized(region.mask.astype(np.float32), (width, height))
    inside = share >= min(0.5, float(share.max()))
    alpha = np.where(inside & (share > 0), 255, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([small, alpha])).save(buffer, format="PNG", compress_level=1)
    return _url("png", buffer.getvalue())


def _jpeg(pixels: Pixels, size_wh: tuple[int, int], params: VlmParams) -> str:
    return _url("jpeg", encode_jpeg(_scaled(pixels, size_wh), params.jpeg_quality))


def _scaled(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    if size_wh == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return _resized(pixels, size_wh)


def _resized(array: Any, size_wh: tuple[int, int]) -> Any:  # noqa: ANN401 - an image or a map of floats
    """Return an array of this size: each side is shrunk by its mean, or stretched by repetition."""
    # cv2 averages only if both sides shrink; of a sliver it would leave pixels out
    small = min(size_wh[0], array.shape[1]), min(size_wh[1], array.shape[0])
    if small != (array.shape[1], array.shape[0]):
        array = cv2.resize(array, small, interpolation=cv2.INTER_AREA)
    return array if small == size_wh else cv2.resize(array, size_wh, interpolation=cv2.INTER_NEAREST)


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _whole_patches(side: int, most: int) -> int:
    return max(2, min(round(side / _QWEN_PATCH_PX), most // _QWEN_PATCH_PX)) * _QWEN_PATCH_PX
