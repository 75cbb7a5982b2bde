"""Check an order before a worker executes it: the repository to clone and the files to write into the clone.

An order is a parameter of a flow run: anyone who may start runs can write one. The commit's code is trusted, because
it comes from a repository that the worker's owner has permitted. Therefore no file of an order may become code or be
written outside the clone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from umgclip.errors import InputError
from umgclip.flows.dvc.workspace import git
from umgclip.flows.settings import load_settings

REPOSITORIES = "UMGCLIP_REPOSITORIES"
LOCK = "dvc.lock"
_URL_LOGIN = re.compile(r"^(https?://)[^/]*@|^(ssh://[^/:@]*):[^/]*(?=@)", re.IGNORECASE)
_PART = re.compile(r"[^\x00-\x1f\x7f\\/:]{1,255}")
_HIDDEN = re.compile(r"\.(git|dvc)([ .].*)?|git~\d+|dvc~\d+", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
_CONTENT = {"md5": str, "hash": str, "size": int, "nfiles": int, "isexec": bool}
_MOST_CHARACTERS = 2**22
_DEEPEST = 16


def without_login(url: str) -> str:
    """Return a git URL without its login; the account of an ssh URL is kept, but not its password."""
    return _URL_LOGIN.sub(r"\1\2", url)


def permitted_repository(repo: str) -> str:
    """Return the permitted repository that an order names, in the worker's own spelling and with the worker's login.

    `UMGCLIP_REPOSITORIES` lists the permitted ones, separated by commas. Without it they are `remote.repo` of the flow
    settings, the origin of this code and its checkout.

    Raises:
        InputError: the repository is not permitted.
    """
    known = _known_repositories()
    for permitted in known:
        if repo.isprintable() and _plain(permitted) == _plain(repo):
            return permitted
    listed = ", ".join(sorted(map(without_login, known))) or "none"
    raise InputError(
        f"order.repo: expected a repository that this worker may clone ({REPOSITORIES}: {listed}), "
        f"got {without_login(repo)[:200]!r}; permit it there or change the order"
    )


def _known_repositories() -> list[str]:
    listed = os.environ.get(REPOSITORIES, "").split(",")
    given = [name.strip() for name in listed if name.strip()]
    if given:
        return given
    settings = load_settings().remote.repo
    return [*([settings] if settings else []), *_sources(Path.cwd())]


def _sources(folder: Path) -> list[str]:
    """Return the origin of the repository that contains a folder, and the repository itself."""
    sources = []
    for words in (("remote", "get-url", "origin"), ("rev-parse", "--show-toplevel")):
        try:
            sources.append(git(folder, *words))
        except InputError:
            continue
    return sources


def _plain(repo: str) -> str:
    """Return a normalized repository name, without login, trailing slash and `.git`."""
    name = without_login(repo.strip()).removeprefix("file://").rstrip("/").removesuffix(".git").rstrip("/")
    return os.path.realpath(name) if name.startswith("/") else name


def check_remote(given: str, expected: str | None) -> None:
    """Check that an order's remote is the one in this worker's settings, if they name one.

    Raises:
        InputError: it is a different remote.
    """
    if expected is not None and given.rstrip("/") != expected.rstrip("/"):
        raise InputError(
            f"order.remote_url: expected this worker's remote (UMGCLIP_REMOTE_URL: {expected}), got {given[:200]!r}"
        )


def checked_files(root: Path, files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Check the files of an order, and return those that may be written into a clone.

    Args:
        root: the clone in the state of the commit.
        files: file contents by path in the clone.

    Returns:
        `dvc.lock` and `.dvc` files of the commit, with other content of the same outputs; and the other files, which
        `check_kept` checks once the graph is known.

    Raises:
        InputError: a file may not be written; names it.
    """
    pointers, rest = {}, {}
    for name, text in files.items():
        _check_path(root, name)
        if len(text) > _MOST_CHARACTERS:
            raise _refused(name, f"at most {_MOST_CHARACTERS} characters", f"{len(text)}")
        if name == LOCK:
            _check_lock(text)
        elif name.endswith(".dvc"):
            _check_pointer(root / name, name, text)
        else:
            rest[name] = text
            continue
        pointers[name] = text
    return pointers, rest


def check_kept(names: Iterable[str], known: Iterable[str]) -> None:
    """Check that the other files of an order are inputs of its stages that git tracks.

    Raises:
        InputError: a file is not such an input.
    """
    for name in set(names).difference(known):
        raise _refused(name, f"{LOCK}, a .dvc file or an input of the stage that git tracks", "another file")


def _refused(name: str, expected: str, got: str) -> InputError:
    return InputError(f"order.files: {name[:200]!r}: expected {expected}, got {got}")


def _check_path(root: Path, name: str) -> None:
    parts = name.split("/")
    whole = str(PurePosixPath(name)) == name and not PurePosixPath(name).is_absolute()
    if not whole or any(part in ("", ".", "..") or not _PART.fullmatch(part) for part in parts):
        raise _refused(name, "paths inside the clone", "none")
    if any(_HIDDEN.fullmatch(part) for part in parts):
        raise _refused(name, "a path outside .git and .dvc", "one inside")
    home = root.resolve()
    if (root / name).resolve() != home / name:
        raise _refused(name, "paths inside the clone", "one that a link leads outside")


def _check_lock(text: str) -> None:
    content = _mapping(LOCK, text)
    if not isinstance(content.get("stages", {}), dict):
        raise _refused(LOCK, "stages by name", f"{content['stages']!r}"[:100])


def _check_pointer(path: Path, name: str, text: str) -> None:
    """Check that a `.dvc` file has the outputs of the commit: other paths could overwrite code."""
    if not path.is_file():
        raise _refused(name, "a .dvc file that the commit has", "another one; commit and push it")
    before = path.read_text(encoding="utf-8")
    if text == before:
        return
    ours, theirs = _mapping(name, before), _mapping(name, text)
    if {**ours, "outs": None} != {**theirs, "outs": None}:
        raise _refused(name, "the commit's file, except for the content of its outputs", "other keys")
    if _outputs(name, ours) != _outputs(name, theirs):
        raise _refused(name, "the outputs of the commit", "others")


def _outputs(name: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs without the fields that describe their content."""
    outs = content.get("outs", [])
    if not isinstance(outs, list) or not all(isinstance(out, dict) for out in outs):
        raise _refused(name, "a list of outputs", f"{outs!r}"[:100])
    for out in outs:
        for key, kind in _CONTENT.items():
            if key in out and type(out[key]) is not kind:
                raise _refused(name, f"outs.{key} to be of type {kind.__name__}", f"{out[key]!r}"[:100])
        if "md5" in out and not _HASH.fullmatch(out["md5"]):
            raise _refused(name, "outs.md5 to be a hash", f"{out['md5']!r}"[:100])
    return [{key: value for key, value in out.items() if key not in _CONTENT} for out in outs]


def _mapping(name: str, text: str) -> dict[str, Any]:
    try:
        _check_events(name, text)
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise _refused(name, "YAML", f"{error}".splitlines()[0][:100]) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise _refused(name, "a mapping", f"{content!r}"[:100])
    return content


def _check_events(name: str, text: str) -> None:
    """Check that a text has no YAML aliases or deep nesting, with which a small text can expand to a huge value."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent) or depth > _DEEPEST:
            raise _refused(name, f"YAML without aliases, at most {_DEEPEST} levels deep", "another one")
