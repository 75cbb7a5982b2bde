"""A whole import, from the request to a published dataset; an interrupted import resumes.

Finished parts wait beside the dataset's folder, or below a prefix of their own in S3. Their names depend on everything
that decides the result, so that another import never takes them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import PIL
from pydantic import ValidationError

from umgclip import __version__
from umgclip.errors import DataError, InputError, OutputError
from umgclip.io.atomic import explain_os_errors, sha256_json
from umgclip.io.crew import recruit
from umgclip.io.manifest import MANIFEST, Manifest, write_manifest
from umgclip.io.places import Folder, Place, place_at
from umgclip.params import ImportParams
from umgclip.sources.formats.catalog import KINDS
from umgclip.sources.importing import parts as work
from umgclip.sources.importing.join import OUTPUTS, ExistingDataset, FinishedImport, join_parts
from umgclip.sources.importing.parts import ImportContext, ImportPart, run_import_parts, split_parts
from umgclip.sources.importing.statistics import STATISTICS, Statistics, write_statistics
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.stage import begin

_MANIFEST_BYTES = 256 << 20
_PARTS = ".import-{}"
_OF_ONE_RUN = ("scratch", "inputs", "finish")  # folders that the next run makes again


@dataclass(frozen=True)
class Imported:
    """The result of an import: manifest, statistics and counts.

    Attributes:
        manifest: manifest of the dataset.
        statistics: statistics of the whole dataset.
        images: image files processed, including those of resumed parts.
        resumed: parts that an earlier run finished.
        parts: number of all parts.
    """

    manifest: Manifest
    statistics: Statistics
    images: int
    resumed: int
    parts: int


@dataclass(frozen=True)
class ImportCallbacks:
    """Functions that an import calls as it goes on.

    Attributes:
        start: called with the number of images, None if unknown.
        advance: called with the number of images done since the last call.
        replacing: called with a dataset that will be replaced, before any work; raise an error to keep it.
    """

    start: Callable[[int | None], None] = lambda _total: None
    advance: Callable[[int], None] = lambda _count: None
    replacing: Callable[[Manifest], None] = lambda _there: None


def run_import(
    request: Request,
    params: ImportParams,
    out: str | Path,
    *,
    append: bool = False,
    callbacks: ImportCallbacks | None = None,
    alone: bool = False,
) -> Imported:
    """Import images and annotations into the dataset `out/SPLIT`.

    Args:
        request: what to import.
        params: how to store it.
        out: a folder, or an S3 prefix, for the datasets `train` and `benchmark`.
        append: add to the existing dataset instead of replacing it.
        callbacks: called as the import goes on.
        alone: use this process if one worker is enough; an image that kills it ends the import.

    Raises:
        InputError: `out` holds other files, another import writes there, or the request does not fit the source.
        DataError: the source is missing or damaged, or no image could be imported.
        OutputError, StorageError: a folder or S3 prefix cannot be written, or S3 does not answer.
        UmgclipError: processes die repeatedly.
    """
    target = place_at(out).within(request.split)
    early_worker = nullcontext() if alone else recruit(work.__name__)
    with early_worker as early, _working_folder(target) as root, explain_os_errors(root):
        before = _before(target)
        begin("listing images and annotations")
        plan = _plan(request, root)
        callbacks = callbacks or ImportCallbacks()
        if before is not None and not append:
            callbacks.replacing(before)
        digest = plan.digest()
        base = before.digest() if before and append else None
        fingerprint = sha256_json([request.decides(), params.decisive(), digest, base, _code()])[:16]
        stem = f"{request.split}-{base[:8]}" if base else request.split
        context = _work(request, params, target, (root, fingerprint, stem))
        _forget_others(root, fingerprint)
        parts = split_parts(plan, request, params)
        done = _done(context, parts)
        has_tars = KINDS[request.kind].images_a_part is not None or plan.leading() > 0
        callbacks.start(None if has_tars else plan.size())
        callbacks.advance(sum(part.span[1] - part.span[0] for part in done))
        plan.close()
        begin("converting")
        run_import_parts(
            context, [part for part in parts if part not in done], params.workers, callbacks.advance, early=early
        )
        with ImportPlan(context.plan) as reading:
            folder = root / "finish"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            finished = join_parts(
                context, parts, reading, ExistingDataset(before, target) if before and append else None, folder
            )
            statistics = write_statistics(finished, reading)
        _publish(finished, target, before, context, parts)
    return Imported(finished.manifest, statistics, finished.counts["images"], len(done), len(parts))


def _code() -> list[str]:
    """Return the versions that decide the bytes: this package, and Pillow, which re-encodes images."""
    return [__version__, PIL.__version__]


@contextmanager
def _working_folder(target: Place) -> Iterator[Path]:
    """Open the local working folder of an import and lock it.

    If the import fails, the folder stays while it has anything to resume with; else it goes, and so do the empty
    folders that were made for it.
    """
    if isinstance(target, Folder):
        path = target.path.parent / f".{target.path.name}.import.partial"
        _recover(target.path)
        above = [folder for folder in path.parents if not folder.exists()]
        with explain_os_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"--out: another import is writing {target.path}; wait for it") from error
        else:
            try:
                yield path
            except BaseException:
                if not _resumable(path):
                    _remove(path, above)
                raise
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory(prefix="umgclip-import-") as name:  # finished parts are in S3
        yield Path(name)


def _resumable(path: Path) -> bool:
    """Return whether a working folder holds finished parts."""
    folders = [each for each in path.iterdir() if each.is_dir() and each.name not in _OF_ONE_RUN]
    return any(any(each.iterdir()) for each in folders)


def _remove(path: Path, above: list[Path]) -> None:
    """Remove a working folder, and of the folders above it those given that are empty, inner ones first."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # something else lies there now
        for folder in above:
            folder.rmdir()


