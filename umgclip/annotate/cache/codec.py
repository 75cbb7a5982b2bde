"""Encode answers as JSON with the bytes of their arrays; decoded answers are equal to the last bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from umgclip.annotate.proposal import BoxMask, PixelMask, Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.roles import Partly
from umgclip.geometry import masks as mask_ops
from umgclip.records import Mask, Text

_FIELDS = ("shape", "score", "is_stuff", "tags", "captions", "embedding", "source", "mask_source", "point_xy")
_GIVE_TEXTS_OF_REGIONS = ("region_captioner", "negator")
_GIVE_PROPOSALS_BACK = ("region_tagger", "masker", "region_embedder")


class Packed(NamedTuple):
    """An encoded answer: JSON, in which an array is its dtype, shape and offset, and the bytes of all arrays."""

    json: str
    arrays: bytes


def pack(role: str, answer: Any, proposals: Sequence[Proposal] = ()) -> Packed:  # noqa: ANN401
    """Return a role's answer in its stored form.

    Of proposals that a role gave back, only the fields that it replaced are stored: the others may come from roles
    whose answers change without this one's inputs changing.

    Args:
        role: one of `ROLE_CALLS`.
        answer: what its method returned for one row.
        proposals: those of the row, as the role was given them, numbered.
    """
    arrays = _Arrays()
    value: Any
    if role == "proposer":
        value = [_fields(p, _FIELDS, arrays) for p in answer]
    elif role in _GIVE_PROPOSALS_BACK:
        row_of = {p.index: row for row, p in enumerate(proposals)}
        rows = [row_of[p.index] for p in answer]
        replaced = [_replaced(proposals[row], p) for row, p in zip(rows, answer, strict=True)]
        value = {
            "rows": rows,
            "replaced": [_fields(p, names, arrays) for p, names in zip(answer, replaced, strict=True)],
        }
    elif role == "policy":
        value = [_rejected(one) for one in answer]
    elif role == "image_embedder":
        value = arrays.add(answer)
    elif role == "filter":
        value = float(answer)
    elif role in _GIVE_TEXTS_OF_REGIONS:
        value = [_texts(texts) for texts in answer]
    else:
        value = _texts(answer)
    if isinstance(answer, Partly):
        value = {"parts": value, "refused": [_rejected(one) for one in answer.refused]}
    return Packed(json.dumps(value, ensure_ascii=False, separators=(",", ":")), b"".join(arrays.parts))


def unpack(role: str, packed: Packed, proposals: Sequence[Proposal] = ()) -> Any:  # noqa: ANN401
    """Return the answer that `pack` stored; `proposals` are those that the role would be given now."""
    value = json.loads(packed.json)
    if isinstance(value, dict) and "refused" in value:
        parts = unpack(role, Packed(json.dumps(value["parts"]), packed.arrays), proposals)
        return Partly(parts, [_to_rejected(fields) for fields in value["refused"]])
    if role == "proposer":
        return [Proposal(**_values(fields, packed.arrays)) for fields in value]
    if role in _GIVE_PROPOSALS_BACK:
        return [
            replace(proposals[row], **_values(fields, packed.arrays))
            for row, fields in zip(value["rows"], value["replaced"], strict=True)
        ]
    if role == "policy":
        return [_to_rejected(fields) for fields in value]
    if role == "image_embedder":
        return _array(value, packed.arrays)
    if role == "filter":
        return value
    if role in _GIVE_TEXTS_OF_REGIONS:
        return [_to_texts(texts) for texts in value]
    return _to_texts(value)


class _Arrays:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._at = 0

    def add(self, array: np.ndarray) -> dict[str, Any]:
        data = np.ascontiguousarray(array).tobytes()
        where = {"dtype": array.dtype.str, "shape": list(array.shape), "at": self._at}
        self.parts.append(data)
        self._at += len(data)
        return where


def _array(where: Mapping[str, Any], data: bytes) -> np.ndarray:
    count = int(np.prod(where["shape"], dtype=np.int64))
    flat = np.frombuffer(data, np.dtype(where["dtype"]), count, where["at"])
    return flat.reshape(where["shape"]).copy()


def _rejected(one: Rejected) -> dict[str, Any]:
    return {**vars(one), "text": None if one.text is None else _texts([one.text])[0]}


def _to_rejected(fields: Mapping[str, Any]) -> Rejected:
    box, text = fields["box_xyxy"], fields["text"]
    return Rejected(**{**fields, "box_xyxy": box and tuple(box), "text": text and _to_texts([text])[0]})


def _texts(texts: Sequence[Text]) -> list[dict[str, Any]]:
    return [text.model_dump(exclude_none=True) for text in texts]


def _to_texts(values: Sequence[Mapping[str, Any]]) -> list[Text]:
    return [Text(**value) for value in values]


def _replaced(before: Proposal, after: Proposal) -> list[str]:
    """Return the names of the fields that hold another object than before."""
    return [name for name in _FIELDS if getattr(after, name) is not getattr(before, name)]


def _fields(proposal: Proposal, names: Sequence[str], arrays: _Arrays) -> dict[str, Any]:
    """Return some fields of a proposal as JSON takes them."""
    fields: dict[str, Any] = {}
    for name in names:
        value = getattr(proposal, name)
        if name == "shape":
            fields[name] = _shape_fields(value)
        elif name in ("tags", "captions"):
            fields[name] = _texts(value)
        elif name == "embedding":
            fields[name] = None if value is None else arrays.add(value)
        elif name == "score":
            fields[name] = float(value)
        else:
            fields[name] = value
    return fields


def _values(fields: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Return the values of the fields that `_fields` made, by name."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "shape":
            values[name] = _to_shape(value)
        elif name in ("tags", "captions"):
            values[name] = tuple(_to_texts(value))
        elif name == "embedding":
            values[name] = None if value is None else _array(value, data)
        elif name == "point_xy":
            values[name] = value and tuple(value)
        else:
            values[name] = value
    return values


def _shape_fields(shape: PixelMask | Mask | BoxMask) -> dict[str, Any]:
    if isinstance(shape, BoxMask):
        return {"box_xyxy": list(shape.box_xyxy), "image_hw": list(shape.image_hw)}
    mask = shape if isinstance(shape, Mask) else shape.encoded
    return {"size": list(mask.size), "counts": mask.counts, "decoded": isinstance(shape, PixelMask)}


def _to_shape(fields: Mapping[str, Any]) -> PixelMask | Mask | BoxMask:
    if "box_xyxy" in fields:
        (x0, y0, x1, y1), (height, width) = fields["box_xyxy"], fields["image_hw"]
        return BoxMask((x0, y0, x1, y1), (height, width))
    mask = Mask(size=(fields["size"][0], fields["size"][1]), counts=fields["counts"])
    return PixelMask(mask_ops.decode(mask)) if fields["decoded"] else mask
