"""DVC that writes no file outside the folder that a listing is of.

A folder in DVC's cache is a listing of paths. DVC joins them to the folder as they are, `../.git/hooks/post-checkout`
too, and listings come from a remote, by hashes that an order names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dvc.exceptions import DvcException


def guard() -> None:
    """Have this process's DVC refuse listings that lead away."""
    from dvc_data.hashfile.tree import Tree

    read = Tree.from_list

    def read_checked(lst: Sequence[Mapping[str, Any]], hash_name: str | None = None) -> Tree:
        for entry in lst:
            check(entry.get(Tree.PARAM_RELPATH))
        return read(lst, hash_name)

    Tree.from_list = read_checked  # type: ignore[method-assign]


def check(path: object) -> None:
    """Raise unless a path of a listing lies inside its folder.

    Raises:
        DvcException: it does not, or is none.
    """
    parts = path.split("/") if isinstance(path, str) else []
    if not parts or any(part in ("", ".", "..") or "\x00" in part or "\\" in part for part in parts):
        raise DvcException(f"a folder's listing: expected paths inside the folder, got {path!r}"[:300])


def main() -> int:
    """The `dvc` command, guarded."""
    from dvc.cli import main as dvc

    guard()
    return int(dvc(sys.argv[1:]))
