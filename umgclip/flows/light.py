"""Provide Prefect's `flow`, or a replacement that avoids importing Prefect (one second) if no server is configured."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip import extras

# files of the working directory that Prefect reads, and the text that marks its settings in them
_FILES = {".env": "prefect_", "prefect.toml": "", "pyproject.toml": "[tool.prefect"}


def prefect_at_work(environment: dict[str, str] | None = None, folder: Path | None = None) -> bool:
    """Return whether Prefect is imported or a variable, a profile or a settings file could name a server.

    Args:
        environment: environment variables; None: those of this process.
        folder: folder with settings files; None: the working directory.
    """
    variables = dict(os.environ) if environment is None else environment
    folder = Path.cwd() if folder is None else folder
    home = Path(variables.get("PREFECT_HOME") or Path(variables.get("HOME") or Path.home()) / ".prefect")
    profiles = Path(variables.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    return (
        "prefect" in sys.modules
        or any(variables.get(name) for name in ("PREFECT_API_URL", "PREFECT_PROFILE"))
        or _says(profiles.expanduser(), "prefect_api_url")
        or any(_says(folder / name, word) for name, word in _FILES.items())
    )


def _says(path: Path, word: str) -> bool:
    return path.is_file() and word in path.read_text(encoding="utf-8", errors="replace").lower()


class PlainFlow:
    """A flow that runs without Prefect; `fn` is its function."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        functools.update_wrapper(self, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - those of the function
        """Call the function of the flow and return its result."""
        return self.fn(*args, **kwargs)


def _plain(**_settings: Any) -> Callable[[Callable[..., Any]], PlainFlow]:  # noqa: ANN401 - as Prefect has them
    return PlainFlow


if TYPE_CHECKING or prefect_at_work():
    with extras.needed_by("umgclip.flows"):
        from prefect import flow
else:
    flow = _plain
