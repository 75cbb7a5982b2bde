"""The model alone, for people who want embeddings and no pipeline: `umgclip.load(...)`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from umgclip.errors import InputError
from umgclip.inference.arguments import Device, Pixels, Resize, Share, Where, check_options
from umgclip.inference.model import Model
from umgclip.inference.request_values import short
from umgclip.register.opening import open_model

__all__ = ["Model", "load"]

_OR_A_MODEL = {"source": " or models:/NAME@ALIAS", "adapter": ""}


def load(
    source: Where,
    adapter: Where | None = None,
    *,
    device: Device = None,
    image_px: Pixels = None,
    resize: Resize = None,
    box_share: Share = None,
) -> Model:
    """Load a tuned model, or a base.

    Args:
        source: `models:/umgclip@champion` or `models:/umgclip/3` of the registry that the environment names, or a
            folder: `artifacts` of the pipeline, a base or any folder of open_clip's, what `umgclip export` or
            `Model.save` wrote, or the files of a registered version.
        adapter: folder of an adapter for a base.
        device: a torch device; a GPU where there is one when None.
        image_px: side of the canvas that images are put on, for finer maps; the model's own when None.
        resize: `squash`, `pad`, or open_clip's `shortest` or `longest`; when None as in training, and for a folder
            without an adapter as it says itself.
        box_share: what is read of a box, of its sides about its middle; as the version was registered or exported, or
            0.7, when None.

    Raises:
        InputError: there is no such model, or an argument is none of those that there are.
        DataError: files are missing or do not belong together.
        TrackingError: the registry does not answer.
    """
    beside = None if adapter is None else Path(_path(adapter, "adapter"))
    check_options(box_share, image_px, resize, device)
    with open_model(_place(source), beside) as found:
        return Model(
            found.clip,
            template=found.usage.template,
            device=device,
            image_px=image_px,
            resize=found.usage.preprocess.fit if resize is None else resize,
            box_share=found.usage.box_share if box_share is None else box_share,
        )


def _place(source: Where) -> str | Path:
    source = _path(source, "source")
    return source if isinstance(source, str) and source.startswith("models:/") else Path(source)


def _path(given: Where, where: str) -> str | PathLike[str]:
    if not isinstance(given, str | PathLike) or not str(given):
        raise InputError(f"{where}: expected the path of a folder{_OR_A_MODEL[where]}, got {short(given)}")
    return given
