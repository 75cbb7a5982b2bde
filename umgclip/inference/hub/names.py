"""Names of models in the Hugging Face hub: `USER/NAME`, or `hf-hub:USER/NAME[@REVISION]` as in open_clip and timm."""

from __future__ import annotations

from typing import NamedTuple

from umgclip.errors import InputError

PREFIX = "hf-hub:"  # open_clip's and timm's


class HubName(NamedTuple):
    """A repository, and a branch, a tag or a commit of it; None: its main branch."""

    repo: str
    revision: str | None = None


def is_hub_name(source: str) -> bool:
    """Return whether a text names a model in the hub by its prefix."""
    return source.startswith(PREFIX)


def parse_hub_name(source: str, revision: str | None = None) -> HubName:
    """Read the name of a model in the hub.

    Args:
        source: `USER/NAME`, with or without `hf-hub:` before and `@REVISION` behind it.
        revision: the same as behind `@`.

    Raises:
        InputError: the hub allows no such name, or there are two revisions.
    """
    repo, at, named = source.removeprefix(PREFIX).partition("@")
    if at and not named:
        raise InputError(f"hub: expected USER/NAME@REVISION, got {source!r} without a revision")
    if named and revision is not None and named != revision:
        raise InputError(f"revision: expected one, got {named!r} in {source!r} and {revision!r}")
    require_repo(repo)
    return HubName(repo, named or revision)


def require_repo(repo: str) -> None:
    """Check that the hub allows a name, with its user or organisation.

    Raises:
        InputError: it does not; names the rule.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not isinstance(repo, str) or repo.count("/") != 1:
        raise InputError(f"hub: expected USER/NAME, such as alice/my-clip, got {str(repo)[:120]!r}")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"hub: expected USER/NAME, such as alice/my-clip: {str(error).splitlines()[0]}") from error
