"""UMG-41M: archives of JSON as they are delivered, or JSON files beside the images.

The images are files of any folder, or members of img2dataset's tars. A JSON file belongs to the image of its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_text import parse
from umgclip.io.places import Place, fetch
from umgclip.io.texts import decode
from umgclip.sources.formats.folder import BESIDE, read_folder
from umgclip.sources.formats.shared.json_archives import (
    ARCHIVES,
    JsonArchives,
    index_archives,
    is_archive,
    joined_in,
)
from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.formats.shared.reading import local_copy, why
from umgclip.sources.formats.shared.tar_samples import TarSample, read_samples
from umgclip.sources.formats.tars import count_hidden, tar_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden

TARS = ("tar",)
_ALONE = "images without a JSON file in the archives"


def plan_umg41m(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the tars, then the image files, then the JSON files of the archives.

    Raises:
        DataError: an archive cannot be read.
        InputError: `annotations` name a file that is no archive.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    plan.plan_files(FORMAT_OF, lead=TARS)
    unread = Counter(plan.other_files((*FORMAT_OF, *TARS, *BESIDE, *(() if request.annotations else ARCHIVES))))
    plan.state("other_files", unread + Counter(plan.lone_files(BESIDE)))
    archives = list(_archives(request, plan, source, working))
    if archives:
        index_archives(plan, archives, working)
    plan.state("archives", [name for name, _ in archives])


def _archives(request: Request, plan: ImportPlan, source: Place, working: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the local path of each archive: those of --annotations, else those among the images."""
    if not request.annotations:
        for name in plan.file_names(ARCHIVES):
            if is_archive(name):
                yield shown(name), local_copy(source, name, working)
        return
    for where in request.annotations:
        paths = [fetch(where, working)] if "://" in where or not Path(where).is_dir() else _inside(Path(where))
        for path in paths:
            if not is_archive(path.name):
                raise InputError(f"--annotations: expected .zip, .tar.gz or a folder of them, got {path.name}")
            about = path.stat()
            plan.seen("annotations", path.name, about.st_size, about.st_mtime_ns)
            yield shown(path.name), path


def _inside(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if is_archive(path.name) and path.is_file())
    if not paths:
        raise DataError(f"--annotations: {folder}: expected .zip or .tar.gz files in it, found none")
    return paths


def read_umg41m(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images of a tar or the image files at some positions, each with its JSON."""
    if not plan.fact("archives"):
        yield from _images(request, plan, source, span, limit, None)
        return
    with JsonArchives(plan) as archives:
        yield from _images(request, plan, source, span, limit, archives)


def _images(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int, archives: JsonArchives | None
) -> Iterator[SourceImage]:
    tars = plan.leading()
    for item in plan.items(span[0], min(span[1], tars)):
        samples = read_samples(source, item.name, limit)
        image_of = partial(_tar_image, tar=item.name, request=request, plan=plan, archives=archives)
        yield from count_hidden(shown(item.name), samples, image_of)
    if span[1] > tars:
        for image in read_folder(request, plan, source, (max(span[0], tars), span[1]), limit):
            # a problem with the image is no reason to leave its JSON uncounted
            name = image.name.rpartition(".")[0] if image.extension else image.name
            yield _joined(image, name, request, archives)


def _tar_image(
    name: str, sample: TarSample, tar: str, request: Request, plan: ImportPlan, archives: JsonArchives | None
) -> SourceImage:
    # what lies in the tar is of whoever made the tar: its texts are alt texts
    image = tar_image(name, sample, replace(request, kind="webdataset"), plan)
    if sample.image is None:
        return image
    return _joined(image, f"{shown(tar).rpartition('.')[0]}/{sample.key}", request, archives)


def _joined(image: SourceImage, name: str, request: Request, archives: JsonArchives | None) -> SourceImage:
    """Return the image with what its JSON in an archive says, and count whether there is one."""
    match = None if archives is None else archives.find(name)
    if match is None:
        image.note.told.update([_ALONE] if archives is not None else [])
        return image
    if isinstance(match, Problem):
        image.note.problems.append(match)
        return image
    image.note.told[joined_in(match.archive)] += 1
    if isinstance(match.data, Problem):
        image.note.problems.append(match.data)
        return image
    try:
        about = read_note(parse(decode(match.data, request.encoding)), request.speaker, request.box_format)
    except ValueError as error:
        image.note.problems.append(Problem("bad_text", f"{match.archive}:{match.name}: {why(error)}"))
        return image
    _merge(image.note, about, f"{match.archive}:{match.name}")
    return image


def _merge(note: Note, about: Note, name: str) -> None:
    """Add what a JSON file says, unless it is about another image: numbers name other images in other downloads."""
    if note.url and about.url and note.url != about.url:
        detail = f"{name}: expected JSON about {note.url[:200]}, got about {about.url[:200]}"
        note.problems.append(Problem("other_image", detail))
        return
    note.merge(about)
