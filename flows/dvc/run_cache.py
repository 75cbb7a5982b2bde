"""DVC's run-cache one stage at a time, through DVC's own Python interface.

DVC moves the whole run-cache with every `push --run-cache`, `pull --run-cache` and `repro --pull`; here single entries
move. And where `dvc.lock` names outputs that nobody has, DVC computes the stage again without a look into the
run-cache; here an earlier result of the same inputs is found and written into `dvc.lock`, from which DVC restores it.

An entry is the file `runs/KE/KEY/VALUE` of a cache or remote: KEY is the hash of command and inputs, VALUE that of the
outputs too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.exceptions import CollectCacheError
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.stage import Stage
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_objects.fs.generic import copy
from dvc_objects.fs.local import localfs

Entry = Mapping[str, Any]
_TRIALS = "trials"


class NotTransferred(Exception):
    """Files that could not be moved."""


def recall(repo: Repo, name: str, *, shared: bool) -> bool:
    """Find a stage's result for its present inputs, and have the cache hold it and `dvc.lock` name it.

    The local cache comes first, then the remote; of several results one that is whole, the newest first.

    Args:
        repo: where.
        name: of the stage.
        shared: look into the default remote too.

    Returns:
        False: it has to be computed.
    """
    with lock_repo(repo):
        (stage,) = repo.stage.collect(name)
        if stage.always_changed:
            return False
        if not stage.changed():
            return True
        if shared:
            _pull_inputs(repo, stage)
        if not all(dep.exists for dep in stage.deps):
            return False
        locked = _locked(stage)
        stage.save_deps()
        if not _can_hash(stage):
            return False
        for entry in _results(repo, stage, locked, shared=shared):
            if repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs_cached():
                if entry is not locked:
                    StageLoader.fill_from_lock(stage, entry)
                    stage.cmd_changed = False
                    stage.dump(update_pipeline=False)
                return True
    return False


def unchanged(repo: Repo, names: Iterable[str]) -> list[str]:
    """The leading stages that are up to date; ends at one whose files another process is at work on."""
    found = []
    with suppress(LockError), lock_repo(repo):
        for name in names:
            (stage,) = repo.stage.collect(name)
            if stage.changed():
                break
            found.append(name)
    return found


def share(repo: Repo, names: Iterable[str], *, push: bool) -> None:
    """Have what `.dvc` files track here, from the default remote if need be.

    Args:
        repo: where.
        names: of the files.
        push: have the remote hold it too.
    """
    names = list(names)
    with lock_repo(repo):
        stages = [stage for name in names for stage in repo.stage.collect(name)]
        lacking = [stage.addressing for stage in stages if stage.changed_outs() or not stage.outs_cached()]
        if lacking:
            repo.pull(lacking)
        if push and names:
            repo.push(names)


def remember(repo: Repo) -> None:
    """Have the run-cache know every stage that is up to date, but for those that another process is at work on.

    DVC leaves out stages with outputs that git keeps and that are neither metrics nor plots.
    """
    with suppress(LockError), lock_repo(repo):
        for stage in repo.index.stages:
            with suppress(LockError):
                if stage.cmd and not stage.always_changed and not stage.changed():
                    repo.stage_cache.save(stage)


def upload(repo: Repo, names: Iterable[str], trial: str | None = None) -> None:
    """Have the default remote hold the outputs of stages, those that git keeps too, and then their entries.

    Args:
        repo: where.
        names: of the stages; those without a result are left out.
        trial: write a list of the entries there under this name, for `download`.

    Raises:
        NotTransferred: some files failed.
    """
    with lock_repo(repo):
        stages = [stage for name in names for stage in repo.stage.collect(name)]
        stages = [stage for stage in stages if not stage.always_changed and stage.outs and not stage.changed()]
        entries = []
        for stage in stages:
            repo.stage_cache.save(stage)  # outputs that git keeps get into the cache
            _push_outputs(repo, stage)
            if _can_hash(stage):
                entries += _push_entries(repo, _get_stage_hash(stage))
        if trial:
            fs, path = _trial(repo, trial)
            fs.makedirs(fs.parent(path), exist_ok=True)
            fs.pipe_file(path, json.dumps(entries).encode())


def download(repo: Repo, trial: str) -> None:
    """Have the local cache hold the results that `upload` listed under a name.

    Raises:
        NotTransferred: there is no such list.
    """
    with lock_repo(repo):
        fs, path = _trial(repo, trial)
        if not fs.exists(path):
            raise NotTransferred(f"{trial}: expected a list of its results in the remote at {path}, found none")
        for key in dict.fromkeys(json.loads(fs.cat_file(path))):
            for entry in _fetch_entries(repo, key):
                _pull(repo, repo.stage_cache._create_stage(entry))
        fs.remove(path)


def _results(repo: Repo, stage: Stage, locked: Entry | None, *, shared: bool) -> Iterator[Entry]:
    """Results for the inputs that `stage` has now; their files may not be here."""
    key = _get_stage_hash(stage)
    if locked:
        yield locked
    yield from _entries(repo, key)
    if not shared:
        return
    if locked:
        _pull(repo, repo.stage_cache._create_stage(locked, wdir=stage.wdir))
        yield locked
    for entry in _fetch_entries(repo, key):
        _pull(repo, repo.stage_cache._create_stage(entry, wdir=stage.wdir))
        yield entry


def _locked(stage: Stage) -> Entry | None:
    """What `dvc.lock` says of a stage, if that is about its present command and inputs."""
    whole = all(out.hash_info for out in stage.outs)
    if stage.changed_stage() or not whole or not stage.deps_cached():
        return None
    entry: Entry = to_single_stage_lockfile(stage)
    return entry


def _entries(repo: Repo, key: str) -> list[Entry]:
    """Those of a key in the local cache, the newest first."""
    folder = Path(repo.stage_cache._get_cache_dir(key))
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    loaded = (repo.stage_cache._load_cache(key, path.name) for path in found)
    return [entry for entry in loaded if entry]


def _remote(repo: Repo, key: str) -> tuple[Any, str, list[str]]:
    """The remote's file system, the folder of a key there, and the names in it."""
    odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    folder = odb.fs.join(odb.path, "runs", key[:2], key)
    return odb.fs, folder, [odb.fs.name(path) for path in odb.fs.find(folder)] if odb.fs.exists(folder) else []


