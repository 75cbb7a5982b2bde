"""DVC's experiments: which one this is, and the checkout that it was started from."""

from __future__ import annotations

import os
from pathlib import Path

_UNNAMED = "unnamed"


def experiment() -> str | None:
    """Return the name of the DVC experiment (`dvc exp run`, also `--temp` and `--queue`) that this process is part of.

    None outside of one.
    """
    name = os.environ.get("DVC_EXP_NAME", "").strip()
    return name or (_UNNAMED if os.environ.get("DVC_EXP_BASELINE_REV", "").strip() else None)


def checkout(root: Path) -> Path:
    """Return the folder whose store a stage in `root` uses: `root`, but for an experiment with a folder of its own.

    `--temp` and `--queue` run in `.dvc/tmp/exps/...`, which DVC deletes; `DVC_ROOT` then names the repository that they
    were started in.
    """
    outer = os.environ.get("DVC_ROOT", "").strip()
    if experiment() is None or not outer:
        return root
    root = root.resolve()
    inner = next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root)
    return Path(outer).resolve() / root.relative_to(inner)
