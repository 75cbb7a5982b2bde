"""Image bytes to RGB pixels, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from umgclip.errors import DataError
from umgclip.io.images import decode_image, encode_jpeg, encode_png

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_png_comes_back_exactly():
    np.testing.assert_array_equal(decode_image(encode_png(PIXELS), where="x"), PIXELS)


def test_the_same_pixels_give_the_same_jpeg():
    assert encode_jpeg(PIXELS) == encode_jpeg(PIXELS.copy())


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: show it clockwise
    data = encoded(Image.fromarray(PIXELS), exif=exif)
    np.testing.assert_array_equal(decode_image(data, where="x"), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(PIXELS), exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode_image(data, where="x"), expected)


def test_an_image_whose_exif_cannot_be_written_again_is_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0  # XResolution, a fraction
    data = encoded(Image.fromarray(PIXELS), exif=exif)
    place = data.index(bytes([0x01, 0x1A]), data.index(b"eXIf"))
    broken = bytearray(data)
    broken[place + 2 : place + 4] = bytes([0, 2])  # its type: text instead of a fraction
    check = data.index(b"eXIf")
    size = int.from_bytes(data[check - 4 : check], "big")
    broken[check + 4 + size : check + 8 + size] = zlib.crc32(broken[check : check + 4 + size]).to_bytes(4, "big")
    with Image.open(io.BytesIO(bytes(broken))) as image, pytest.raises((TypeError, struct.error)):
        ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(decode_image(bytes(broken), where="x"), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    form = "JPEG" if mode == "CMYK" else "PNG"
    pixels = decode_image(encoded(image, form), where="x")
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range():
    grey = np.array([[0, 32768, 65535]], np.uint16)
    pixels = decode_image(encoded(Image.fromarray(grey)), where="x")
    assert pixels.shape == (1, 3, 3)
    np.testing.assert_allclose(pixels[0, :, 0].astype(int), [0, 128, 255], atol=1)


def test_an_empty_file_is_named():
    with pytest.raises(DataError, match="a.tar:k: expected image bytes, got an empty file"):
        decode_image(b"", where="a.tar:k")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GIF89a not one of ours", id="gif"),
        pytest.param(b"<html>404</html>", id="html"),
        pytest.param(encode_jpeg(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))[:700], id="truncated jpeg"),
        pytest.param(encode_png(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))[:700], id="truncated png"),
        pytest.param(b"\xff\xd8\xff\xe0" + b"\0" * 100, id="corrupt jpeg"),
    ],
)
def test_what_cannot_be_read_is_named(data):
    with pytest.raises(DataError, match="^a.tar:k: not a readable image"):
        decode_image(data, where="a.tar:k")
