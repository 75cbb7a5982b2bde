"""The files that a registered version keeps of a model, and the way from them to something that answers."""

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
    """Read the model of a version.

    Args:
        folder: with the base's files, `train.json`, the folder `adapter`, and the vocabulary if there is one.
        settings: `template` and `box_share`, as in the section `register`; versions without a share read whole boxes.
        device: a torch device; a GPU where there is one when None.

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
    """What a version reads of a box; versions that were registered before there was a choice read all of it."""
    return float(settings.get("box_share", 1.0))


def interface_sha256(template: str, box_share: float, vocabulary: Sequence[str]) -> str:
    """One hash for what the answers depend on besides the weights."""
    return sha256_json([FORMAT, template, box_share, list(vocabulary)])


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Things, then stuff, as the stage `annotate` wrote them.

    Raises:
        DataError: no such file, or not lists of texts.
    """
    content = read_report(path)
    concepts: list[str] = []
    for kind in ("things", "stuff"):
        names = content.get(kind)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: {kind}: expected a list of texts, got {str(names)[:80]}")
        concepts.extend(names)
    return tuple(dict.fromkeys(concepts))
