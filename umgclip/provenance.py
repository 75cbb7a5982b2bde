"""Which code made something: the commit of the repository and whether the working tree differs from it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

WRITTEN_BY_RUNS = ("dvc.lock", "metrics")
_TIMEOUT_S = 20


@dataclass(frozen=True)
class GitState:
    """`commit` is None outside a repository; `dirty`: a tracked file differs from the commit."""

    commit: str | None
    dirty: bool


def git_state(folder: Path) -> GitState:
    """The commit that `folder` stands on.

    What a run itself rewrites (`dvc.lock`, `metrics/`) does not count as a change: it differs during every run.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return GitState(None, dirty=False)
    excluded = [f":(top,exclude){path}" for path in WRITTEN_BY_RUNS]
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *excluded)
    return GitState(commit, dirty=bool(changed))


def is_shallow(folder: Path) -> bool:
    """Whether the repository lacks a part of its history, as `git clone --depth` leaves it."""
    return _git(folder, "rev-parse", "--is-shallow-repository") == "true"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where there is no git, no repository, no commit or no answer."""
    program = shutil.which("git")
    if program is None or not folder.is_dir():
        return None
    command = [program, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - own arguments
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
