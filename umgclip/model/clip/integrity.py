"""Integrity checks of weights: by the hash stored beside them, and for values that are not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from umgclip.errors import DataError
from umgclip.io.atomic import must_be_readable, sha256_file
from umgclip.io.json_file import read_object
from umgclip.model.clip.layout import BASE_REPORT, CONFIG, WEIGHTS

OWN = "umgclip"  # our key in open_clip's config file: what open_clip has no word for
SHA256 = "weights_sha256"


def base_sha256(folder: Path) -> str:
    """SHA-256 of a base's weights, which are those that its folder says they are.

    Args:
        folder: as `umgclip.model.clip.files.save` writes it; of other makers' folders nothing is known.

    Raises:
        DataError: `open_clip_config.json` or `base.json` names another hash.
    """
    settings = _content(folder / CONFIG).get(OWN)
    recorded = {CONFIG: settings.get(SHA256) if isinstance(settings, dict) else None}
    recorded[BASE_REPORT] = _content(folder / BASE_REPORT).get(SHA256)
    return _compared(folder / WEIGHTS, recorded)


def adapter_sha256(path: Path, report: str, field: str) -> str:
    """SHA-256 of an adapter's weights, which are those that a report says they are.

    Args:
        path: the weights.
        report: file beside them, or beside their folder, as a relative path; of none nothing is known.
        field: of the report.

    Raises:
        DataError: the report names another hash.
    """
    return _compared(path, {report: _content(path.parent / report).get(field)})


def _compared(path: Path, recorded: dict[str, Any]) -> str:
    must_be_readable(path)
    actual = sha256_file(path)
    for name, expected in recorded.items():
        if expected is not None and expected != actual:
            raise DataError(
                f"{path}: damaged or exchanged: expected SHA-256 {expected} as in {name}, got {actual}; "
                f"if you changed the weights yourself, remove the old hash from {name}"
            )
    return actual


def _content(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


@torch.no_grad()
def require_finite(model: nn.Module, where: Path) -> None:
    """Refuse a model of which a weight is infinite or no number.

    Raises:
        DataError: names the weight.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.numel() and not torch.stack(torch.aminmax(value)).isfinite().all():
            raise DataError(f"{where}: {name}: expected finite numbers, got some that are infinite or none")
