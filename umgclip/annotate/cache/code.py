"""Digests of the source files that a module's results depend on."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from umgclip.provenance import DESCRIBING, sources

_ROOT = Path(__file__).parents[3]


@functools.cache
def code_digest(module: str) -> str:
    """Hex SHA-256 over a module of this package and all of the package that it imports."""
    seen = sources(_ROOT, module, (*DESCRIBING, "io"))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name} {len(seen[name])}\n".encode())
        digest.update(seen[name])
    return digest.hexdigest()
