"""Environments of their own, made with uv: for the wheel alone, and for tools that do not fit beside the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_UV = Path(sys.executable).with_name("uv")


def make_environment(folder: Path, *words: str) -> Path:
    """Make an environment and return its interpreter; without uv, or where an installation fails, skip the test.

    Args:
        folder: to make.
        words: packages to install, and options of `uv pip install`.
    """
    if not _UV.exists():
        pytest.skip(f"expected uv beside {sys.executable}, found none")
    python = folder / "bin" / "python"
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [_UV, "pip", "install", "--quiet", "--python", python, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    if done.returncode:
        pytest.skip(f"{', '.join(words)} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    subprocess.run([_UV, "pip", "check", "--quiet", "--python", python], check=True)
    return python
