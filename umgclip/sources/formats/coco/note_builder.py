"""Building of a note from everything that COCO files state about one image."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.safe_text import brief
from umgclip.sources.formats.coco import umgclip_fields as fields
from umgclip.sources.formats.shared.labels import Label, Labels
from umgclip.sources.formats.shared.segments import labelled
from umgclip.sources.note import Note, Problem, RawRegion, Speaker
from umgclip.sources.request import HUMAN
from umgclip.sources.values import expected, flag, ident, size_px

_REGIONAL = ("instance", "segments")


@dataclass(frozen=True)
class FileFacts:
    """Facts of the plan about all files: labels and licenses by `JSON:ID`, kinds and conventions by file number."""

    labels: Labels
    licenses: dict[str, str]
    kinds: dict[str, str]
    exchanged: frozenset[str]
    is_benchmark: bool
    speaker: Speaker = Speaker(HUMAN, HUMAN)


@dataclass
class ListedImage:
    """An image as one of the files lists it.

    Attributes:
        json: number of the file.
        kind: kind of the file's annotations.
        about: fields of the image.
        size: width and height in px, if valid.
        ours: our fields, if this package wrote the file.
    """

    json: str
    kind: str
    about: dict[str, Any]
    size: tuple[int, int] | None
    ours: fields.ImageAbout | None


@dataclass
class NoteBuilder:
    """Builder of one image's note: call `image` for each file that lists it, then the others, then `end`.

    Attributes:
        files: facts of the plan about all files.
        note: the note so far.
        listed: the image as each file lists it, by `JSON:ID`.
    """

    files: FileFacts
    note: Note = field(default_factory=Note)
    listed: dict[str, ListedImage] = field(default_factory=dict)
    _first_image: dict[str, str] = field(default_factory=dict)

    def image(self, content: dict[str, Any]) -> None:
        """Add the entry of an image in a file's list."""
        number = content["of"].partition(":")[0]
        size, wrong = size_px(content.get("width"), content.get("height"))
        if wrong is not None:
            self.note.problems.append(Problem("bad_size", wrong))
        about = None
        try:
            about = fields.read_image(content.get(fields.OURS))
        except InputError as error:
            self.note.problems.append(Problem("bad_record", str(error)))
        one = ListedImage(number, self.files.kinds[number], content, size, about)
        self.listed[content["of"]] = one
        self._origin(one)
        if one.kind == "caption":
            self.note.captions = self.note.captions or []
        else:
            self.note.tags, self.note.regions = self.note.tags or [], self.note.regions or []
            self._federated(one)

    def _origin(self, one: ListedImage) -> None:
        note, about = self.note, one.about
        urls = (about.get(name) for name in ("flickr_url", "coco_url"))
        note.url = note.url or next((tidy(url) for url in urls if isinstance(url, str) and tidy(url)), None)
        note.license = note.license or self.files.licenses.get(f"{one.json}:{ident(about.get('license'))}") or None
        if one.ours is not None:
            source = one.ours.source
            note.dataset, note.url, note.license = source.dataset, source.url, source.license
            note.name = source.name

    def _federated(self, one: ListedImage) -> None:
        """Add LVIS's verified classes: those that are absent, and those that are not annotated exhaustively."""
        if one.ours is not None:
            self.note.negative_tags = one.ours.negative_tags or self.note.negative_tags
            self.note.not_exhaustive = one.ours.not_exhaustive or self.note.not_exhaustive
            self.note.pairs = one.ours.pairs or self.note.pairs
            return
        negative, incomplete = (self._known(one, f"{name}_category_ids") for name in ("neg", "not_exhaustive"))
        if negative is not None:
            self.note.negative_tags = self.note.negative_tags or []
            for name in negative:
                self.note.negative_tag(name, HUMAN)
        if incomplete is not None:
            self.note.not_exhaustive = list(dict.fromkeys([*(self.note.not_exhaustive or []), *incomplete]))

    def _known(self, one: ListedImage, name: str) -> list[str] | None:
        numbers = one.about.get(name)
        if numbers is None:
            return None
        listed = numbers if isinstance(numbers, list) else [numbers]
        labels = {brief(number): self.label(one, number) for number in listed}
        unknown = [number for number, label in labels.items() if label is None or not label.label]
        if unknown:
            detail = f"{name}: expected known categories, got {', '.join(unknown)}"
            self.note.problems.append(Problem("no_class", detail))
        return [label.label for label in labels.values() if label is not None and label.label]

    def label(self, one: ListedImage, category: Any) -> Label | None:  # noqa: ANN401 - what JSON held
        """Return the label of a category; None if it is unknown."""
        return self.files.labels.get(f"{one.json}:{ident(category)}")

    def caption(self, annotation: dict[str, Any]) -> None:
        """Add the caption of an annotation to the note."""
        text, name = annotation.get("caption"), ident(annotation.get("id"))
        if not isinstance(text, str):
            detail = f"annotation {name}: {expected('caption', 'a text', text)}"
            self.note.problems.append(Problem("no_caption", detail))
            return
        try:
            exact = fields.read_text(annotation.get(fields.OURS), text)
        except InputError as error:
            self.note.problems.append(Problem("bad_record", f"annotation {name}: {error}"))
            exact = None
        if exact is not None:
            self.note.captions = [*(self.note.captions or []), exact]
        elif self.files.is_benchmark:
            self.note.truths([text], self.files.speaker.captions)
        else:
            self.note.caption(text, self.files.speaker.captions)

    def instance(self, one: ListedImage, annotation: dict[str, Any]) -> None:
        """Add the region of an annotation, with its box, its pixels, or both."""
        region = self.region(one, annotation, annotation.get("segmentation"))
        if region is None:
            return
        region.box, region.form = annotation.get("bbox"), "xywh"
        if "score" in annotation:
            region.score = annotation["score"]
        if self._is_repeated(one, annotation):
            self.note.told["regions that two files tell alike"] += 1
        else:
            self.keep(region)

    def region(self, one: ListedImage, annotation: dict[str, Any], shape: Any) -> RawRegion | None:  # noqa: ANN401 - what JSON held
        """Build a region with its label; record a problem and return None if its category is unknown."""
        number = ident(annotation.get("id"))
        name = f"given-{number}" if number is not None else ""
        label = self.label(one, annotation.get("category_id"))
        if label is None:
            detail = f"expected a known category, got {brief(annotation.get('category_id'))}"
            self.note.problems.append(Problem("no_class", detail, name or None))
            return None
        region = labelled(name, label, shape, self.files.speaker.others)
        region.size_wh, region.exchanged = one.size, one.json in self.files.exchanged
        crowd = flag(annotation.get("iscrowd", 0) or 0)
        if crowd is None:
            detail = expected("iscrowd", "0 or 1", annotation["iscrowd"])
            self.note.problems.append(Problem("bad_flag", detail, name or None))
        region.is_crowd = bool(crowd)
        self._restore(region, annotation, label)
        return region

    def _restore(self, region: RawRegion, annotation: dict[str, Any], label: Label) -> None:
        """Add our fields of the region; its label is the category's present one."""
        try:
            known = fields.read_region(annotation.get(fields.OURS))
        except InputError as error:
            self.note.problems.append(Problem("bad_record", str(error), region.id or None))
            return
        if known is None:
            return
        if fields.label(known) != label.label:
            known = known.model_copy(update={"tags": region.tags})
        region.id, region.known, region.tags = known.id, known, known.tags or []

    def keep(self, region: RawRegion) -> None:
        """Add a region to the note, and its label as a tag of the image."""
        self.note.region(region)

    def _is_repeated(self, one: ListedImage, annotation: dict[str, Any]) -> bool:
        """Return whether another file, or the same image under another id, already has this region."""
        if sum(other.kind in _REGIONAL for other in self.listed.values()) < 2:
            return False
        label = self.label(one, annotation.get("category_id"))
        parts = [label, one.size, *(annotation.get(name) for name in ("bbox", "segmentation", "iscrowd"))]
        key = json.dumps(parts, sort_keys=True)
        return self._first_image.setdefault(key, one.about["of"]) != one.about["of"]

    def end(self) -> None:
        """Restore statements about the whole image from our fields, where its regions are unchanged."""
        for one in self.listed.values():
            if one.ours is None:
                continue
            if one.kind == "caption":
                if one.ours.captions is None and not self.note.captions:
                    self.note.captions = None
                continue
            if one.ours.regions is None and not self.note.regions:
                self.note.regions = None
            self._end_tags(one.ours)

    def _end_tags(self, about: fields.ImageAbout) -> None:
        """Restore the image's tags, remove those of deleted regions, and add those of new regions."""
        was, regions = about.regions or {}, self.note.regions or []
        now = {region.known.id: fields.label(region.known) for region in regions if region.known is not None}
        new = {
            tag.text: tag
            for region in regions
            if region.known is None or was.get(region.known.id) != fields.label(region.known)
            for tag in region.tags[:1]
        }
        gone = {*was.values()} - {*now.values()}
        remaining = [tag for tag in about.tags or [] if tag.text not in gone]
        added = [tag for tag in new.values() if all(tag.text != other.text for other in remaining)]
        self.note.tags = [*remaining, *added] if about.tags is not None or added else None
