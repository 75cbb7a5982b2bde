"""`Model.detect`: images of any kind in, detections of the package supervision out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from umgclip import extras
from umgclip.errors import InputError
from umgclip.inference.arguments import batches, one_picture, read_pictures
from umgclip.inference.detecting.candidates import Candidates, given_boxes, given_masks
from umgclip.inference.detecting.detector import Detector
from umgclip.inference.detecting.regions import DetectedRegions
from umgclip.inference.request_values import is_list
from umgclip.io.pictures import is_picture, pictures

if TYPE_CHECKING:
    import supervision as sv

_BATCH = 32  # images in a forward pass
_Given = Callable[[Any, tuple[int, int], str], Candidates]


def to_supervision(regions: DetectedRegions) -> sv.Detections:
    """Return detections as an object of the package supervision.

    `class_id` is the position of a label in the list that was asked for, and `data["class_name"]` the label itself.

    Raises:
        InputError: the package is not installed.
    """
    detections = _supervision().Detections
    return detections(
        xyxy=regions.boxes_xyxy,
        mask=regions.masks,
        confidence=regions.scores,
        class_id=regions.label_ids,
        data={"class_name": np.array(regions.names, dtype=str)},
    )


def detect(detector: Detector, image: Any, boxes_xyxy: Any, masks: Any) -> sv.Detections | list[sv.Detections]:  # noqa: ANN401 - checked here
    """Detect in one image or several, read in batches.

    Args:
        detector: the model with its labels.
        image: one image, or several.
        boxes_xyxy: boxes that are looked at instead of proposals; for several images one array each. None: proposals.
        masks: the same as masks; at most one of the two is given.

    Raises:
        InputError: an argument is not as expected, or supervision is not installed.
        DataError: an image cannot be read.
    """
    _supervision()
    if boxes_xyxy is not None and masks is not None:
        raise InputError("detect: expected boxes_xyxy or masks or neither, got both; call it once for each")
    where, regions = ("masks", masks) if boxes_xyxy is None else ("boxes_xyxy", boxes_xyxy)
    check: _Given = given_masks if boxes_xyxy is None else given_boxes
    if is_picture(image):
        pixels = one_picture(image)
        given = None if regions is None else [check(regions, (pixels.shape[1], pixels.shape[0]), where)]
        return to_supervision(detector.find([pixels], given)[0])
    return list(_of_several(detector, image, regions, where, check))


def _of_several(
    detector: Detector,
    images: Any,  # noqa: ANN401 - any iterable of images
    regions: Any,  # noqa: ANN401 - a list with an entry per image, or None
    where: str,
    check: _Given,
) -> Iterator[sv.Detections]:
    each = None if regions is None else _entries(regions, where)
    if each is not None:
        images = list(pictures(images, "image"))
        if len(each) != len(images):
            raise InputError(f"{where}: expected one entry per image, {len(images)} in all, got {len(each)}")
    number = 0
    for part in batches(read_pictures(images, "image"), _BATCH):
        given = None
        if each is not None:
            given = [
                check(each[number + row], (pixels.shape[1], pixels.shape[0]), f"{where}[{number + row}]")
                for row, pixels in enumerate(part)
            ]
        number += len(part)
        yield from map(to_supervision, detector.find(part, given))


def _entries(regions: Any, where: str) -> list[Any]:  # noqa: ANN401 - checked here
    if not is_list(regions):
        raise InputError(f"{where}: expected a list, one entry per image, got a {type(regions).__name__}")
    return list(regions)


def _supervision() -> Any:  # noqa: ANN401 - a module that need not be installed
    try:
        import supervision
    except ModuleNotFoundError as error:
        if error.name != "supervision":
            raise
        raise InputError(
            f"detect: needs the package supervision, which is not installed; run: {extras.install('interfaces')}, or "
            "use Model.detector(labels).find(images), which returns plain arrays"
        ) from error
    return supervision
