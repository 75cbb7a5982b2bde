"""Fetching of a model from the hub: the files that are needed and no others, none of them a pickle or a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import InputError, StorageError
from umgclip.inference.hub.errors import explained
from umgclip.inference.hub.names import HubName, parse_hub_name
from umgclip.inference.hub.origin import ORIGIN
from umgclip.io.json_file import read_object
from umgclip.model.clip.layout import CONFIG, TOKENIZER_FILES, USAGE, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi
else:  # imported where it is used
    HfApi = Any

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def fetched(
    source: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """Return a folder with the files of a model, all of one commit, in the hub's own cache.

    What is there already is not fetched again. If the hub does not answer, the cache has to have it.

    Args:
        source: `USER/NAME`, with or without `hf-hub:` before and `@REVISION` behind it.
        revision: a branch, a tag or a commit; None: the main branch.
        token: of the hub; None: the one that `hf auth login` or `HF_TOKEN` set.
        cache_dir: where the hub's files are kept; None: the hub's own place (`HF_HOME`).
        force_download: fetch them again.
        local_files_only: ask nobody.

    Raises:
        InputError: no such name, repository or revision, no right to read it, or no model of open_clip's in it.
        StorageError: the hub does not answer, and the files are not in the cache.
    """
    from huggingface_hub import HfApi

    from umgclip.model.clip.pretrained.hub import quick_without_hub

    name = parse_hub_name(source, revision)
    what = f"hf-hub:{name.repo}" + (f"@{name.revision}" if name.revision else "")
    api = HfApi(token=token, library_name="umgclip")
    options: dict[str, Any] = {
        "cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only,
    }  # fmt: skip
    with quick_without_hub(), explained(what):
        config = Path(_config(api, name, what, options))
        needed = [CONFIG, WEIGHTS, USAGE, ORIGIN, *(TOKENIZER_FILES if _needs_tokenizer(config) else ())]
        folder = Path(api.snapshot_download(name.repo, revision=config.parent.name, allow_patterns=needed, **options))
        if not (folder / WEIGHTS).is_file():
            raise _without_weights(api, name, what, local_files_only=local_files_only)
    return folder


def _config(api: HfApi, name: HubName, what: str, options: Mapping[str, Any]) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    try:
        return str(api.hf_hub_download(name.repo, CONFIG, revision=name.revision, **options))
    except LocalEntryNotFoundError:
        raise
    except RemoteEntryNotFoundError as error:
        raise InputError(
            f"{what}: expected {CONFIG} in it, as open_clip and umgclip push it, found none{_listed(api, name)}"
        ) from error


def _needs_tokenizer(config: Path) -> bool:
    model_cfg = read_object(config).get("model_cfg")
    text_cfg = model_cfg.get("text_cfg") if isinstance(model_cfg, dict) else None
    return isinstance(text_cfg, dict) and bool(text_cfg.get("hf_tokenizer_name"))


def _without_weights(api: HfApi, name: HubName, what: str, *, local_files_only: bool) -> Exception:
    if local_files_only:
        return StorageError(f"{what}: expected {WEIGHTS} in the cache, found none, and local_files_only forbids to ask")
    return InputError(f"{what}: expected {WEIGHTS} in it, found none{_listed(api, name)}")


def _listed(api: HfApi, name: HubName) -> str:
    """Say what a repository holds instead."""
    with explained(name.repo):
        files = api.list_repo_files(name.repo, revision=name.revision)
    if pickles := [file for file in files if file.endswith(_PICKLES)]:
        return f", but {pickles[0]}, a pickle, which could hold a program and is not read"
    if "config.json" in files:
        return (
            "; it holds a model of transformers: download it (hf download "
            f"{name.repo} --local-dir FOLDER), set base.pretrained to the folder and run: umgclip base"
        )
    return f"; it holds {', '.join(files[:5]) or 'nothing'}"
