"""What a worker lets an order name: which repository is cloned, which files are written into the clone.

An order is a parameter of a flow run: whoever may start runs can write one. The commit's code is trusted, as it comes
from a repository that the worker's owner has named; so no file of an order may become code or lie outside the clone.
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

from flows.dvc.workspace import git
from flows.settings import load_settings
from umgclip.errors import InputError

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
    """A git URL without the login that it may carry; the account of an ssh URL is none, but its password is."""
    return _URL_LOGIN.sub(r"\1\2", url)


def permitted_repository(repo: str) -> str:
    """The repository that an order names, as this worker knows it: with its own login, and with nothing of the order's.

    `UMGCLIP_REPOSITORIES` lists them, separated by commas; without it they are where this code comes from, the checkout
    itself, and `remote.repo` of the flow settings.

    Raises:
        InputError: it is none of them.
    """
    known = _known_repositories()
    for own in known:
        if repo.isprintable() and _plain(own) == _plain(repo):
            return own
    listed = ", ".join(sorted(map(without_login, known))) or "none"
    raise InputError(
        f"order.repo: expected a repository that this worker may clone ({REPOSITORIES}: {listed}), "
        f"got {without_login(repo)[:200]!r}"
    )


def _known_repositories() -> list[str]:
    listed = os.environ.get(REPOSITORIES, "").split(",")
    given = [name.strip() for name in listed if name.strip()]
    if given:
        return given
    settings = load_settings().remote.repo
    return [*([settings] if settings else []), *_sources(Path.cwd())]


def _sources(folder: Path) -> list[str]:
    """The repository that a folder lies in, and where it was cloned from."""
    found = []
    for words in (("remote", "get-url", "origin"), ("rev-parse", "--show-toplevel")):
        try:
            found.append(git(folder, *words))
        except InputError:
            continue
    return found


def _plain(repo: str) -> str:
    """A repository's name without what does not tell one from another."""
    name = without_login(repo.strip()).removeprefix("file://").rstrip("/").removesuffix(".git").rstrip("/")
    return os.path.realpath(name) if name.startswith("/") else name


def check_remote(given: str, own: str | None) -> None:
    """Raise unless results come from and go where this worker's own settings say, if they do.

    Raises:
        InputError: they would not.
    """
    if own is not None and given.rstrip("/") != own.rstrip("/"):
        raise InputError(
            f"order.remote_url: expected this worker's own (UMGCLIP_REMOTE_URL: {own}), got {given[:200]!r}"
        )


def checked_files(root: Path, files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The files of an order that may be written into a clone.

    Args:
        root: the clone, as the commit has it.
        files: path in the clone: text.

    Returns:
        `dvc.lock` and `.dvc` files of the commit, with other content of the same outputs; and the rest, which
        `check_kept` judges once the graph is known.

    Raises:
        InputError: one may not be written; names it.
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
    """Raise unless the rest of an order's files are inputs of its stages that git keeps.

    Raises:
        InputError: one is not.
    """
    for name in set(names).difference(known):
        raise _refused(name, f"{LOCK}, a .dvc file or an input of the stage that git keeps", "another file")


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
        raise _refused(name, "paths inside the clone", "one that a link leads away")


def _check_lock(text: str) -> None:
    content = _mapping(LOCK, text)
    if not isinstance(content.get("stages", {}), dict):
        raise _refused(LOCK, "stages by name", f"{content['stages']!r}"[:100])


def _check_pointer(path: Path, name: str, text: str) -> None:
    """The same outputs as in the commit: a pointer to another place could put files where code lies."""
    if not path.is_file():
        raise _refused(name, "a .dvc file that the commit has", "another one; commit it and push")
    before = path.read_text(encoding="utf-8")
    if text == before:
        return
    ours, theirs = _mapping(name, before), _mapping(name, text)
    if {**ours, "outs": None} != {**theirs, "outs": None}:
        raise _refused(name, "the commit's own file but for the content of its outputs", "other keys")
    if _outputs(name, ours) != _outputs(name, theirs):
        raise _refused(name, "the outputs of the commit", "others")


def _outputs(name: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outputs without what says which content they have."""
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
    """An alias can stand for a list of aliases, and so on: a small text for a large thing; so can brackets alone."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent) or depth > _DEEPEST:
            raise _refused(name, f"YAML without aliases, at most {_DEEPEST} levels deep", "another one")
