"""One picture is the same pixels whatever it comes as."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.inference.request import Limits, Target, prepare
from umgclip.io.images import decode_image
from umgclip.io.pictures import is_picture, read_picture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 20), dtype=np.uint16)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def with_palette() -> Image.Image:
    image = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE)
    image.info["transparency"] = 3
    return image


FILES = {
    "upright": (Image.fromarray(PIXELS), "png", {}),
    "turned-jpeg": (Image.fromarray(PIXELS), "jpeg", {"exif": turned(6)}),
    "turned-png": (Image.fromarray(PIXELS), "png", {"exif": turned(3)}),
    "turned-webp": (Image.fromarray(PIXELS), "webp", {"exif": turned(8), "lossless": True}),
    "turned-tiff": (Image.fromarray(PIXELS), "tiff", {"tiffinfo": {0x0112: 6}}),
    "rgba": (Image.fromarray(ALPHA), "png", {}),
    "rgba-turned": (Image.fromarray(ALPHA), "png", {"exif": turned(5)}),
    "grey-alpha": (Image.fromarray(ALPHA).convert("LA"), "png", {}),
    "palette": (Image.fromarray(PIXELS).convert("P"), "png", {}),
    "palette-transparent": (with_palette(), "png", {"transparency": 3}),
    "16-bit": (Image.fromarray(DEEP), "png", {}),
    "grey": (Image.fromarray(PIXELS).convert("L"), "png", {}),
    "black-white": (Image.fromarray(PIXELS).convert("1"), "png", {}),
    "cmyk": (Image.fromarray(PIXELS).convert("CMYK"), "jpeg", {}),
    "gif": (Image.fromarray(PIXELS).convert("P"), "gif", {}),
    "bmp": (Image.fromarray(PIXELS), "bmp", {}),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_way_in_gives_the_same_pixels(kind: str, tmp_path: Path) -> None:
    image, form, options = FILES[kind]
    path = tmp_path / f"photo.{form}"
    image.save(path, form, **options)
    data = path.read_bytes()
    wanted = read_picture(path)
    assert wanted.dtype == np.uint8
    on_its_side = kind in ("turned-jpeg", "turned-webp", "turned-tiff", "rgba-turned")
    assert wanted.shape == ((20, 12, 3) if on_its_side else (12, 20, 3))
    at_its_end = io.BytesIO()
    at_its_end.write(data)
    with Image.open(path) as opened, Image.open(path) as loaded, path.open("rb") as file:
        loaded.load()
        ways = {
            "text": str(path), "bytes": data, "bytearray": bytearray(data), "BytesIO": io.BytesIO(data),
            "BytesIO at its end": at_its_end, "open file": file, "PIL": opened, "PIL, loaded": loaded,
            "PIL, copied": loaded.copy(), "array": wanted, "tensor": torch.from_numpy(wanted.copy()).permute(2, 0, 1),
            "fractions": wanted.astype(np.float64) / 255,
            "tensor of fractions": torch.from_numpy(wanted.copy()).permute(2, 0, 1) / 255,
        }  # fmt: skip
        for way, picture in ways.items():
            np.testing.assert_array_equal(read_picture(picture), wanted, err_msg=way)
            np.testing.assert_array_equal(read_picture(picture), wanted, err_msg=f"{way}, again")
    if form in ("png", "jpeg", "webp"):  # what shards, the server and the registered model read
        np.testing.assert_array_equal(decode_image(data, where="x"), wanted)
        height, width = wanted.shape[:2]
        target = Target((width, height), (height, width), ())
        asked = {"image": base64.b64encode(data).decode()}
        np.testing.assert_array_equal(prepare(asked, target, Limits(), "x").pixels, wanted)


def test_grey_and_transparent_arrays_are_what_their_files_are() -> None:
    for array in (PIXELS[..., 0], PIXELS[..., :1]):
        np.testing.assert_array_equal(read_picture(array), PIXELS[..., :1].repeat(3, axis=2))
    np.testing.assert_array_equal(read_picture(ALPHA), read_picture(Image.fromarray(ALPHA)))
    np.testing.assert_array_equal(read_picture(torch.from_numpy(ALPHA).permute(2, 0, 1)), read_picture(ALPHA))
    np.testing.assert_array_equal(read_picture(DEEP), read_picture(Image.fromarray(DEEP)))
    np.testing.assert_array_equal(read_picture(PIXELS[::-1, ::-1]), PIXELS[::-1, ::-1])
    half = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255
    assert np.abs(read_picture(half.bfloat16()).astype(int) - PIXELS).max() <= 1
    grey = Image.fromarray(PIXELS).convert("L")
    np.testing.assert_array_equal(read_picture(grey.convert("I")), read_picture(grey))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (PIXELS.transpose(2, 0, 1), r"expected \(height, width, 3\), or .* got the shape \(3, 12, 20\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got the shape \(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"got the shape \(2, 4, 4, 3\)"),
        (PIXELS.astype(np.int64), "expected uint8, uint16 or fractions from 0 to 1, got int64"),
        (PIXELS.astype(np.float32), "expected fractions from 0 to 1, got 0 to 255"),
        (np.full((4, 4, 3), np.nan), "expected fractions from 0 to 1, got nan to nan"),
        (torch.randn(3, 4, 4), "the model normalises its images itself"),
        (torch.from_numpy(PIXELS), r"expected a tensor \(3, height, width\), got \(12, 20, 3\)"),
        ("nowhere.jpg", "image: expected the path of an image file, got nowhere.jpg, which does not exist"),
        (".", "image: expected the path of an image file, got the folder"),
        ("", "image: expected the path of an image file, got an empty text"),
        ("https://host/a.jpg", "image: expected the path of an image file, got the address https://host/a.jpg; fetch"),
        (torch.ones(3, 4, 4).to_sparse(), "image: expected a dense tensor with numbers in it, got one of .*sparse"),
        (torch.ones(3, 4, 4, device="meta"), "image: expected a dense tensor .* on meta"),
        (None, "image: expected a path, .* got nothing"),
        ([1, 2], "image: expected a path, .* got a list"),
        (io.StringIO("text"), r"expected a file that is open for bytes \(mode 'rb'\), got str"),
    ],
)
def test_what_is_no_picture_is_said(picture: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_picture(picture)


def closed() -> io.BytesIO:
    file = io.BytesIO(b"bytes")
    file.close()
    return file


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (b"", "image: expected image bytes, got an empty file"),
        (b"no image", r"image: not a readable image \(expected JPEG, PNG, .*, got bytes b'no image'\)"),
        (closed(), "image: cannot read the open file: I/O operation on closed file"),
        (Image.fromarray(PIXELS).convert("F"), "expected whole numbers as pixels, got fractions"),
        (Image.new("RGB", (0, 3)), "expected at least one pixel"),
        ("a\0b", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_said(picture: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_picture(picture)


def test_a_truncated_file_that_pillow_opened_is_said() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    with pytest.raises(DataError, match="image: not a readable image"):
        read_picture(Image.open(io.BytesIO(buffer.getvalue()[:900])))


def test_what_is_one_picture_and_what_are_several() -> None:
    assert all(is_picture(one) for one in ("a.jpg", Path("a.jpg"), b"", PIXELS, torch.zeros(3, 4, 4), io.BytesIO()))
    assert not any(is_picture(many) for many in ([PIXELS], (PIXELS,), PIXELS[None], torch.zeros(2, 3, 4, 4), None))
