"""Images as an import takes them in: bytes kept where every reader understands them, written anew where not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from umgclip.io.images import RejectedImageError, decode_image, prepare_image

RNG = np.random.default_rng(0)
PIXELS = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((48, 32), Image.Resampling.BILINEAR)
)


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, form, **options)
    return buffer.getvalue()


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


@pytest.mark.parametrize(
    ("data", "extension"),
    [
        pytest.param(encoded(PIXELS, "JPEG"), "jpg", id="jpeg"),
        pytest.param(encoded(PIXELS, "JPEG", progressive=True), "jpg", id="progressive jpeg"),
        pytest.param(encoded(PIXELS[..., 0], "JPEG"), "jpg", id="grey jpeg"),
        pytest.param(encoded(PIXELS), "png", id="png"),
        pytest.param(encoded(PIXELS[..., 0]), "png", id="grey png"),
        pytest.param(encoded(PIXELS, "WEBP"), "webp", id="webp"),
    ],
)
def test_plain_images_keep_their_bytes(data, extension):
    image = prepare_image(data, extension=extension)
    assert (image.data, image.extension, image.width, image.height, image.changed) == (data, extension, 48, 32, False)


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        pytest.param(encoded(Image.fromarray(PIXELS).convert("P")), "RGB", id="palette"),
        pytest.param(encoded(Image.fromarray(PIXELS).convert("1")), "RGB", id="black and white"),
        pytest.param(encoded(Image.fromarray(PIXELS).convert("RGBA")), "RGB", id="opaque rgba"),
        pytest.param(encoded(Image.fromarray(PIXELS).convert("LA")), "RGB", id="grey with transparency"),
        pytest.param(encoded(PIXELS[..., 0].astype(np.uint16) * 257), "L", id="16-bit grey"),
        pytest.param(encoded(PIXELS[..., 0].astype(np.uint16) * 257, "TIFF"), "L", id="16-bit tiff"),
        pytest.param(encoded(PIXELS, "BMP"), "RGB", id="bmp"),
        pytest.param(encoded(PIXELS, "TIFF"), "RGB", id="tiff"),
        pytest.param(encoded(PIXELS, "GIF"), "RGB", id="gif"),
    ],
)
def test_others_become_png_of_the_same_pixels(data, mode):
    image = prepare_image(data)
    stored = opened(image.data)
    assert (image.extension, image.changed, stored.format, stored.mode) == ("png", True, "PNG", mode)
    with Image.open(io.BytesIO(data)) as source:
        if source.mode.startswith("I"):
            expected = (np.asarray(source) >> 8).astype(np.uint8)
        else:
            expected = np.asarray(source.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(stored), expected)
    assert prepare_image(image.data).data == image.data  # once is enough


def test_cmyk_becomes_rgb():
    data = encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95)
    image = prepare_image(data, extension="jpg")
    stored = opened(image.data)
    assert (image.extension, stored.mode) == ("jpg", "RGB")
    np.testing.assert_allclose(np.asarray(stored).astype(int), PIXELS.astype(int), atol=25)


def test_avif_becomes_jpeg():
    image = prepare_image(encoded(PIXELS, "AVIF", quality=95), extension="avif")
    assert (image.extension, opened(image.data).format) == ("jpg", "JPEG")
    np.testing.assert_allclose(np.asarray(opened(image.data)).astype(int), PIXELS.astype(int), atol=25)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_transparency_is_seen_on_white(form):
    layer = np.zeros((4, 6, 4), np.uint8)
    layer[:, 3:] = (200, 10, 10, 255)  # the left half is black, and cannot be seen
    data = encoded(layer, form, **({"lossless": True} if form == "WEBP" else {}))
    for seen in (np.asarray(opened(prepare_image(data).data)), decode_image(data, where="x")):
        assert seen[0, 0].tolist() == [255, 255, 255]
        assert seen[0, 5].tolist() == [200, 10, 10]


def test_a_transparent_colour_of_a_palette_is_seen_on_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.putpixel((0, 0), 1)
    stored = np.asarray(opened(prepare_image(encoded(image, transparency=0)).data))
    assert stored[0, 0].tolist() == [250, 0, 0]
    assert stored[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_turned_images_are_stored_upright_without_exif(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PIXELS, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    image = prepare_image(data)
    stored = opened(image.data)
    with Image.open(io.BytesIO(data)) as source:
        expected = ImageOps.exif_transpose(source)
    assert stored.size == expected.size == (image.width, image.height)
    assert stored.getexif().get(0x0112) is None
    assert image.raw_wh == (48, 32)
    assert image.orientation == orientation
    np.testing.assert_allclose(np.asarray(stored).astype(int), np.asarray(expected).astype(int), atol=12)


def test_sixteen_bit_rgb_becomes_eight_bit():
    cv2 = pytest.importorskip("cv2")
    _, data = cv2.imencode(".png", PIXELS[..., ::-1].astype(np.uint16) * 257)
    stored = prepare_image(data.tobytes()).data
    assert stored[24] == 8  # the header's bit depth
    np.testing.assert_array_equal(np.asarray(opened(stored)), PIXELS)


JPEG, PNG, WEBP = (encoded(PIXELS, form) for form in ("JPEG", "PNG", "WEBP"))


@pytest.mark.parametrize(
    ("data", "extension", "reason"),
    [
        pytest.param(b"", "jpg", "empty", id="zero bytes"),
        pytest.param(b"<html>404</html>", "jpg", "mislabelled", id="a web page"),
        pytest.param(PNG, "jpg", "mislabelled", id="another format"),
        pytest.param(b"%PDF-1.7", "", "mislabelled", id="no image"),
        pytest.param(JPEG[: len(JPEG) // 2], "jpg", "truncated", id="half a jpeg"),
        pytest.param(JPEG[:30], "jpg", "truncated", id="the beginning of a jpeg"),
        pytest.param(PNG[: len(PNG) // 2], "png", "truncated", id="half a png"),
        pytest.param(WEBP[: len(WEBP) // 2], "webp", "truncated", id="half a webp"),
        pytest.param(encoded(np.zeros((40, 30, 3), np.uint8)), "png", "too_large", id="a decompression bomb"),
        pytest.param(PNG[:40] + bytes(40) + PNG[80:], "png", "unreadable", id="damaged"),
    ],
)
def test_what_is_not_taken_has_a_reason(data, extension, reason):
    with pytest.raises(RejectedImageError) as caught:
        prepare_image(data, extension=extension, max_pixels=40 * 30 - 1 if reason == "too_large" else 10_000)
    assert caught.value.reason == reason


def test_pillows_own_limits_are_too_large_as_well():
    header = bytearray(PNG)
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # 3.6 gigapixels, announced in a small file
    import zlib

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    with pytest.raises(RejectedImageError) as caught:
        prepare_image(bytes(header))
    assert caught.value.reason == "too_large"


def test_another_format_than_promised_can_be_let_in():
    assert prepare_image(PNG, extension="jpg", strict=False).extension == "png"
