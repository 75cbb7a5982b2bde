"""Images with one annotation file each: beside the image, in a parallel folder, or matched by name alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place
from umgclip.sources.formats.shared.reading import in_order, read_image, why
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

LABEL_BYTES = 64 << 20
ALL = "all"
_DEFAULT = {"train": "train", "benchmark": "val"}
_ALIASES = {"valid": "val", "validation": "val", "training": "train", "testing": "test"}
Reader = Callable[[bytes, str], Note]  # from a file's bytes and its image's name


class Form(NamedTuple):
    """Naming of the annotation files of a format.

    Attributes:
        what: name of the files in messages.
        extension: extension of the files.
        folders: pairs of parallel folders for images and annotations, as in `images/1.jpg` and `labels/1.txt`.
        others: names of files with that extension that annotate no image.
        image_of: returns the image that a file names as its own, where the format has that.
    """

    what: str
    extension: str
    folders: tuple[tuple[str, str], ...]
    others: tuple[str, ...] = ()
    image_of: Callable[[bytes], str | None] = lambda _data: None


class Subset(NamedTuple):
    """Images that count: those whose name passes the test `holds`."""

    name: str
    holds: Callable[[str], bool]


def plan_labelled(plan: ImportPlan, source: Place, form: Form, subset: Subset) -> None:
    """Plan the images of a subset, each with its annotation file; a file without image is a problem.

    Args:
        plan: a plan that lists the files of the source.
        source: the folder or S3 prefix that is imported.
        form: how the annotation files are named.
        subset: which images count.

    Raises:
        DataError: there are no annotation files, or no images in the subset.
    """
    named = _files_naming_their_image(plan, source, form)
    position = left_out = labelled = 0
    for name in plan.file_names(FORMAT_OF):
        about, others = _about(plan, form, name)
        about = about or named.get(name)
        _tell_others(plan, form, name, others)
        labelled += about is not None
        if about is not None:
            if plan.has_id(shown(about)):
                plan.tell(f"images that share {form.what} with another image")
            plan.add_ids([(shown(about), position)])
        if subset.holds(name):
            plan.add_items([(position, name, {"about": about} if about else {})])
            position += 1
            if about is None:
                plan.tell(f"images without {form.what}")
        else:
            left_out += 1
    if not labelled and position + left_out:
        near = " or ".join(f"{labels}/ next to {images}/" for images, labels in form.folders)
        seen = "none that belongs to a single image" if plan.has_extension(form.extension) else "none"
        raise DataError(
            f"{source}: expected {form.what} (.{form.extension}) beside the images or in {near}, found {seen}"
        )
    plan.tell(f"images that are not in {subset.name}", left_out)
    if left_out and not position:
        raise DataError(f"{source}: expected images in {subset.name}, found none of {left_out}")
    for name in plan.file_names([form.extension]):
        if not plan.has_id(shown(name)) and name.rpartition("/")[2] not in form.others:
            plan.add_problem(shown(name), Problem("no_image", f"{form.what} of an image that is not there"))


def label_file(plan: ImportPlan, form: Form, name: str) -> str | None:
    """Return the annotation file of an image: in the parallel folder, beside it, or the only one with its name."""
    return _about(plan, form, name)[0]


def _about(plan: ImportPlan, form: Form, name: str) -> tuple[str | None, list[str]]:
    """Return the annotation file of an image, and other files that would fit."""
    stem = name[: -len(extension_of(name)) - 1]
    swapped = [path for images, labels in form.folders if (path := _swapped(stem, images, labels)) is not None]
    near = [f"{path}.{form.extension}" for path in (*swapped, stem, name)]
    existing = [path for path in dict.fromkeys(near) if plan.has_file(path)]
    if existing:
        return existing[0], existing[1:]
    base = stem.rpartition("/")[2]
    far = plan.files_called(f"{base}.{form.extension}")
    if len(far) == 1 and plan.images_called(base) > 1:
        return None, [far[0], "other images are called so too"]
    return (far[0], []) if len(far) == 1 else (None, far)


def _files_naming_their_image(plan: ImportPlan, source: Place, form: Form) -> dict[str, str]:
    """Map images to annotation files that are named like no image, but name their image themselves."""
    file_of: dict[str, str] = {}
    for about in plan.file_names([form.extension]):
        base = about.rpartition("/")[2]
        if base in form.others or plan.images_called(base[: -len(form.extension) - 1]):
            continue
        try:
            image = form.image_of(source.read(about, LABEL_BYTES))
        except (DataError, ValueError):
            continue
        names = plan.find(image).names if image else []
        if len(names) == 1:
            file_of.setdefault(os.fsdecode(names[0]), about)
    return file_of


def _tell_others(plan: ImportPlan, form: Form, name: str, others: list[str]) -> None:
    if len(others) > 1:
        fitting = " and ".join(map(shown, others[:2]))
        plan.add_problem(shown(name), Problem("ambiguous_name", f"several files of {form.what} fit: {fitting}"))
    elif others:
        plan.tell(f"images with a second file of {form.what}, which is not read")


def _swapped(stem: str, images: str, labels: str) -> str | None:
    """Return the path in the parallel folder: the last `images` in it becomes `labels`."""
    parts = stem.split("/")
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() == images.lower():
            return "/".join([*parts[:at], labels, *parts[at + 1 :]])
    return None


def chosen_subset(request: Request, divisions: Mapping[str, Callable[[str], bool]], where: object) -> Subset:
    """Return the requested subset; all images if the source has no subsets.

    Raises:
        InputError: there is no such subset; the message lists the existing ones.
    """
    names = {_plain(name): name for name in divisions}
    asked = request.subset or (_DEFAULT[request.split] if divisions else ALL)
    if asked == ALL:
        return Subset(ALL, lambda _name: True)
    known = names.get(_plain(asked))
    if known is None:
        there = ", ".join([*divisions, ALL])
        default = "" if request.subset else f", which --split {request.split} means unless --subset is given"
        raise InputError(f"{where}: subset: expected one of {there}, got {asked!r}{default}")
    return Subset(f"the subset {known}", divisions[known])


def _plain(subset: str) -> str:
    return _ALIASES.get(subset.lower(), subset.lower())


def in_folder(folder: str) -> Callable[[str], bool]:
    """Return a test whether a file is below a folder; "" is the root of the source."""
    return lambda name: not folder or name.startswith(f"{folder}/")


def read_labelled(
    plan: ImportPlan, source: Place, span: tuple[int, int], limit: int, note_of: Reader
) -> Iterator[SourceImage]:
    """Read the images at some positions with their annotation files; an unreadable file costs only itself."""

    def load(name: str, about: str | None) -> SourceImage:
        note = Note()
        if about is not None:
            try:
                note = note_of(source.read(about, LABEL_BYTES), name)
            except (DataError, ValueError) as error:
                note.problems.append(Problem("bad_text", f"{shown(about)}: {why(error)}"))
        return SourceImage(shown(name), read_image(source, name, limit), extension_of(name), note)

    yield from in_order((partial(load, item.name, item.about.get("about")) for item in plan.items(*span)), source)
