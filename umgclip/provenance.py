"""Provenance of code: the commit, whether the working tree differs from it, and a digest of source files."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

WRITTEN_BY_RUNS = ("dvc.lock", "metrics")
_TIMEOUT_S = 20
_CLASS_AS_TEXT = re.compile(r"(\w+(?:\.\w+)+):\w+")
# parts of the package that describe values: a change there changes no result
DESCRIBING = ("errors", "extras", "params", "provenance", "records", "stage", "suggestions", "tracking")
# those, parts that move values between files and memory, the end of processes, and the look of pages: DVC does not
# follow them, digests of code leave them out
PLUMBING = (*DESCRIBING, "io", "literals", "pages", "process_end", "safe_text")


@dataclass(frozen=True)
class GitState:
    """`commit` is None outside a repository; `dirty`: a tracked file differs from the commit."""

    commit: str | None
    dirty: bool


def git_state(folder: Path) -> GitState:
    """Return the commit that `folder` has checked out, and whether tracked files differ from it.

    What a run itself rewrites (`dvc.lock`, `metrics/`) does not count as a change: it differs during every run.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return GitState(None, dirty=False)
    excluded = [f":(top,exclude){path}" for path in WRITTEN_BY_RUNS]
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *excluded)
    return GitState(commit, dirty=bool(changed))


def is_shallow(folder: Path) -> bool:
    """Check whether the repository lacks a part of its history, as after `git clone --depth`."""
    return _git(folder, "rev-parse", "--is-shallow-repository") == "true"


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git; return its output, or None without git, a repository, a commit or an answer."""
    program = shutil.which("git")
    if program is None or not folder.is_dir():
        return None
    command = [program, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - own arguments
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def code_digest(module: str) -> str:
    """Return the hex SHA-256 of the source of a module and of all of this package that it imports, plumbing aside.

    Args:
        module: as in `umgclip.train.stage`.
    """
    seen = sources(Path(__file__).parents[1], module, PLUMBING)
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name} {len(seen[name])}\n".encode())
        digest.update(seen[name])
    return digest.hexdigest()


def sources(root: Path, module: str, without: Collection[str]) -> dict[str, bytes]:
    """Return the sources of a module and of all that it imports from its package, by module, also inside functions.

    A class named as text, as in `"umgclip.annotate.models.grabcut:GrabCut"`, counts as imported.

    Args:
        root: folder of the package.
        module: as in `umgclip.inference.folder`.
        without: parts of the package that are left out, as in `io`.
    """
    modules: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if name in modules or path is None:
            continue
        modules[name] = path.read_bytes()
        for imported in _imported(modules[name]):
            parts = imported.split(".")
            if parts[0] == module.partition(".")[0] and len(parts) > 1 and parts[1] not in without:
                waiting.append(imported)
    return modules


def _file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.cache
def _imported(source: bytes) -> tuple[str, ...]:
    """Return the names of what a source imports; digests of several modules share most of their sources."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and (named := _CLASS_AS_TEXT.fullmatch(str(node.value))):
            names.append(named[1])
    return tuple(names)


def same_code(one: bytes, other: bytes) -> bool:
    """Check whether two sources are the same apart from comments, docstrings and layout."""
    return one == other or _bare(one) == _bare(other)


def _bare(source: bytes) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.Expr(ast.Constant(None))
    return ast.dump(tree)
