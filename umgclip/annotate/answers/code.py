"""Digests of the source files that a module's results depend on."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[3]
# what describes or moves values: a change there changes no answer
_PLUMBING = (
    "errors", "section", "annotator_params", "ray_params", "segment_params", "params", "records", "manifest", "summary",
    "provenance", "tracking", "io",
)  # fmt: skip


@functools.cache
def code_digest(module: str) -> str:
    """Hex SHA-256 over a module of this package and all of the package that it imports."""
    seen: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or path is None:
            continue
        seen[name] = path.read_bytes()
        waiting.extend(_imported(seen[name]))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name} {len(seen[name])}\n".encode())
        digest.update(seen[name])
    return digest.hexdigest()


def _file(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _imported(source: bytes) -> Iterator[str]:
    package = __name__.partition(".")[0]
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] not in _PLUMBING:
                yield name
