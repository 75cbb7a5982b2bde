"""The images of a prediction: where each is, what it is called, and where its picture goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from umgclip.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
PICTURES = "pictures"
UNNAMEABLE = "backslashreplace"  # bytes of a file name that are no UTF-8 become escapes of JSON: `\udcff`
_SAME = {".jpg", ".jpeg", ".png", ".webp"}  # written as they are called; a picture of any other kind is a PNG
Boxes = list[Any]


@dataclass(frozen=True)
class InputImage:
    """An image of a prediction with its name.

    Attributes:
        path: where it is.
        name: its path below the folder that was given, with `/`; the name of a file that was given by itself. Different
            for each image.
        picture: path of its annotated picture below the output folder.
    """

    path: Path
    name: str
    picture: str

    @property
    def stamp(self) -> list[int]:
        """Size and time of change of the file, by which a later run sees that it is another; empty if it is gone."""
        try:
            status = self.path.stat()
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]


def input_images(given: Sequence[Path], images: Iterable[Path], leave_out: Path) -> list[InputImage]:
    """Name images: each by its path below the folder that it was found in.

    Images of different folders may have the same name there; then the folder's own name stands before it, and a number
    if that is not enough. Names that differ in case only count as the same, because some disks have it so.

    Args:
        given: the files and folders of the command.
        images: the files, in their order.
        leave_out: the output folder; what an earlier run wrote there is no input.
    """
    folders = sorted((path for path in given if path.is_dir()), key=lambda path: -len(path.parts))
    outside = leave_out.resolve()
    names: set[str] = set()
    pictures: set[str] = set()
    chosen = []
    for path in images:
        if path.resolve().is_relative_to(outside):
            continue
        folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
        name = _free(_name(path, folder, several=len(given) > 1), names)
        picture = name if path.suffix.lower() in _SAME else f"{name}.png"
        chosen.append(InputImage(path, name, f"{PICTURES}/{_free(picture, pictures)}"))
    return chosen


def listed(others: Mapping[str, int]) -> str:
    """Return numbers of files by suffix as a text, such as `.txt 3, no suffix 1`."""
    return ", ".join(f"{suffix} {number}" for suffix, number in others.items())


def _name(path: Path, folder: Path | None, *, several: bool) -> str:
    if folder is None:
        return path.name
    inside = path.relative_to(folder).as_posix()
    return f"{folder.resolve().name or 'root'}/{inside}" if several else inside


def _free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, with a number before its suffix if need be."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name with `/`, on any system
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(free.casefold())
    return free


def boxes_by_name(content: Any, where: str) -> dict[str, Boxes]:  # noqa: ANN401 - any JSON value
    """Return boxes by the name of their image, from `{"photo.jpg": [[x0, y0, x1, y1], ...]}` or a COCO file.

    Args:
        content: the content of the file.
        where: the file, for errors.

    Raises:
        InputError: it is neither.
    """
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        named: dict[str, Boxes] = {}
        for name, boxes in _of_coco(content, where):
            named.setdefault(name, []).extend(boxes)
        return named
    if not isinstance(content, dict) or not all(isinstance(boxes, list) for boxes in content.values()):
        raise InputError(
            f'--boxes: {where}: expected {{"IMAGE": [[x0, y0, x1, y1], ...]}}, or a COCO file with images and '
            f"annotations, got {str(content)[:80]}"
        )
    return content


def _of_coco(content: Mapping[str, Any], where: str) -> Iterator[tuple[str, Boxes]]:
    boxes: dict[Any, Boxes] = {}
    for index, one in enumerate(content.get("annotations") or []):
        box = one.get("bbox") if isinstance(one, dict) else None
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, int | float) for n in box):
            raise InputError(f"--boxes: {where}: annotations[{index}].bbox: expected [x, y, width, height], got {box}")
        boxes.setdefault(str(one.get("image_id")), []).append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
    known = {str(one.get("id")) for one in content["images"] if isinstance(one, dict)}
    for index, one in enumerate(content.get("annotations") or []):
        if str(one.get("image_id")) not in known:
            raise InputError(
                f"--boxes: {where}: annotations[{index}].image_id: expected the id of one of the file's "
                f"{len(known)} images, got {one.get('image_id')!r}"
            )
    for index, one in enumerate(content["images"]):
        if not isinstance(one, dict) or not isinstance(one.get("file_name"), str):
            raise InputError(f"--boxes: {where}: images[{index}].file_name: expected a text, got {str(one)[:80]}")
        yield one["file_name"], boxes.get(str(one.get("id")), [])


def stated_sizes(content: Any, boxes: Mapping[str, Boxes]) -> dict[str, list[int]]:  # noqa: ANN401 - any JSON value
    """Return the width and height that a COCO file states for each image with boxes, by its name.

    Args:
        content: the content of the file.
        boxes: of the file, by the name of their image.
    """
    listed = content.get("images") if isinstance(content, dict) else None
    sizes: dict[str, list[int]] = {}
    for one in listed if isinstance(listed, list) else []:
        size = [one.get("width"), one.get("height")]
        if boxes.get(one["file_name"]) and all(type(side) is int and side > 0 for side in size):
            sizes[one["file_name"]] = size
    return sizes


def require_sizes(sizes: Mapping[str, list[int]], images: Iterable[Path], where: str) -> None:
    """Check that images have the size on which their boxes were measured, upright or as stored.

    Args:
        sizes: width and height by the path of an image or the end of it.
        images: all of them; one that cannot be read is left for later.
        where: the file, for errors.

    Raises:
        InputError: an image has another size.
    """
    owners: dict[str, list[Path]] = {}
    for path in images:
        names = (str(path), *("/".join(path.parts[first:]) for first in range(len(path.parts))))
        for name in sizes.keys() & set(names):
            owners.setdefault(name, []).append(path)
    for name, paths in owners.items():
        measured = [size for size in map(_size_wh, paths) if size is not None]
        # of several images whose paths end so, one is meant
        if measured and not any(sorted(size) == sorted(sizes[name]) for size in measured):
            wanted, got = (" x ".join(map(str, sides)) for sides in (sizes[name], measured[0]))
            raise InputError(
                f"--boxes: {where}: images: {name}: expected {wanted} pixels, on which its boxes were measured, got an "
                f"image of {got}; scale the boxes, or give the images that they belong to"
            )


def _size_wh(path: Path) -> tuple[int, int] | None:
    """Return the size that an image's head states; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def boxes_of(images: Sequence[InputImage], boxes: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """Return the boxes of each image that a file of boxes names, by the image's own name.

    Args:
        images: all of them.
        boxes: by path, by name, or by the last part of the name.

    Raises:
        InputError: a name belongs to no image, or to several.
    """
    owners: dict[str, dict[str, None]] = {}
    for image in images:
        for name in (str(image.path), image.path.as_posix(), image.name, image.path.name):
            owners.setdefault(name, {})[image.name] = None
    chosen: dict[str, Boxes] = {}
    for name, each in boxes.items():
        owner = list(owners.get(name, {}))
        if name in owner:  # the whole name of one, although others end so
            owner = [name]
        if len(owner) != 1:
            listed = ", ".join(image.name for image in images[:3])
            belongs = f"which belongs to {owner[0]} and {owner[1]}" if owner else "which belongs to none"
            raise InputError(f"--boxes: expected names of the images ({listed}, ...), got {name!r}, {belongs}")
        chosen[owner[0]] = [*chosen.get(owner[0], []), *each]
    return chosen
