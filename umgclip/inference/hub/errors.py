"""Errors of the hub's client in one line that says what to do; a token is in none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from umgclip.errors import InputError, StorageError, UmgclipError

LOGIN = "run: hf auth login, or set HF_TOKEN"
_TOKEN = re.compile(r"hf_\w{8,}|(?i:bearer\s+\S+)")
_LONGEST = 200
_UNAUTHORISED, _FORBIDDEN, _CONFLICT, _TOO_MANY, _SERVER = 401, 403, 409, 429, 500
# by the name of the client's error, the most special first
_REASONS: tuple[tuple[str, type[UmgclipError], str], ...] = (
    ("GatedRepoError", InputError, f"its authors ask for agreement first; open its page in the hub, then {LOGIN}"),
    ("RevisionNotFoundError", InputError, "expected a branch, tag or commit of it, found none by that name"),
    (
        "RepositoryNotFoundError",
        InputError,
        f"expected a repository of the hub, found none; if it is private, {LOGIN} of somebody who may use it",
    ),
    ("LocalTokenNotFoundError", InputError, f"expected a token of the hub, found none; {LOGIN}"),
    ("OfflineModeIsEnabled", StorageError, "the Hugging Face hub does not answer, or HF_HUB_OFFLINE is set"),
    (
        "LocalEntryNotFoundError",
        StorageError,
        "the Hugging Face hub does not answer, and its cache lacks this repository or revision",
    ),
)


@contextmanager
def explained(what: str, *, writing: bool = False) -> Iterator[None]:
    """Translate the errors of huggingface_hub to ours.

    Args:
        what: the repository, for the message.
        writing: something is sent, for which another right is needed.

    Raises:
        InputError: there is no such repository or revision, or the token does not allow it.
        StorageError: the hub does not answer, or refuses for a reason of its own; trying again may help.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # the latter of the client's own HTTP library

    try:
        yield
    except (HTTPError, OSError) as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        for name, kind, reason in _REASONS:
            if name in names:
                raise kind(f"{what}: {reason}") from error
        if isinstance(error, HfHubHTTPError):
            raise _of_status(what, error, writing) from error
        if isinstance(error, HTTPError | ConnectionError | TimeoutError):
            raise StorageError(f"{what}: the Hugging Face hub does not answer: {line(error)}") from error
        raise
    except ValueError as error:  # the client's, for metadata of a card that the hub refuses
        if not writing:
            raise
        raise InputError(f"{what}: {' '.join(_TOKEN.sub('***', str(error)).split())[:_LONGEST]}") from error
    except RuntimeError as error:  # the client's, around what stopped an upload
        if not writing:
            raise
        reason = line(error.__cause__ or error)
        raise StorageError(f"{what}: {line(error)} {reason}; run it again, what is there is not sent again") from error


def _of_status(what: str, error: Exception, writing: bool) -> UmgclipError:
    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    if status == _UNAUTHORISED:
        return InputError(f"{what}: the hub does not accept the token, or there is none; {LOGIN}")
    if status == _FORBIDDEN:
        need = "write to it" if writing else "read it"
        return InputError(f"{what}: the token may not {need}; {LOGIN} with a token that may")
    if status == _CONFLICT:
        return InputError(f"{what}: {line(error)}")
    if status == _TOO_MANY or status >= _SERVER:
        return StorageError(f"{what}: the hub answers with status {status}; try again later")
    return StorageError(f"{what}: the hub refuses with status {status}: {line(error)}")


def line(error: BaseException) -> str:
    """Return the first line of an error without what looks like a token."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _TOKEN.sub("***", first)[:_LONGEST]
