"""Pushing of a model to the hub, in one commit, by huggingface_hub's own client.

A repository that another tool filled is not written over without being asked. Files of an earlier push that are no
longer part of the model are removed in the same commit. Large files that reached the hub before a push was interrupted
are not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import InputError
from umgclip.inference.hub.card import MARK, README
from umgclip.inference.hub.errors import LOGIN, explained
from umgclip.inference.hub.names import require_repo
from umgclip.inference.hub.origin import ORIGIN
from umgclip.model.clip.layout import CONFIG, TOKENIZER_FILES, USAGE, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi
else:  # imported where it is used
    HfApi = Any

# what a push of ours may have left
_OURS = (
    CONFIG, WEIGHTS, USAGE, ORIGIN, *TOKENIZER_FILES, "config.json", "model.safetensors", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
_NOT_OURS = (".gitattributes", README, "LICENSE", "LICENSE.txt", "LICENSE.md")  # what the hub's page makes
_SHOWN = 4


@dataclass(frozen=True)
class Destination:
    """The repository and branch that a model is pushed to.

    Attributes:
        repo: `USER/NAME`.
        private: whether a repository that is made is private; None: as the hub does by default, which is public.
        revision: the branch, made from the main one if it is missing; None: the main branch.
        message: of the commit.
        token: of the hub; None: the one that `hf auth login` or `HF_TOKEN` set.
        force: write into a repository that another tool filled.
    """

    repo: str
    private: bool | None = None
    revision: str | None = None
    message: str = "Push model with umgclip"
    token: str | bool | None = None
    force: bool = False


@dataclass(frozen=True)
class Pushed:
    """The commit of a push, and the changes beside the new files.

    Attributes:
        url: of the commit, or of the repository where nothing had changed.
        commit: its hash.
        removed: files of an earlier push that are gone.
        kept_card: README.md was left as somebody wrote it.
    """

    url: str
    commit: str
    removed: tuple[str, ...] = ()
    kept_card: bool = False


def require_destination(destination: Destination) -> None:
    """Check what can be checked without the hub: the name, and that there is a token.

    Raises:
        InputError: the hub allows no such name, or there is no token.
    """
    require_repo(destination.repo)
    from huggingface_hub import get_token

    if destination.token is False or (destination.token in (None, True) and get_token() is None):
        raise InputError(f"hf-hub:{destination.repo}: expected a token of the hub that may write, found none; {LOGIN}")


def push_folder(folder: Path, destination: Destination) -> Pushed:
    """Push the files of a folder in one commit; the repository is made if it is missing.

    Args:
        folder: as `umgclip.inference.hub.repository.write_repository` writes it.
        destination: where to.

    Raises:
        InputError: no such name, no token or no right, or a repository that another tool filled.
        StorageError: the hub does not answer or refuses; running again goes on where it stopped.
    """
    require_destination(destination)
    from huggingface_hub import HfApi

    from umgclip.model.clip.pretrained.hub import quick_without_hub

    repo, what = destination.repo, f"hf-hub:{destination.repo}"
    api = HfApi(token=destination.token, library_name="umgclip")
    with quick_without_hub(), explained(what, writing=True):
        repo = api.create_repo(repo, private=destination.private, exist_ok=True).repo_id
        if destination.revision is not None:
            api.create_branch(repo, branch=destination.revision, exist_ok=True)
        there = api.list_repo_files(repo, revision=destination.revision)
        _require_ours(there, what, force=destination.force)
        kept_card = README in there and _is_edited(api, destination, repo)
        here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        removed = tuple(sorted(name for name in there if name in _OURS and name not in here and ORIGIN in there))
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=destination.revision,
            commit_message=destination.message,
            ignore_patterns=[README] if kept_card else None,
            delete_patterns=list(removed) or None,
        )
    return Pushed(str(done.commit_url), str(done.oid), removed, kept_card)


def size_of(folder: Path) -> Mapping[str, int]:
    """Return the bytes of each file of a folder by its name, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _require_ours(there: list[str], what: str, *, force: bool) -> None:
    others = [name for name in there if name not in _NOT_OURS]
    if others and ORIGIN not in there and not force:
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if others[_SHOWN:] else "")
        raise InputError(
            f"{what}: expected a new repository or one that umgclip filled, got one with {shown}; choose another name, "
            "or force it (--force, force=True), which adds files to it"
        )


def _is_edited(api: HfApi, destination: Destination, repo: str) -> bool:
    """Return whether somebody took the line out of the card by which it is known as ours."""
    path = api.hf_hub_download(repo, README, revision=destination.revision)
    return MARK not in Path(path).read_text(encoding="utf-8", errors="replace")