def _fetch_entries(repo: Repo, key: str) -> list[Entry]:
    """Copy a key's entries that are not here; gives all of that key."""
    fs, folder, names = _remote(repo, key)
    own = Path(repo.stage_cache._get_cache_dir(key))
    wanted = [name for name in names if not (own / name).exists()]
    if wanted:
        repo.cache.legacy.makedirs(str(own))
        copy(fs, [fs.join(folder, name) for name in wanted], localfs, [str(own / name) for name in wanted])
    return _entries(repo, key)


def _push_entries(repo: Repo, key: str) -> list[str]:
    """Copy a key's entries that the remote does not have; gives the key if it has any."""
    own = Path(repo.stage_cache._get_cache_dir(key))
    here = sorted(path.name for path in own.iterdir()) if own.is_dir() else []
    fs, folder, there = _remote(repo, key)
    wanted = [name for name in here if name not in there]
    if wanted:
        fs.makedirs(folder, exist_ok=True)
        copy(localfs, [str(own / name) for name in wanted], fs, [fs.join(folder, name) for name in wanted])
    return [key] if here else []


def _push_outputs(repo: Repo, stage: Stage) -> None:
    wanted = set().union(*stage.get_used_objs().values())
    wanted |= {out.hash_info for out in stage.outs if not out.use_cache and out.hash_info}
    failed = repo.cloud.push(wanted).failed if wanted else ()
    if failed:
        raise NotTransferred(f"{stage.addressing}: {len(failed)} of {len(wanted)} files failed to upload")


def _pull_inputs(repo: Repo, stage: Stage) -> None:
    """What a stage reads and is not in the workspace, as `dvc repro --pull` gets it."""
    missing = [dep.def_path for dep in stage.deps if dep.is_in_repo and not dep.exists]
    if missing:
        repo.pull(missing, allow_missing=True)


def _pull(repo: Repo, stage: Stage) -> None:
    """Download the outputs of a result; what the remote does not have stays missing."""
    try:
        for objects in stage.get_used_objs().values():
            repo.cloud.pull(objects)
    except CollectCacheError:
        return


def _trial(repo: Repo, name: str) -> tuple[Any, str]:
    odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return odb.fs, odb.fs.join(odb.path, _TRIALS, f"{name}.json")
