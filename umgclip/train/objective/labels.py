"""The labels of a batch without its pixels, small enough to be exchanged among all processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.model.clip.files import Tokenizer
from umgclip.train.batch import Batch

_Text = TypeVar("_Text", str, bytes)
_PER_IMAGE = ("images", "caption", "long_caption", "tag_targets", "teacher_image", "valid")
_PER_REGION = ("boxes_xyxy", "masks", "is_stuff", "region_text", "teacher_region")
_PER_TOKEN = ("token_text", "token_weight")
_PLACES = ("caption", "long_caption", "region_text", "token_text", "negative_text")  # places in `texts`, -1 for none


@dataclass(frozen=True)
class Labels:
    """Texts, tags and regions of a batch; the fields of `Batch` with the same names.

    `tokens` are the texts' token ids as the tower reads them: texts with equal ids count as one text.
    `used` are the places of the texts that some term looks at, ascending: those are encoded. `token_weight_sum`,
    `taught_images`, `taught_regions`, `rows_with_negatives` and `pairs_with_negatives` count what the terms that are
    means over a batch divide by.
    """

    texts: list[str]
    tokens: list[bytes]
    used: Int[Tensor, "u"]
    caption: Int[Tensor, "b"]
    long_caption: Int[Tensor, "b"]
    tag_texts: Int[Tensor, "v"]
    tag_targets: Bool[Tensor, "b v"]
    image_of_region: Int[Tensor, "r"]
    is_stuff: Bool[Tensor, "r"]
    region_text: Int[Tensor, "r"]
    teacher_region: Float[Tensor, "r d"] | None
    token_weight_sum: float
    taught_images: int
    taught_regions: int
    rows_with_negatives: int
    pairs_with_negatives: int

    @property
    def images(self) -> int:
        """The number of images in the batch."""
        return len(self.caption)

    @property
    def things(self) -> int:
        """The number of regions whose box is read out as well."""
        return int((~self.is_stuff).sum())


def label(batch: Batch, looked_at: Int[Tensor, "n"], tokenizer: Tokenizer, *, with_teacher: bool = False) -> Labels:
    """Return the labels of a batch.

    Args:
        batch: of this process.
        looked_at: places of the texts that some term looks at, each any number of times.
        tokenizer: the tower's own.
        with_teacher: whether some term looks at the teacher's regions of all processes.
    """
    tokens = [row.tobytes() for row in tokenizer(batch.texts).numpy()]
    first: dict[bytes, int] = {}
    places = torch.tensor([first.setdefault(row, position) for position, row in enumerate(tokens)] + [-1])
    pairs = are_negatives(batch, places)
    region = batch.region_of_negative[pairs]
    things = ~batch.is_stuff  # read by their box as well
    return Labels(
        texts=batch.texts,
        tokens=tokens,
        used=places[looked_at].unique(),
        caption=batch.caption,
        long_caption=batch.long_caption,
        tag_texts=batch.tag_texts,
        tag_targets=batch.tag_targets,
        image_of_region=batch.image_of_region,
        is_stuff=batch.is_stuff,
        region_text=batch.region_text,
        teacher_region=batch.teacher_region if with_teacher else None,
        token_weight_sum=float(batch.token_weight.sum()),
        taught_images=int(batch.teacher_image.isfinite().all(dim=1).sum()),
        taught_regions=int(batch.teacher_region.isfinite().all(dim=1).sum()),
        rows_with_negatives=int((1 + things[region.unique()].long()).sum()),
        pairs_with_negatives=int((1 + things[region].long()).sum()),
    )


def are_negatives(batch: Batch, place_of: Int[Tensor, "texts"]) -> Bool[Tensor, "m"]:
    """Tell which wrong texts of a batch's regions are wrong: those of regions with a text, whose tokens are not its.

    Args:
        batch: any part of a global batch.
        place_of: for each of its texts a number that texts of equal tokens share, and -1 at the end.
    """
    right = batch.region_text[batch.region_of_negative]
    return (right >= 0) & (place_of[right] != place_of[batch.negative_text])


@dataclass(frozen=True)
class JoinedLabels:
    """Labels of several batches as those of one.

    `places[k]` gives the joint place of each text of part k, and -1 for its last entry, so that -1 stays -1.
    `row_of_text` is the row, among the encoded texts of all parts one after the other, that represents a joint text:
    the first of them, where parts share it; -1 for a text that no part encodes.
    """

    labels: Labels
    places: tuple[Int[Tensor, "_"], ...]
    row_of_text: Int[Tensor, "texts"]


def join(parts: Sequence[Labels]) -> JoinedLabels:
    """Put labels together: texts of equal tokens become one text, tags of any part are tags of all."""
    tokens, places = _join_texts([part.tokens for part in parts])
    text_of: dict[bytes, str] = {}
    for part in parts:
        for row, text in zip(part.tokens, part.texts, strict=True):
            text_of.setdefault(row, text)
    texts = [text_of[row] for row in tokens]
    row_of_text = torch.full((len(texts) + 1,), -1)
    encoded = torch.cat([mapping[part.used] for part, mapping in zip(parts, places, strict=True)])
    row_of_text[encoded.flip(0)] = torch.arange(len(encoded)).flip(0)  # the first of equal ones is written last
    tag_texts, tag_targets = _join_tags([(p.tag_texts, p.tag_targets) for p in parts], places)
    taught = [part.teacher_region for part in parts if part.teacher_region is not None]
    labels = Labels(
        texts=texts,
        tokens=tokens,
        used=(row_of_text[:-1] >= 0).nonzero()[:, 0],
        caption=torch.cat([mapping[part.caption] for part, mapping in zip(parts, places, strict=True)]),
        long_caption=torch.cat([mapping[part.long_caption] for part, mapping in zip(parts, places, strict=True)]),
        tag_texts=tag_texts,
        tag_targets=tag_targets,
        image_of_region=_offset([(p.image_of_region, p.images) for p in parts]),
        is_stuff=torch.cat([part.is_stuff for part in parts]),
        region_text=torch.cat([mapping[part.region_text] for part, mapping in zip(parts, places, strict=True)]),
        teacher_region=torch.cat(taught) if taught else None,
        token_weight_sum=sum(part.token_weight_sum for part in parts),
        taught_images=sum(part.taught_images for part in parts),
        taught_regions=sum(part.taught_regions for part in parts),
        rows_with_negatives=sum(part.rows_with_negatives for part in parts),
        pairs_with_negatives=sum(part.pairs_with_negatives for part in parts),
    )
    return JoinedLabels(labels, places, row_of_text)


def merge(batches: Sequence[Batch]) -> Batch:
    """Merge several batches of one image size into one."""
    if len(batches) == 1:
        return batches[0]
    texts, places = _join_texts([batch.texts for batch in batches])
    tag_texts, tag_targets = _join_tags([(b.tag_texts, b.tag_targets) for b in batches], places)
    joined: dict[str, Any] = {
        name: torch.cat([mapping[getattr(b, name)] for b, mapping in zip(batches, places, strict=True)])
        for name in _PLACES
    }
    plain = {*_PER_IMAGE, *_PER_REGION, *_PER_TOKEN} - {*_PLACES, "tag_targets"}
    for name in plain & {field.name for field in dataclasses.fields(Batch)}:
        joined[name] = _cat([getattr(batch, name) for batch in batches], batches)
    regions = _offset([(b.image_of_region, len(b.images)) for b in batches])
    joined["region_of_negative"] = _offset([(b.region_of_negative, len(b.region_text)) for b in batches])
    joined["views"] = {name: torch.cat([batch.views[name] for batch in batches]) for name in batches[0].views}
    return dataclasses.replace(
        batches[0], texts=texts, tag_texts=tag_texts, tag_targets=tag_targets, image_of_region=regions, **joined
    )


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """Return images `start` to `stop` of a batch with their regions and tokens, and all texts."""
    if (start, stop) == (0, len(batch.images)):
        return batch
    inside = (batch.image_of_region >= start) & (batch.image_of_region < stop)
    tokens = len(batch.token_text) // max(1, len(batch.images))
    of_inside = inside[batch.region_of_negative]
    region = inside.cumsum(0) - 1  # their new places
    parts: dict[str, Any] = {
        "image_of_region": batch.image_of_region[inside] - start,
        "negative_text": batch.negative_text[of_inside],
        "region_of_negative": region[batch.region_of_negative[of_inside]],
        "views": {name: view[start:stop] for name, view in batch.views.items()},
    }
    for field in dataclasses.fields(Batch):
        value = getattr(batch, field.name)
        if value is None:
            continue
        if field.name in _PER_IMAGE:
            parts[field.name] = value[start:stop]
        elif field.name in _PER_REGION:
            parts[field.name] = value[inside]
        elif field.name in _PER_TOKEN:
            parts[field.name] = value[start * tokens : stop * tokens]
    return dataclasses.replace(batch, **parts)


def bounds(total: int, parts: int, part: int) -> tuple[int, int]:
    """Return the start and stop of one of several parts of `total` items, as even as possible."""
    return total * part // parts, total * (part + 1) // parts


def _join_texts(parts: Iterable[list[_Text]]) -> tuple[list[_Text], tuple[Tensor, ...]]:
    index: dict[_Text, int] = {}
    places: list[Tensor] = []
    for part in parts:
        rows: list[int] = [index.setdefault(text, len(index)) for text in part]
        places.append(torch.tensor([*rows, -1]))
    return list(index), tuple(places)


def _join_tags(
    parts: Sequence[tuple[Tensor, Tensor]], places: Sequence[Tensor]
) -> tuple[Int[Tensor, "v"], Bool[Tensor, "b v"]]:
    joint = [mapping[texts] for (texts, _), mapping in zip(parts, places, strict=True)]
    tags = torch.cat(joint).unique()
    targets = torch.zeros((sum(len(rows) for _, rows in parts), len(tags)), dtype=torch.bool)
    first = 0
    for (_, rows), columns in zip(parts, joint, strict=True):
        counts = torch.zeros((len(rows), len(tags)), dtype=torch.long)
        counts.index_add_(1, torch.searchsorted(tags, columns), rows.long())  # two tags of a part may be one text
        targets[first : first + len(rows)] = counts > 0
        first += len(rows)
    return tags, targets


def _offset(parts: Sequence[tuple[Tensor, int]]) -> Int[Tensor, "n"]:
    """Concatenate indices into rows of parts, each with its number of rows, as indices into all rows."""
    offsets = accumulate((rows for _, rows in parts), initial=0)
    return torch.cat([index + offset for (index, _), offset in zip(parts, offsets, strict=False)])


def _cat(values: Sequence[Tensor | None], batches: Sequence[Batch]) -> Tensor | None:
    """Concatenate tensors; fill in True for batches without marks of valid cells."""
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    return torch.cat(
        [
            torch.ones((len(batch.images), *known.shape[1:]), dtype=known.dtype) if value is None else value
            for value, batch in zip(values, batches, strict=True)
        ]
    )
