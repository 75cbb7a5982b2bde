"""Checks of `umgclip doctor`: software, machine and services that the pipeline needs, with advice for each problem."""

from __future__ import annotations

import base64
import http.client
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from umgclip import __version__, extras
from umgclip.cli import terminal
from umgclip.cli.options import SPLITS
from umgclip.cli.terminal import Sheet, plain
from umgclip.errors import InputError, TrackingError, UmgclipError
from umgclip.io.manifest import read_manifest
from umgclip.io.storage import Storage, locate
from umgclip.params import SECTIONS, read_params, threads
from umgclip.provenance import git_state, is_shallow
from umgclip.safe_text import without_secrets
from umgclip.tracking import bounded, explained, store_from_env

PACKAGES = (
    "open_clip_torch",
    "peft",
    "opencv-contrib-python-headless",
    "great-expectations",
    "mlflow",
    "dvc",
)
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
_GIB = 1 << 30
_ENOUGH_MEMORY_GIB, _ENOUGH_DISK_GIB = 4, 5
_HTTP_S = 5
_PREFECT_LOGIN = "PREFECT_API_AUTH_STRING"
_URLS = ("UMGCLIP_REMOTE_URL", "UMGCLIP_RAW_PREFIX")
_S3_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID")


@dataclass(frozen=True)
class Finding:
    """One line: what was checked and the result; if the pipeline cannot run with it, `mend` says what to do."""

    what: str
    result: str
    mend: str = ""

    @property
    def good(self) -> bool:
        """True if the pipeline can run with this result."""
        return not self.mend


def examine(root: Path, params: Path) -> list[Finding]:
    """Check everything that the pipeline needs.

    Args:
        root: the repository.
        params: the parameter file.
    """
    return [
        Finding("umgclip", __version__),
        _python(),
        *_torch(),
        *(_package(name) for name in PACKAGES),
        Finding("cores", str(threads())),
        _memory(),
        _disk(root),
        _tried(
            "params",
            lambda: f"{params}: {', '.join(read_params(params))}; sections known: {len(SECTIONS)}",
            "correct the file; params.yaml of the repository has every key",
        ),
        _writable(root),
        Finding("git", _history(root)),
        *(
            _tried(f"data/{split}", partial(_dataset, root / "data" / split), "or import your own data: docs/data.md")
            for split in SPLITS
        ),
        _tried("MLflow", lambda: _mlflow(root), "start the server, or correct or unset MLFLOW_TRACKING_URI"),
        _tried("S3", _s3, "start the server, or correct AWS_ENDPOINT_URL, the keys and the bucket's name"),
        _tried("Prefect", _prefect, "start the server (`make up`), or correct or unset PREFECT_API_URL"),
    ]


def show(findings: list[Finding]) -> None:
    """Print the findings as a table."""
    table = Sheet("", "checked", "found")
    for finding in findings:
        mark = "ok" if finding.good else plain("!!", "bold red")
        table.add_row(mark, finding.what, finding.result if finding.good else f"{finding.result}\n-> {finding.mend}")
    checks = [{"checked": one.what, "result": one.result, "ok": one.good, "mend": one.mend or None} for one in findings]
    terminal.show(table, document={"ok": all(one.good for one in findings), "checks": checks})


def _python() -> Finding:
    fits = sys.version_info >= (3, 11)
    return Finding("python", f"{platform.python_version()} ({sys.executable})", "" if fits else "install 3.11 or newer")


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", '`make install`, or pip install "umgclip[pipeline]"')


def _torch() -> list[Finding]:
    """Check versions and builds of torch and torchvision, whether they fit each other, and the device."""
    try:
        import torch
    except ImportError as error:
        return [Finding("torch", f"cannot be imported: {error}", "`make install`")]
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return [Finding("torch", f"{torch.__version__}, built for {built}"), _torchvision(), _device()]


