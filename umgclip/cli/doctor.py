"""`umgclip doctor`: is everything here that the pipeline needs, and what does it run on?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from umgclip import __version__
from umgclip.cli.datasets import SPLITS
from umgclip.errors import UmgclipError
from umgclip.manifest import read_manifest
from umgclip.params import SECTIONS, read_params, threads
from umgclip.tracking import bounded, explained, store_from_env

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "peft",
    "opencv-contrib-python-headless",
    "great-expectations",
    "mlflow",
    "dvc",
)
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
_S3_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, whether the pipeline can run with it."""

    what: str
    found: str
    good: bool = True


def examine(root: Path, params: Path) -> list[Finding]:
    """Look at everything.

    Args:
        root: the repository.
        params: the parameter file.
    """
    return [
        Finding("umgclip", __version__),
        Finding("python", f"{platform.python_version()} ({sys.executable})", sys.version_info >= (3, 11)),
        *(_package(name) for name in PACKAGES),
        Finding("cores", str(threads())),
        _device(),
        _tried("params", lambda: f"{params}: {', '.join(read_params(params))}; sections known: {len(SECTIONS)}"),
        _writable(root),
        *(_tried(f"data/{split}", partial(_dataset, root / "data" / split)) for split in SPLITS),
        _tried("MLflow", lambda: _mlflow(root)),
        Finding("S3", _s3()),
    ]


def show(findings: list[Finding]) -> None:
    """Print the findings as a table."""
    table = Table("", "checked", "found")
    for finding in findings:
        table.add_row("ok" if finding.good else "[bold red]!!", finding.what, finding.found)
    Console().print(table)


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed; `make` installs everything into .venv", good=False)


def _device() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("device", f"torch cannot be imported: {error}", good=False)
    if torch.cuda.is_available():
        bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
        return Finding("device", f"{torch.cuda.get_device_name()} {bf16} bf16")
    # older releases of torch do not tell
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    bf16 = "with" if any(abilities.get(name) for name in _CPU_BF16) else "without"
    return Finding("device", f"CPU {bf16} bf16 instructions; no GPU")


def _writable(root: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=root):
            return Finding("write access", f"{root.resolve()}")
    except OSError as error:
        return Finding("write access", f"{root.resolve()}: {error.strerror}", good=False)


def _dataset(folder: Path) -> str:
    manifest = read_manifest(folder)
    return f"{manifest.samples} samples in {len(manifest.shards)} shards"


def _mlflow(root: Path) -> str:
    store = store_from_env(root)
    database = Path(store.uri.removeprefix("sqlite:///"))
    if store.artifacts is not None and not database.exists():
        return f"{store.name} (made by the first stage)"
    with explained(store), bounded():
        experiments = store.client().search_experiments()
    return f"{store.name}, {len(experiments)} experiments"


def _s3() -> str:
    found = [name if "KEY" in name else f"{name}={os.environ[name]}" for name in _S3_VARIABLES if os.environ.get(name)]
    return ", ".join(found) or "not set up (no AWS_* variable); the embedded default needs none"


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except UmgclipError as error:
        return Finding(what, str(error), good=False)
