"""The base weights of a registered model: stored with it, or downloaded again by open_clip and checked by hash."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from umgclip.errors import DataError
from umgclip.geometry.fit import Resize
from umgclip.io.json_file import read_report
from umgclip.model.clip.layout import BASE_REPORT, CONFIG, TOKENIZER_FILES, TRAIN_REPORT, WEIGHTS
from umgclip.params import SCRATCH

if TYPE_CHECKING:
    from umgclip.model.clip.pretrained.load import Choices


def can_be_fetched(base: Path) -> bool:
    """Return True if open_clip can download these weights again."""
    report = read_report(base / BASE_REPORT)
    if report.get("pretrained") == SCRATCH:
        return False
    from umgclip.model.clip.light_open_clip import open_clip

    return str(report.get("pretrained")) in open_clip.list_pretrained_tags_by_model(str(report.get("model")))


def trained_resize(train: Path) -> Resize:
    """Return how images were fitted when a model was tuned: `squash`, unless its `train.json` says `pad`."""
    report = train / TRAIN_REPORT
    params = read_report(report).get("params", {}) if report.is_file() else {}
    return "pad" if params.get("resize") == "pad" else "squash"


def _choices(folder: Path) -> Choices:
    """Read the choices with which the base was loaded, from its config."""
    from umgclip.model.clip.files import OWN
    from umgclip.model.clip.pretrained.load import Choices

    content = read_report(folder / CONFIG)
    added = content.get(OWN) or {}
    quick_gelu = bool(content["model_cfg"].get("quick_gelu", False))
    return Choices(quick_gelu=quick_gelu, positions=added.get("positions", "antialiased"))


@contextmanager
def restore_base(folder: Path) -> Iterator[Path]:
    """Yield a complete base folder: `folder` itself, or a temporary one with the weights that its `base.json` names.

    Raises:
        DataError: the downloaded weights are not those that the adapter was trained on.
    """
    if (folder / WEIGHTS).is_file():
        yield folder
        return
    from umgclip.model.clip import files
    from umgclip.model.clip.pretrained.load import load_pretrained

    if not (folder / BASE_REPORT).is_file():
        raise DataError(
            f"{folder}: expected {WEIGHTS}, found none; if the weights have another name or format, make a "
            "base of them: set base.pretrained to the folder and run: umgclip base"
        )
    report = read_report(folder / BASE_REPORT)
    loaded = load_pretrained(str(report["model"]), str(report["pretrained"]), _choices(folder))
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        digest = files.save(base, loaded.clip, loaded.model_cfg)
        for tokenizer in TOKENIZER_FILES:
            if (folder / tokenizer).is_file():
                shutil.copy2(folder / tokenizer, base / tokenizer)
        if digest != report["weights_sha256"]:
            wanted = report["weights_sha256"]
            raise DataError(f"{report['model']} {report['pretrained']}: expected base weights {wanted}, got {digest}")
        yield base