def _torchvision() -> Finding:
    """Check torchvision: its operators are compiled against one torch; with another they are missing, or crash."""
    mend = "install the torchvision that belongs to this torch (`make install`)"
    try:
        import torch
        import torchvision
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        return Finding("torchvision", f"does not fit torch: {str(error).splitlines()[0]}", mend)
    return Finding("torchvision", torchvision.__version__)


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
        memory = torch.cuda.get_device_properties(0).total_memory / _GIB
        count = torch.cuda.device_count()
        return Finding("device", f"{count} x {torch.cuda.get_device_name()}, {memory:.0f} GiB, {bf16} bf16")
    # older releases of torch cannot tell
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    bf16 = "with" if any(abilities.get(name) for name in _CPU_BF16) else "without"
    result = f"CPU {bf16} bf16 instructions"
    if not Path("/dev/nvidia0").exists():
        return Finding("device", f"{result}; no GPU")
    why = "this torch is built for the CPU" if torch.version.cuda is None else "torch cannot use it"
    mend = "install torch for CUDA" if torch.version.cuda is None else "compare the driver with torch's CUDA version"
    return Finding(
        "device", f"{result}; there is an NVIDIA GPU, but {why}", f"{mend} (pytorch.org), or continue without the GPU"
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    result = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    enough = memory.available >= _ENOUGH_MEMORY_GIB * _GIB
    return Finding("memory", result, "" if enough else f"the demo needs {_ENOUGH_MEMORY_GIB} GiB; close other programs")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    enough = free >= _ENOUGH_DISK_GIB * _GIB
    mend = "" if enough else f"the demo needs {_ENOUGH_DISK_GIB} GiB; `dvc gc -w` and `make clean` free some"
    return Finding("disk", f"{free / _GIB:.1f} GiB free at {root.resolve()}", mend)


def _writable(root: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=root):
            return Finding("write access", f"{root.resolve()}")
    except OSError as error:
        return Finding("write access", f"{root.resolve()}: {error.strerror}", "run as the owner of the folder")


def _history(root: Path) -> str:
    state = git_state(root)
    if state.commit is None:
        return "no commit: DVC, flows and the lineage in MLflow need one"
    lacks = "; a shallow clone, where sweeps and `dvc exp run --temp` are refused: git fetch --unshallow"
    return f"commit {state.commit[:12]}{lacks if is_shallow(root) else ''}"


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
    """Ask the store for the buckets that variables name; without any, return what is set."""
    settings = [
        name if "KEY" in name else f"{name}={without_secrets(os.environ[name])}"
        for name in _S3_VARIABLES
        if os.environ.get(name)
    ]
    urls = [url for name in _URLS if (url := os.environ.get(name, "").strip()).startswith("s3://")]
    for url in urls:
        next(Storage().list(locate(url)), None)
        settings.append(f"{without_secrets(url)} answers")
    return ", ".join(settings) or "not set up (no AWS_* variable); the embedded default needs none"


def _prefect() -> str:
    url = os.environ.get("PREFECT_API_URL", "").strip()
    if not url:
        return "not set up (no PREFECT_API_URL); flows run without a server"
    shown = without_secrets(url)
    try:
        parts = urlsplit(url)
        address = urlunsplit(
            (parts.scheme, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/admin/version", "", "")
        )
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"PREFECT_API_URL: expected http://HOST:PORT/api, got {shown}")
    try:
        with urllib.request.urlopen(_with_login(address), timeout=_HTTP_S):  # noqa: S310 - http, checked above
            return f"{shown} answers"
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise TrackingError(f"Prefect at {shown} does not answer: {without_secrets(str(error))}") from error
        given = "another one" if os.environ.get(_PREFECT_LOGIN) else "none"
        raise InputError(
            f"{_PREFECT_LOGIN}: expected the login of Prefect at {shown}, user:password, got {given}; "
            'eval "$(make -s env)" gives that of `make up`'
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TrackingError(f"Prefect at {shown} does not answer: {without_secrets(str(error))}") from error


def _with_login(address: str) -> urllib.request.Request:
    login = os.environ.get(_PREFECT_LOGIN, "")
    encoded = base64.b64encode(login.encode()).decode()
    return urllib.request.Request(address, headers={"Authorization": f"Basic {encoded}"} if login else {})  # noqa: S310


def _tried(what: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        with extras.explained(what):
            return Finding(what, look())
    except UmgclipError as error:
        return Finding(what, without_secrets(str(error)), mend)
