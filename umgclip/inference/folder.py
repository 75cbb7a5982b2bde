"""The files of a model in a registered version, and how an `Answerer` is loaded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import DataError
from umgclip.inference.interface import FORMAT
from umgclip.io.atomic import sha256_json
from umgclip.io.json_file import read_report
from umgclip.model.clip.layout import ADAPTER
from umgclip.params.section import TEMPLATE

if TYPE_CHECKING:
    from umgclip.inference.answerer import Answerer

VOCABULARY = "vocabulary.json"
CARD = "model_card.md"


def load_folder(folder: Path, settings: Mapping[str, Any], *, device: str | None = None) -> Answerer:
    """Load the model of a version.

    Args:
        folder: folder with the base's files, `train.json`, the folder `adapter` and, if there is one, the vocabulary.
        settings: `template` and `box_share`, as in the section `register`; versions without a share read whole boxes.
        device: a torch device; None: a GPU if there is one.

    Raises:
        DataError: files are missing or do not belong together.
    """
    from umgclip.inference.answerer import Answerer  # torch and open_clip

    concepts = folder / VOCABULARY
    return Answerer.load(
        folder,
        folder / ADAPTER,
        template=str(settings.get("template", TEMPLATE)),
        box_share=read_box_share(settings),
        vocabulary=read_vocabulary(concepts) if concepts.is_file() else (),
        device=device,
    )


def read_box_share(settings: Mapping[str, Any]) -> float:
    """Return the share of a box that a version reads; versions older than this setting read the whole box."""
    return float(settings.get("box_share", 1.0))


def interface_sha256(template: str, box_share: float, vocabulary: Sequence[str]) -> str:
    """Return one hash of everything besides the weights that the answers depend on."""
    return sha256_json([FORMAT, template, box_share, list(vocabulary)])


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read a vocabulary as the stage `annotate` writes it: things, then stuff.

    Raises:
        DataError: the file is missing, or its values are not lists of texts.
    """
    content = read_report(path)
    concepts: list[str] = []
    for kind in ("things", "stuff"):
        names = content.get(kind)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: {kind}: expected a list of texts, got {str(names)[:80]}")
        concepts.extend(names)
    return tuple(dict.fromkeys(concepts))
