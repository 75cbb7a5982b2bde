"""Run DVC with a check that a folder's listing cannot make it write outside that folder.

DVC's cache stores a folder as a listing of paths, and DVC joins them to the folder unchecked, even
`../.git/hooks/post-checkout`. Listings come from a remote, by hashes that an order names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dvc.exceptions import DvcException


def guard() -> None:
    """Make DVC in this process refuse listings with paths outside their folder."""
    from dvc_data.hashfile.tree import Tree

    read = Tree.from_list

    def read_checked(lst: Sequence[Mapping[str, Any]], hash_name: str | None = None) -> Tree:
        for entry in lst:
            check(entry.get(Tree.PARAM_RELPATH))
        return read(lst, hash_name)

    Tree.from_list = read_checked  # type: ignore[method-assign]


def check(path: object) -> None:
    """Check that a path of a listing is inside its folder.

    Raises:
        DvcException: it is outside, or not a valid path.
    """
    parts = path.split("/") if isinstance(path, str) else []
    if not parts or any(part in ("", ".", "..") or "\x00" in part or "\\" in part for part in parts):
        raise DvcException(f"a folder's listing: expected paths inside the folder, got {path!r}"[:300])


def main() -> int:
    """Run the `dvc` command with the check, and return its exit code."""
    from dvc.cli import main as dvc

    guard()
    return int(dvc(sys.argv[1:]))
