"""Access DVC's run-cache one stage at a time, through DVC's Python interface.

DVC transfers the whole run-cache with every `push --run-cache`, `pull --run-cache` and `repro --pull`; this module
transfers single entries. If `dvc.lock` names outputs that no cache has, DVC computes the stage again without looking
into the run-cache; this module finds an earlier result for the same inputs and writes it into `dvc.lock`, from which
DVC restores it.

An entry is the file `runs/KE/KEY/VALUE` of a cache or remote: KEY is the hash of command and inputs, VALUE the
hash that includes the outputs.
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
    """Some files could not be transferred to or from the remote."""


def recall(repo: Repo, name: str, *, shared: bool) -> bool:
    """Find a stage's result for its current inputs, put it into the cache and write it into `dvc.lock`.

    The local cache is searched first, then the remote. Of several results, the newest complete one is used.

    Args:
        repo: the DVC repository.
        name: name of the stage.
        shared: also search the default remote.

    Returns:
        Whether there is a result; False: the stage has to be computed.
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
    """Return the leading stages that are up to date, up to the first whose files another process has locked."""
    leading = []
    with suppress(LockError), lock_repo(repo):
        for name in names:
            (stage,) = repo.stage.collect(name)
            if stage.changed():
                break
            leading.append(name)
    return leading


def share(repo: Repo, names: Iterable[str], *, push: bool) -> None:
    """Download the data that `.dvc` files track from the default remote, if it is missing.

    Args:
        repo: the DVC repository.
        names: names of the files.
        push: also upload the data to the remote.
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
    """Add every stage that is up to date to the run-cache, except those that another process has locked.

    DVC itself leaves out stages with outputs that git tracks and that are neither metrics nor plots.
    """
    with suppress(LockError), lock_repo(repo):
        for stage in repo.index.stages:
            with suppress(LockError):
                if stage.cmd and not stage.always_changed and not stage.changed():
                    repo.stage_cache.save(stage)


def upload(repo: Repo, names: Iterable[str], trial: str | None = None) -> None:
    """Upload the outputs of stages, including those that git tracks, and then their run-cache entries.

    Args:
        repo: the DVC repository.
        names: names of the stages; those without a result are left out.
        trial: name under which to store a list of the entries in the remote, for `download`.

    Raises:
        NotTransferred: some files could not be uploaded.
    """
    with lock_repo(repo):
        stages = [stage for name in names for stage in repo.stage.collect(name)]
        stages = [stage for stage in stages if not stage.always_changed and stage.outs and not stage.changed()]
        entries = []
        for stage in stages:
            repo.stage_cache.save(stage)  # also puts outputs that git tracks into the cache
            _push_outputs(repo, stage)
            if _can_hash(stage):
                entries += _push_entries(repo, _get_stage_hash(stage))
        if trial:
            fs, path = _trial(repo, trial)
            fs.makedirs(fs.parent(path), exist_ok=True)
            fs.pipe_file(path, json.dumps(entries).encode())


def download(repo: Repo, trial: str) -> None:
    """Download the results that `upload` listed under a name into the local cache.

    Raises:
        NotTransferred: there is no such list.
    """
    with lock_repo(repo):
        fs, path = _trial(repo, trial)
        if not fs.exists(path):
            raise NotTransferred(
                f"{trial}: expected a list of its results in the remote at {path}, found none; upload it first"
            )
        for key in dict.fromkeys(json.loads(fs.cat_file(path))):
            for entry in _fetch_entries(repo, key):
                _pull(repo, repo.stage_cache._create_stage(entry))
        fs.remove(path)


def _results(repo: Repo, stage: Stage, locked: Entry | None, *, shared: bool) -> Iterator[Entry]:
    """Yield the results for the current inputs of a stage; their files may be missing."""
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
    """Return the entry of a stage in `dvc.lock` if it matches the current command and inputs, else None."""
    whole = all(out.hash_info for out in stage.outs)
    if stage.changed_stage() or not whole or not stage.deps_cached():
        return None
    entry: Entry = to_single_stage_lockfile(stage)
    return entry


def _entries(repo: Repo, key: str) -> list[Entry]:
    """Return the entries of a key in the local cache, the newest first."""
    folder = Path(repo.stage_cache._get_cache_dir(key))
    paths = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    loaded = (repo.stage_cache._load_cache(key, path.name) for path in paths)
    return [entry for entry in loaded if entry]


def _remote(repo: Repo, key: str) -> tuple[Any, str, list[str]]:
    """Return the remote's file system, the folder of a key there, and the names in that folder."""
    odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    folder = odb.fs.join(odb.path, "runs", key[:2], key)
    return odb.fs, folder, [odb.fs.name(path) for path in odb.fs.find(folder)] if odb.fs.exists(folder) else []


def _fetch_entries(repo: Repo, key: str) -> list[Entry]:
    """Download the missing entries of a key, and return all entries of the key."""
    fs, folder, names = _remote(repo, key)
    local = Path(repo.stage_cache._get_cache_dir(key))
    wanted = [name for name in names if not (local / name).exists()]
    if wanted:
        repo.cache.legacy.makedirs(str(local))
        copy(fs, [fs.join(folder, name) for name in wanted], localfs, [str(local / name) for name in wanted])
    return _entries(repo, key)


def _push_entries(repo: Repo, key: str) -> list[str]:
    """Upload the entries of a key that the remote does not have; return the key in a list if it has entries."""
    local = Path(repo.stage_cache._get_cache_dir(key))
    here = sorted(path.name for path in local.iterdir()) if local.is_dir() else []
    fs, folder, there = _remote(repo, key)
    wanted = [name for name in here if name not in there]
    if wanted:
        fs.makedirs(folder, exist_ok=True)
        copy(localfs, [str(local / name) for name in wanted], fs, [fs.join(folder, name) for name in wanted])
    return [key] if here else []


def _push_outputs(repo: Repo, stage: Stage) -> None:
    wanted = set().union(*stage.get_used_objs().values())
    wanted |= {out.hash_info for out in stage.outs if not out.use_cache and out.hash_info}
    failed = repo.cloud.push(wanted).failed if wanted else ()
    if failed:
        raise NotTransferred(f"{stage.addressing}: {len(failed)} of {len(wanted)} files failed to upload; try again")


def _pull_inputs(repo: Repo, stage: Stage) -> None:
    """Download the inputs of a stage that are missing in the workspace, as `dvc repro --pull` does."""
    missing = [dep.def_path for dep in stage.deps if dep.is_in_repo and not dep.exists]
    if missing:
        repo.pull(missing, allow_missing=True)


def _pull(repo: Repo, stage: Stage) -> None:
    """Download the outputs of a result; files that the remote does not have stay missing."""
    try:
        for objects in stage.get_used_objs().values():
            repo.cloud.pull(objects)
    except CollectCacheError:
        return


def _trial(repo: Repo, name: str) -> tuple[Any, str]:
    odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return odb.fs, odb.fs.join(odb.path, _TRIALS, f"{name}.json")
