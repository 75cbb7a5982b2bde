"""Images in one folder and their annotations in files of another: both are listed and read together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.shared.origins import Origin
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.source_files import extension_of

Reader = Callable[[PlannedImage], Note]


def list_folder(plan: ImportPlan, source: Place, folder: str, origin: Origin) -> None:
    """List the files of a folder with their paths from the source's root.

    Raises:
        DataError: there is no such folder; the message names the data set's page.
    """
    try:
        plan.add_files(replace(entry, name=f"{folder}/{entry.name}") for entry in source.within(folder).entries())
    except DataError as error:
        raise origin.missing(source.within(folder), "a folder") from error


def plan_pairs(
    plan: ImportPlan, source: Place, folders: tuple[str, str], extensions: Iterable[str], origin: Origin
) -> None:
    """Plan the images of a folder, and list the folder of their annotations.

    Args:
        plan: the plan.
        source: the folder or S3 prefix that is imported.
        folders: folders of the images and of their annotations; they may be the same.
        extensions: extensions of the images.
        origin: the data set, for messages about missing files.

    Raises:
        DataError: a folder is missing, or holds no images.
    """
    for folder in dict.fromkeys(folders):
        list_folder(plan, source, folder, origin)
    plan.plan_files(extensions, folders[0])
    if not plan.size():
        raise origin.missing(source.within(folders[0]), f"images ({', '.join(sorted(extensions))})")


def read_pairs(
    plan: ImportPlan, source: Place, span: tuple[int, int], limit: int, note_of: Reader
) -> Iterator[SourceImage]:
    """Read the images at some positions with their notes; an image whose annotation is unreadable is refused."""

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, source, item, limit, note_of)

    yield from in_order(loads(), source)


def read_noted(noted: Iterable[tuple[PlannedImage, Note]], source: Place, limit: int) -> Iterator[SourceImage]:
    """Read images whose notes are complete already."""

    def load(item: PlannedImage, note: Note) -> SourceImage:
        return SourceImage(shown(item.name), read_image(source, item.name, limit), extension_of(item.name), note)

    yield from in_order((partial(load, item, note) for item, note in noted), source)


def _load(source: Place, item: PlannedImage, limit: int, note_of: Reader) -> SourceImage:
    try:
        note, data = note_of(item), read_image(source, item.name, limit)
    except DataError as error:
        note, data = Note(), Problem("no_masks", str(error))
    return SourceImage(shown(item.name), data, extension_of(item.name), note)
