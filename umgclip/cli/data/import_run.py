"""The run of `umgclip data import KIND`: options become a request; questions at the terminal, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.io.manifest import Manifest
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import Imported
    from umgclip.sources.request import Request


@dataclass(frozen=True)
class ImportTarget:
    """Target of an import: where it writes, whether it appends or replaces, and the parameter file."""

    out: str
    append: bool
    replace: bool
    params: Path


def import_source(
    kind: str, source: str | list[str], split: str, options: dict[str, Any], target: ImportTarget
) -> None:
    """Import one source as typed: one split, or both with `--hold-out`.

    Args:
        kind: format of the source.
        source: folder, or files of it.
        split: `train` or `benchmark`.
        options: of the command, by name; absent ones are None, False or empty.
        target: where it writes.

    Raises:
        InputError: options contradict each other, or see `umgclip.sources.importing.run.run_import`.
    """
    from umgclip.params import DataParams, load_section
    from umgclip.sources.request import Request

    section = load_section(target.params, DataParams, may_be_missing=True).imports
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if _is_given(value)
    }
    if "instances" in given:
        given["annotations"] = given.pop("instances")
    if "held_out" in given:
        given["held_out"] = tuple(name for word in given["held_out"] for name in _names(word))
    if isinstance(source, list):
        source, given["files"] = folder_and_files(source)
    given.setdefault("name", PurePosixPath(source.rstrip("/")).name or kind)
    if target.append and target.replace:
        raise InputError("expected --append or --replace, got both; give one of them")
    if split == "benchmark" and "hold_out" in given:
        raise InputError("--hold-out: expected without --split, since it writes both train and benchmark")
    splits = ("train", "benchmark") if "hold_out" in given else (split,)
    for each in splits:
        # classes that training never labels are those of the benchmark
        part = {
            name: value for name, value in given.items() if (each, name) != ("train", "held_out") or len(splits) < 2
        }
        _import_split(Request(kind=kind, source=source, split=each, **part), section, target)  # type: ignore[arg-type]


def _import_split(request: Request, section: ImportParams, target: ImportTarget) -> None:
    from umgclip.cli import session
    from umgclip.sources.formats.other_formats import OtherFormatError

    started = time.monotonic()
    try:
        done = _run(request, section, target)
    except OtherFormatError as error:
        if not _can_ask():
            raise
        wanted = typer.confirm(f"{error.found}. Import the folder as `{error.kind}`?", default=True)
        other = {"kind": error.kind} if wanted else {"ignore_labels": True}
        done = _run(replace(request, **other), section, target)
    session.show(summary(f"{target.out.rstrip('/')}/{request.split}", done, time.monotonic() - started))


def folder_and_files(sources: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Split paths of files into their folder and their names in it; a folder alone has none.

    Raises:
        InputError: there are folders besides others, or files in different folders.
    """
    is_file = [
        source.lower().endswith((".parquet", ".arrow")) and ("://" in source or not Path(source).is_dir())
        for source in sources
    ]
    if not any(is_file) and len(sources) == 1:
        return sources[0], ()
    folders = {source.rpartition("/")[0] for source in sources}
    if not all(is_file) or len(folders) > 1:
        raise InputError(
            f"SOURCE: expected one folder, or .parquet and .arrow files in one, got {', '.join(sources[:3])}; for "
            "files in several folders give the folder above them and --subset"
        )
    return folders.pop() or ".", tuple(source.rpartition("/")[2] for source in sources)


def _can_ask() -> bool:
    """Return whether somebody at the terminal can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _is_given(value: object) -> bool:
    """Return whether an option was given, or has a default that counts."""
    return value is not None and value is not False and value not in ("", [])


def _run(request: Request, section: ImportParams, target: ImportTarget) -> Imported:
    from umgclip.cli import session
    from umgclip.sources.importing.run import ImportCallbacks, run_import

    with session.untracked("data import") as opened:
        advances: list[Callable[[int], None]] = []
        callbacks = ImportCallbacks(
            lambda total: advances.append(opened.counter(total)),
            lambda count: advances[0](count) if advances else None,
            lambda there: _may_replace(target, request.split, there),
        )
        return run_import(request, section, target.out, append=target.append, callbacks=callbacks)


def _may_replace(target: ImportTarget, split: str, there: Manifest) -> None:
    """Refuse to replace a dataset unless --replace was given or the person at the terminal agrees.

    Raises:
        InputError: nobody said so; names what would be lost.
    """
    if target.replace:
        return
    name = there.notes.get("name")
    made = "of the demo" if there.made_by.stage == "data" else f"imported as {name!r}" if name else "of another origin"
    holds = f"{target.out.rstrip('/')}/{split} holds {there.samples} images {made}"
    if sys.stdin.isatty() and typer.confirm(f"{holds}. Replace them?"):
        return
    raise InputError(
        f"{holds}; --replace replaces them with this import, --append adds to them, --out writes elsewhere"
    )


def _names(word: str) -> list[str]:
    """Return the name itself, or the names in the file of `@FILE`."""
    if not word.startswith("@"):
        return [word]
    path = Path(word[1:])
    if not path.is_file():
        raise InputError(f"--held-out: {path}: expected a file with a name a line, found none; check the path behind @")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def summary(where: str, done: Imported, seconds: float) -> Any:  # noqa: ANN401 - a Summary, imported late
    """Build the table that summarises an import."""
    from umgclip.cli.data.datasets import describe
    from umgclip.stage import Summary

    rate = done.images / max(seconds, 1e-9)
    rows = [("image files", f"{done.images} in {seconds:.1f} s, {rate:.0f} a second")]
    if done.resumed:
        rows.append(("parts resumed", f"{done.resumed} of {done.parts}"))
    rows += describe(done.statistics.as_json(), done.manifest)
    facts = {
        "dataset": where,
        "images": done.images,
        "seconds": round(seconds, 3),
        "parts": done.parts,
        "parts_resumed": done.resumed,
        "statistics": done.statistics.as_json(),
    }
    return Summary(f"data import: {where}", tuple(rows), facts)