def _before(target: Place) -> Manifest | None:
    """Read the manifest of the existing dataset, if there is one.

    Raises:
        InputError: the target holds something else.
    """
    if target.exists(MANIFEST):
        try:
            return Manifest.model_validate_json(target.read(MANIFEST, _MANIFEST_BYTES))
        except ValidationError as error:
            raise InputError(
                f"--out: {target}/{MANIFEST} is not a manifest of this package; choose a new folder"
            ) from error
    if isinstance(target, Folder) and target.path.exists() and any(target.path.iterdir()):
        raise InputError(f"--out: expected a new folder or an existing dataset; {target} holds other files")
    return None


def _plan(request: Request, root: Path) -> ImportPlan:
    plan = ImportPlan(root / "plan.sqlite", fresh=True)
    inputs = root / "inputs"
    inputs.mkdir(exist_ok=True)
    source = place_at(request.source)
    try:
        KINDS[request.kind].plan(request, plan, source, inputs)
        plan.index()
    except sqlite3.Error as error:
        raise OutputError(f"{plan.path}: cannot be written: {error}") from error
    if (
        isinstance(source, Folder) and not source.path.is_dir()
    ):  # formats that read a list of images do not look into it
        raise DataError(f"{source}: expected a folder, found {'a file' if source.path.exists() else 'none'}")
    if not plan.size():
        others = plan.fact("other_files") or {}
        name, first = next(plan.problems(), ("", None))
        seen = ", ".join(f"{n} {suffix}" for suffix, n in list(others.items())[:5])
        if first is not None:
            seen = f"{seen or 'none'}; the first problem: {first.reason} ({name}: {first.detail[:200]})"
        raise DataError(f"{request.source}: expected images for {request.kind}, found {seen or 'no files at all'}")
    return plan


def _work(request: Request, params: ImportParams, target: Place, names: tuple[Path, str, str]) -> ImportContext:
    root, fingerprint, stem = names
    inner = root / fingerprint
    inner.mkdir(exist_ok=True)
    scratch = root / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    parts = Folder(inner) if isinstance(target, Folder) else target.within(_PARTS.format(fingerprint))
    shards = Folder(inner) if isinstance(target, Folder) else target
    return ImportContext(request, params, root / "plan.sqlite", scratch, shards, parts, stem)


def _forget_others(root: Path, fingerprint: str) -> None:
    """Remove parts of other imports."""
    for path in root.iterdir():
        if path.is_dir() and path.name not in (fingerprint, "scratch", "inputs"):
            shutil.rmtree(path)


def _done(context: ImportContext, parts: list[ImportPart]) -> list[ImportPart]:
    names = {entry.name for entry in context.parts.entries()}
    return [part for part in parts if part.marker in names]


def _publish(
    finished: FinishedImport, target: Place, before: Manifest | None, context: ImportContext, parts: list[ImportPart]
) -> None:
    """Publish the dataset at its target."""
    files = [finished.folder / f"{name}.parquet" for name in OUTPUTS] + [finished.folder / STATISTICS]
    if isinstance(target, Folder):
        _publish_folder(finished, target.path, files)
        return
    for shard in finished.shards:
        if isinstance(shard.place, Folder):
            target.put(shard.place.path / shard.info.path, shard.info.path)
    for path in files:
        target.put(path, path.name)
    write_manifest(finished.folder, finished.manifest)
    target.put(finished.folder / MANIFEST, MANIFEST)
    # the new manifest is valid from here on; the rest is cleaning up
    current = {shard.path for shard in finished.manifest.shards}
    made = {info.path for info in (before.shards if before else [])} | finished.replaced
    for name in sorted(made - current):
        target.delete(name)
    for entry in list(context.parts.entries()):
        context.parts.delete(entry.name)


def _publish_folder(finished: FinishedImport, into: Path, files: list[Path]) -> None:
    new, old = (into.parent / f".{into.name}.{state}.partial" for state in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    folder = Folder(new)
    for shard in finished.shards:
        if not isinstance(shard.place, Folder):
            raise OutputError(f"{shard.info.path}: expected a local shard, got one at {shard.place}")
        folder.put(shard.place.path / shard.info.path, shard.info.path)
    for path in files:
        folder.put(path, path.name)
    write_manifest(new, finished.manifest)
    if into.exists():
        shutil.rmtree(old, ignore_errors=True)
        into.rename(old)
    new.rename(into)
    shutil.rmtree(old, ignore_errors=True)


def _recover(into: Path) -> None:
    """Undo half of an exchange that was stopped between its two renames."""
    old = into.parent / f".{into.name}.old.partial"
    if old.is_dir() and not into.exists():
        old.rename(into)
