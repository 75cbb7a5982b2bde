"""`umgclip push`: the tuned model with its card into a repository of the Hugging Face hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import DataError, InputError
from umgclip.inference.hub.licences import licence_of
from umgclip.inference.hub.names import require_repo
from umgclip.inference.hub.origin import ModelOrigin, with_data, with_results
from umgclip.inference.hub.push import Destination, push_folder, require_destination, size_of
from umgclip.io.atomic import MODEL, replaced_folder
from umgclip.io.json_file import read_object
from umgclip.params import RegisterParams
from umgclip.safe_text import line_of
from umgclip.stage import Summary

if TYPE_CHECKING:
    from umgclip.inference.hub.repository import Publication
else:  # imports torch
    Publication = Any

_MB = 1_000_000


@dataclass(frozen=True)
class PushSource:
    """A model to push, and the files that tell about it.

    Attributes:
        model: as in `umgclip.register.opening.open_model`.
        adapter: a folder with an adapter for a base.
        register: the section `register`, with prompt and box share; None: the model's own.
        metrics: the evaluation's metrics; None: those that the model carries.
        data: folder with the training data; None: what the model carries.
        required: paths that were asked for by name; of others, what is missing or of another model is left out.
    """

    model: str | Path
    adapter: Path | None = None
    register: RegisterParams | None = None
    metrics: Path | None = None
    data: Path | None = None
    required: frozenset[Path] = frozenset()


def push(
    source: PushSource, publication: Publication, destination: Destination, out: Path | None, *, dry_run: bool
) -> Summary:
    """Write a model's repository, and push it unless it is a dry run.

    Args:
        source: the model and what is known of it.
        publication: what its publisher says.
        destination: where to.
        out: folder in which the files are kept; None: they are not kept.
        dry_run: write the files, ask the hub nothing and send nothing.

    Raises:
        InputError: there is no such model, the hub allows no such name, no token, or a repository of another tool.
        StorageError: the hub does not answer.
        DataError: results or data are of another model, where they were named.
    """
    from umgclip.inference.hub.repository import write_repository
    from umgclip.model.clip.tower import DenseClip
    from umgclip.register.opening import open_model

    require_repo(destination.repo)
    if not dry_run:
        require_destination(destination)
    with open_model(source.model, source.adapter) as opened, _working(out) as folder:
        usage, notes = opened.usage, list[str]()
        if source.register is not None:
            usage = replace(usage, template=source.register.template, box_share=source.register.box_share)
        origin = _known(opened.origin, source, notes)
        written = write_repository(DenseClip(opened.clip), usage, origin, publication, folder)
        files = size_of(folder)
        pushed = None if dry_run else push_folder(folder, destination)
    licence = licence_of(origin.base, origin.data, publication.licence)
    who = {True: "private", False: "public", None: "public unless your organisation's default is private"}
    rows = [
        ("repository", f"{destination.repo}, {who[destination.private]} if it is new"),
        ("branch", destination.revision or "main"),
        ("files", ", ".join(f"{name} {size / _MB:.1f} MB" if size >= _MB else name for name, size in files.items())),
        ("licence", licence.identifier),
        ("results", f"{len(origin.tuned)} numbers" if origin.tuned else "none"),
        ("transformers", written.transformers_class or written.why_not or "left out"),
        *(("left out", note) for note in notes),
    ]
    if pushed is not None:
        rows += [("commit", pushed.url)]
        rows += [("removed", ", ".join(pushed.removed))] if pushed.removed else []
        rows += [("README.md", "left as it is there: it was edited")] if pushed.kept_card else []
        rows += [("load with", f'umgclip.load("hf-hub:{destination.repo}")')]
    if out is not None:
        rows.append(("folder", str(out)))
    title = f"push {destination.repo}" + (": nothing was sent (--dry-run)" if dry_run else "")
    return Summary(title, tuple(rows))


def read_card(path: Path) -> str:
    """Read the text of a model card.

    Raises:
        InputError: there is no such text file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--card: expected a text file in UTF-8, got {path}: {line_of(error)}") from error


@contextmanager
def _working(out: Path | None) -> Iterator[Path]:
    if out is not None:
        with replaced_folder(out, MODEL) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _known(origin: ModelOrigin, source: PushSource, notes: list[str]) -> ModelOrigin:
    """Add results and data where they are there; note what was left out and why."""
    for path, add in ((source.metrics, _with_metrics), (source.data, with_data)):
        if path is None or (path not in source.required and not path.exists()):
            continue
        try:
            origin = add(origin, path)
        except DataError as error:
            if path in source.required:
                raise
            notes.append(str(error))
    return origin


def _with_metrics(origin: ModelOrigin, path: Path) -> ModelOrigin:
    if not path.is_file():
        raise DataError(f"{path}: expected the metrics of `umgclip evaluate`, found none")
    words = path.parent.parent / "artifacts" / "evaluate" / "protocol.json"
    return with_results(origin, read_object(path), path, read_object(words) if words.is_file() else None)
