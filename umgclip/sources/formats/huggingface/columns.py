"""Choice of columns: images, captions, classes and objects, by their types, by usual names, or as the request says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.sources.formats.huggingface.features import Feature
from umgclip.sources.request import Request

OURS = "umgclip"  # column and field of what no other column holds, as `data export --to huggingface` writes it
_PLAIN = re.compile(r"[^a-z0-9]")
IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "png", "webp", "jpeg", "pixelvalues", "imagebytes")
PATHS = ("filename", "imagepath", "imgpath", "imagefile", "filepath", "path", "file", "imagename", "fpath")
_URLS = ("url", "imageurl", "imgurl", "cocourl", "flickrurl", "originalurl", "link")
CAPTION_NAME = re.compile(r"caption|^alt$|alttext|^texts?$|^descriptions?$|^raw$|^sentences?$|^prompt$")
_LABELS = ("label", "class", "labels", "classlabel", "classname", "category", "categoryname", "finelabel")
_TAGS = ("tags", "tag", "keywords", "classes", "categories", "labels", "objectlabels")
_OBJECTS = ("objects", "object", "annotations", "annotation", "instances", "detections", "regions", "faces", "litter")
_BOXES = re.compile(r"^(bn?)?(bbox|box|boundingbox)(es)?(xyxy|xywh|cxcywh)?n?$")
_NAMES = ("category", "categories", "label", "labels", "categoryname", "categorynames", "class", "classes", "classname",
          "name", "names", "categoryid", "categoryids", "labelid", "classid", "objectclass")  # fmt: skip
_MASKS = ("segmentation", "segmentations", "segm", "mask", "masks", "polygon", "polygons", "rle")
_IDS = ("id", "ids", "bboxid", "objectid", "annotationid", "annid", "regionid")
_CROWDS, _STUFF = ("iscrowd", "crowd"), ("isstuff",)
_SCORES = ("score", "scores", "confidence", "confidences")
_PHRASES = re.compile(r"caption|^phrases?$|^expressions?$|^descriptions?$|^texts?$|^sentences?$|^refexps?$|^raw$")
# they describe nothing: ignored without a word
_SILENT = ("id", "imageid", "imgid", "index", "idx", "key", "uid", "area", "areas", "split", "sha256", "md5", "hash")
_OFF = "none"  # in place of the name of a column: read none


class Part(NamedTuple):
    """The fields of objects that are read, by their names in the data; None: there is none.

    `caption` may be several. `names` are those of the numbers of a category.
    """

    box: str | None
    category: str | None
    mask: str | None
    id: str | None
    crowd: str | None
    stuff: str | None
    score: str | None
    ours: str | None
    captions: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class ChosenColumns:
    """The columns that are read, by name, and those that are not.

    Attributes:
        image: of the images, as bytes or as paths.
        captions: of texts or lists of texts.
        label: of the class of an image that shows one thing.
        label_names: of the numbers in `label`.
        tags: of lists of classes or names, with the names of numbers.
        objects: column of structs or of lists, empty if its fields are columns; None: there are no objects.
        part: the fields of the objects.
        unread: other columns.
    """

    image: str
    captions: tuple[str, ...] = ()
    label: str | None = None
    label_names: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    objects: str | None = None
    part: Part | None = None
    width: str | None = None
    height: str | None = None
    url: str | None = None
    license: str | None = None
    ours: str | None = None
    unread: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """True if this package wrote the table, so that names are as in a dataset."""
        return self.ours is not None or (self.part is not None and self.part.ours is not None)

    def wanted(self) -> list[str]:
        """List the columns of a table that have to be read."""
        single = (self.image, self.label, self.objects, self.width, self.height, self.url, self.license, self.ours)
        flat = self.part if self.part is not None and self.objects == "" else None
        fields = [*flat[:8], *flat.captions] if flat is not None else []
        return list(dict.fromkeys(name for name in (*single, *self.captions, *self.tags, *fields) if name))

    def as_json(self) -> dict[str, Any]:
        """Return the choice as a fact of a plan."""
        return {**asdict(self), "part": self.part}

    @classmethod
    def restored(cls, fact: Mapping[str, Any]) -> ChosenColumns:
        """Rebuild a choice from a fact of a plan."""
        part = fact["part"]
        lists = {name: tuple(fact[name]) for name in ("captions", "label_names", "unread")}
        tags = {name: tuple(names) for name, names in fact["tags"].items()}
        return cls(**{**fact, **lists, "tags": tags, "part": part and Part(*part[:8], *map(tuple, part[8:]))})


def class_name(name: str, *, exact: bool) -> str:
    """Return the name of a class as people say it: `traffic_light` is a traffic light."""
    return tidy(name) if exact else tidy(name.replace("_", " "))


def plain(name: str) -> str:
    """Return a name by which columns are recognised: lower case, without punctuation."""
    return _PLAIN.sub("", name.lower())


def choose_columns(features: Mapping[str, Feature], request: Request, where: str) -> ChosenColumns:
    """Choose the columns of a table.

    Raises:
        InputError: there is no column of images, several could be meant, or a requested one does not exist.
    """
    left = dict(features)
    image = _image(left, request, where)
    left.pop(image)
    objects, part = _objects(left, request, where)
    captions = _captions(left, request, where)
    label, names = _label(left, request, where, has_objects=part is not None)
    chosen = ChosenColumns(
        image=image,
        captions=captions,
        label=label,
        label_names=names,
        tags=_tags(left),
        objects=objects,
        part=part,
        width=_take(left, ("width", "imagewidth", "imgwidth"), "number"),
        height=_take(left, ("height", "imageheight", "imgheight"), "number"),
        url=_take(left, _URLS, "text"),
        license=_take(left, ("license", "licence"), "text"),
        ours=_take(left, (OURS,), "text"),
    )
    unread = tuple(name for name in left if plain(name) not in _SILENT)
    return ChosenColumns(**{**{name: getattr(chosen, name) for name in asdict(chosen)}, "unread": unread})


def _take(left: dict[str, Feature], names: tuple[str, ...], kind: str) -> str | None:
    name = next((n for wanted in names for n, of in left.items() if plain(n) == wanted and of.kind == kind), None)
    if name is not None:
        left.pop(name)
    return name


def _asked(left: Mapping[str, Feature], asked: str, option: str, where: str) -> str:
    if asked not in left:
        raise InputError(f"{where}: --{option}: expected one of the columns {', '.join(left)}, got {asked!r}")
    return asked


def _image(left: Mapping[str, Feature], request: Request, where: str) -> str:
    if request.image_column is not None:
        return _asked(left, request.image_column, "image-column", where)
    images = [name for name, of in left.items() if of.kind == "image"]
    images = images or [name for name, of in left.items() if of.kind == "bytes" and plain(name) in IMAGES]
    images = images or [name for name, of in left.items() if of.kind == "text" and plain(name) in (*IMAGES, *PATHS)]
    usual = [name for wanted in IMAGES[:3] for name in images if plain(name) == wanted]
    if len(images) > 1 and not usual:
        raise InputError(f"{where}: expected one column of images, got {', '.join(images)}; --image-column names one")
    if images:
        return usual[0] if usual else images[0]
    url = next((name for name, of in left.items() if of.kind == "text" and plain(name) in _URLS), None)
    if url is not None:
        raise InputError(
            f"{where}: expected images, got their addresses in {url!r}; download them with img2dataset "
            "(--input_format parquet), then `umgclip data import webdataset` reads its tars"
        )
    lists = [name for name, of in left.items() if of.kind == "list" and of.leaf().kind == "image"]
    several = f"; {', '.join(lists)} hold several images a row, which no record has" if lists else ""
    raise InputError(
        f"{where}: expected a column of images, got {', '.join(left) or 'none'}{several}; --image-column names one"
    )


def _is_text(feature: Feature) -> bool:
    """Return whether values are a text, a list of texts, or structs of which one field is the text."""
    leaf = feature.leaf()
    return leaf.kind == "text" or (leaf.kind == "struct" and any(plain(n) in ("raw", "text") for n in leaf.fields))


def _captions(left: dict[str, Feature], request: Request, where: str) -> tuple[str, ...]:
    if request.caption_column == _OFF and _OFF not in left:
        return ()
    if request.caption_column is not None:
        name = _asked(left, request.caption_column, "caption-column", where)
        if not _is_text(left[name]):
            raise InputError(f"{where}: --caption-column: expected a column of texts, {name!r} holds {left[name].kind}")
        left.pop(name)
        return (name,)
    names = tuple(name for name, of in left.items() if CAPTION_NAME.search(plain(name)) and _is_text(of))
    for name in names:
        left.pop(name)
    return names


def _label(
    left: dict[str, Feature], request: Request, where: str, *, has_objects: bool
) -> tuple[str | None, tuple[str, ...]]:
    """Choose the class of an image that shows one thing; a column of numbers counts if a file names them."""
    if request.label_column == _OFF and _OFF not in left:
        return None, ()
    named = request.class_names is not None
    if request.label_column is not None:
        name = _asked(left, request.label_column, "label-column", where)
        if left[name].kind == "number" and not named:
            raise InputError(f"{where}: --label-column: {name!r} holds numbers; --class-names names them")
        if left[name].kind not in ("class", "text", "number"):
            raise InputError(f"{where}: --label-column: expected classes, {name!r} holds {left[name].kind}")
        return name, left.pop(name).names
    classes = [name for name, of in left.items() if of.kind == "class" and (of.names or named)]
    usual = [name for wanted in _LABELS for name in left if plain(name) == wanted]
    if not classes:
        kinds = ("text", "number") if named else ("text",)
        classes = [name for name in usual if left[name].kind in kinds][:1]
    if len(classes) > 1:
        preferred = [name for name in usual if name in classes]
        if not preferred and not has_objects:
            raise InputError(
                f"{where}: expected one column of classes, got {', '.join(classes)}; --label-column names one, or none"
            )
        classes = preferred
    return (classes[0], left.pop(classes[0]).names) if classes else (None, ())


def _tags(left: dict[str, Feature]) -> dict[str, tuple[str, ...]]:
    tags = {
        name: of.leaf().names
        for name, of in left.items()
        if of.kind == "list" and of.item is not None
        and ((of.item.kind == "class" and of.item.names) or (of.item.kind == "text" and plain(name) in _TAGS))
    }  # fmt: skip
    for name in tags:
        left.pop(name)
    return tags


def _objects(left: dict[str, Feature], request: Request, where: str) -> tuple[str | None, Part | None]:
    """Choose the objects: a column with boxes or masks inside, or columns of boxes and of classes."""
    asked = request.objects_column
    if asked == _OFF and _OFF not in left:
        return None, None
    if asked is not None:
        name = _asked(left, asked, "objects-column", where)
        part = _part(_fields(left[name]))
        if part is None:
            raise InputError(f"{where}: --objects-column: expected a field bbox or segmentation in {name!r}, got none")
        left.pop(name)
        return name, part
    parts = {name: part for name, of in left.items() if (part := _part(_fields(of))) is not None}
    usual = [name for wanted in _OBJECTS for name in parts if plain(name) == wanted]
    if len(parts) > 1 and not usual:
        raise InputError(f"{where}: expected one column of objects, got {', '.join(parts)}; --objects-column names one")
    if parts:
        name = usual[0] if usual else next(iter(parts))
        left.pop(name)
        return name, parts[name]
    flat = {name: of for name, of in left.items() if of.kind == "list" and of.item is not None}
    part = _part({name: of.item for name, of in flat.items() if of.item is not None}, columns=True)
    if part is None or part.box is None:
        return None, None
    for used in (*part[:8], *part.captions):
        if used:
            left.pop(used, None)
    return "", part


def _fields(feature: Feature) -> dict[str, Feature]:
    """Return the types of one object's fields, for a list of structs as for a struct of lists."""
    if feature.kind == "list" and feature.item is not None and feature.item.kind == "struct":
        return dict(feature.item.fields)
    if feature.kind == "struct":
        lists = {name: of.item for name, of in feature.fields.items() if of.kind == "list" and of.item is not None}
        return lists if len(lists) == len(feature.fields) else {}
    return {}


def _part(fields: Mapping[str, Feature], *, columns: bool = False) -> Part | None:
    """Choose the fields of objects; None: neither boxes nor masks are among them."""

    def take(names: tuple[str, ...]) -> str | None:
        return next((name for wanted in names for name in fields if plain(name) == wanted), None)

    box = next(
        (n for n, of in fields.items() if _BOXES.match(plain(n)) and of.leaf().kind in ("number", "other")), None
    )
    mask = take(_MASKS)
    if box is None and mask is None:
        return None
    category = take(_NAMES)
    captions = tuple(n for n, of in fields.items() if _PHRASES.search(plain(n)) and of.leaf().kind == "text")
    captions = () if columns else captions
    return Part(
        box,
        category,
        mask,
        take(_IDS) if not columns else None,
        take(_CROWDS),
        take(_STUFF),
        take(_SCORES),
        None if columns else take((OURS,)),
        captions,
        fields[category].leaf().names if category is not None else (),
    )
