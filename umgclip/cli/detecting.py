"""`umgclip predict --out FOLDER`: things found by name, as pictures, COCO json, JSON lines and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from umgclip.cli import session
from umgclip.cli.predicting import Boxes, find_images, warn_of_drawings
from umgclip.errors import DataError, InputError
from umgclip.predictions.inputs import boxes_of, input_images


@dataclass(frozen=True)
class FolderOptions:
    """The options of the command that are about a folder of detections.

    Attributes:
        out: the folder.
        threshold: least confidence of a detection; None: the default.
        background: further words that the labels compete with.
        pictures: whether annotated pictures are written.
    """

    out: Path
    threshold: float | None
    background: Sequence[str]
    pictures: bool


def predict(
    model: str, given: Sequence[Path], labels: Sequence[str], boxes: Mapping[str, Boxes], options: FolderOptions
) -> None:
    """Detect labels in images, write the folder and show what it holds.

    Args:
        model: what `umgclip.load` takes.
        given: images and folders of them.
        labels: what is looked for.
        boxes: boxes by the path or the name of an image, instead of proposals.
        options: where and how the results are written.

    Raises:
        InputError: an option is not as expected.
        DataError: images could not be read; the others are done.
    """
    for path in given:
        if path.resolve().is_relative_to(options.out.resolve()):
            raise InputError(f"--out: expected a folder without the images, {options.out} contains {path}")
    paths, others = find_images(given, options.out)
    images = input_images(given, paths, options.out)
    if not images:
        raise InputError(f"{given[0]}: expected images, found only those of an earlier predict in {options.out}")
    of_image = boxes_of(images, boxes)
    import umgclip
    from umgclip.inference.detecting.detector import DetectSettings
    from umgclip.predictions.run import FolderRequest, predict_folder

    words = [*DetectSettings().background, *options.background]
    chosen = {} if options.threshold is None else {"threshold": options.threshold}
    settings = DetectSettings.of({"background": list(dict.fromkeys(words)), **chosen})
    loaded = umgclip.load(model)
    warn_of_drawings(loaded)
    detector = loaded.detector(labels, settings=settings)
    request = FolderRequest(images, of_image, options.out, model, options.pictures, others)
    with session.only_writer(options.out), session.untracked("predict") as opened:
        result = predict_folder(request, detector, loaded.tower, opened.counter(len(images)))
    session.show(result.summary, out=options.out)
    if result.failed:
        raise DataError(
            f"{result.failed} of {len(images)} images could not be read; {options.out / 'quarantine.jsonl'} says why"
        )
