"""Frames of coordinates: the image as shown, as its file stores it, or at another size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from umgclip.io.images import PreparedImage

_SAME_ASPECT = 0.02  # largest difference of the two scales of a resized image
_SLOPPY_PX, _SLOPPY = 2.0, 0.01  # how far boxes leave the image even in good data sets: px, share of a side
Size = tuple[int, int]  # width, height
AS_SHOWN, AS_IT_LIES, EXCHANGED = "as shown", "as the file lies", "width and height exchanged"


@dataclass(frozen=True)
class Frame:
    """A frame of coordinates: its size, and how to convert points in it to the stored image.

    `turn` is an EXIF orientation (5 to 8) if the source measured the image as stored, not as shown. Afterwards, x and y
    are multiplied by `scale`.
    """

    width: int
    height: int
    turn: int = 1
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def moved(self) -> bool:
        """True if coordinates in this frame have to be converted at all."""
        return self.turn != 1 or self.scale != (1.0, 1.0)


@dataclass
class Extent:
    """Extent of the regions of an image in the source's own pixels, and the sizes of their masks."""

    right: float = 0.0
    bottom: float = 0.0
    sizes: frozenset[Size] = frozenset()

    def reach(self, right: float, bottom: float) -> None:
        """Extend the extent to a point that is still inside."""
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)

    def fits(self, size: Size) -> bool:
        """Return whether everything lies inside a picture of this size, with the tolerance for careful annotators."""
        sides = zip((self.right, self.bottom), size, strict=True)
        inside = all(end <= side + max(_SLOPPY_PX, _SLOPPY * side) for end, side in sides)
        return inside and self.sizes <= {size}


@dataclass(frozen=True)
class FrameChoice:
    """A frame, and what the summary reports about it; frame None: the size fits no picture of the image."""

    frame: Frame | None
    told: str | None = None


def choose_frame(image: PreparedImage, size_wh: Size | None, extent: Extent, *, exchanged: bool = False) -> FrameChoice:
    """Choose the frame in which a source measured its coordinates.

    A size that is the file's but not that of the image as shown means coordinates in the file as stored. Any other size
    with the same aspect means an image that was resized later. If coordinates leave that frame and fit the other one,
    they belong to the other one: some programs show an image upright and write the size of its file.

    Args:
        image: the stored image.
        size_wh: the size that the source states, if any.
        extent: extent of the regions.
        exchanged: other images of the file show that such a program wrote it; decides if both frames fit.
    """
    given, other = _pictures(image, size_wh)
    fitting = [frame for frame in other if extent.fits((frame.width, frame.height))]
    is_inside = any(extent.fits((frame.width, frame.height)) for frame in given)
    if fitting and image.orientation >= 5 and (exchanged or not is_inside):
        where = AS_IT_LIES if fitting[0].turn != 1 else AS_SHOWN
        return FrameChoice(
            fitting[0],
            f"images whose regions fit {where} only"
            if not is_inside
            else f"images whose regions are read {where}, as others of the file",
        )
    if fitting and not given and not extent.fits(size_wh or (0, 0)):
        return FrameChoice(fitting[0], f"images with {EXCHANGED}")
    if not given:
        return FrameChoice(None)
    frame = next((frame for frame in given if extent.fits((frame.width, frame.height))), given[0])
    return FrameChoice(frame, _summary(frame, image))


def _summary(frame: Frame, image: PreparedImage) -> str | None:
    if frame.turn != 1:
        return "images whose regions were turned with them"
    is_square = image.orientation >= 5 and image.raw_wh[0] == image.raw_wh[1]
    return (
        f"images turned by EXIF whose regions are read {AS_SHOWN}" if is_square or 1 < image.orientation < 5 else None
    )


def _pictures(image: PreparedImage, size_wh: Size | None) -> tuple[list[Frame], list[Frame]]:
    """Return the frames of a given size, the likelier ones first, and those with its sides exchanged."""
    if size_wh is None:
        upright = [Frame(image.width, image.height)]
        return upright, [Frame(*image.raw_wh, image.orientation)] if image.orientation >= 5 else []
    return list(_frames(image, size_wh)), list(_frames(image, (size_wh[1], size_wh[0])))


def _frames(image: PreparedImage, size: Size) -> Iterable[Frame]:
    for turn, whole in ((1, (image.width, image.height)), (image.orientation, image.raw_wh)):
        if turn != 1 and (image.orientation < 5 or size == (image.width, image.height)):
            continue
        across, down = whole[0] / size[0], whole[1] / size[1]
        # the sides of small images are rounded by up to a pixel
        if size == whole or abs(across / down - 1) <= _SAME_ASPECT + 1 / min(*whole, *size):
            yield Frame(*size, turn, (across, down) if turn == 1 else (down, across))
