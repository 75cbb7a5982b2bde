"""`umgclip.load`: the model alone, for people who want embeddings without the pipeline."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from umgclip.errors import InputError
from umgclip.inference.arguments import Device, Pixels, Resize, Share, Where, check_options
from umgclip.inference.hub.names import PREFIX
from umgclip.inference.model import Model
from umgclip.inference.request_values import short
from umgclip.register.opening import open_model

__all__ = ["Model", "load"]

_OR_A_MODEL = {"source": ", models:/NAME@ALIAS or hf-hub:USER/NAME", "adapter": ""}
_ELSEWHERE = ("models:/", PREFIX)


def load(
    source: Where,
    adapter: Where | None = None,
    *,
    device: Device = None,
    image_px: Pixels = None,
    resize: Resize = None,
    box_share: Share = None,
) -> Model:
    """Load a tuned model or a base, ready to embed and classify.

    Args:
        source: `models:/umgclip@champion` or `models:/umgclip/3` of the registry that the environment names,
            `hf-hub:USER/NAME[@REVISION]` of the Hugging Face hub, or a folder: `artifacts` of the pipeline, a base or
            any folder of open_clip's, what `umgclip export` or `Model.save` wrote, or the files of a registered
            version.
        adapter: folder of an adapter for a base.
        device: a torch device; None: a GPU if there is one.
        image_px: side in pixels of the input, larger for finer maps; None: the model's own.
        resize: `squash`, `pad`, or open_clip's `shortest` or `longest`; None: as in training, and for a folder without
            an adapter as its own config says.
        box_share: share of a box's sides that is read, about its middle; None: as registered or exported, else 0.7.

    Raises:
        InputError: there is no such model, or the value of an argument is not allowed.
        DataError: files are missing or do not belong together.
        TrackingError: the registry does not answer.
        StorageError: the hub does not answer.

    Example:
        >>> import umgclip
        >>> model = umgclip.load("artifacts")
        >>> model.classify("photo.jpg", ["dog", "apple"], boxes_xyxy=[[0, 0, 100, 100], [50, 20, 300, 200]]).shape
        (2, 2)
    """
    beside = None if adapter is None else Path(_path(adapter, "adapter"))
    check_options(box_share, image_px, resize, device)  # before a model is downloaded
    with open_model(_location(source), beside) as opened:
        return Model.of_opened(opened, device=device, image_px=image_px, resize=resize, box_share=box_share)


def _location(source: Where) -> str | Path:
    source = _path(source, "source")
    return source if isinstance(source, str) and source.startswith(_ELSEWHERE) else Path(source)


def _path(given: Where, where: str) -> str | PathLike[str]:
    if not isinstance(given, str | PathLike) or not str(given):
        raise InputError(f"{where}: expected the path of a folder{_OR_A_MODEL[where]}, got {short(given)}")
    return given
