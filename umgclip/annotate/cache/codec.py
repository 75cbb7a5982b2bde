"""Answers as JSON and the bytes of their arrays; what comes back is equal to the last bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from umgclip.annotate.proposal import BoxMask, Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.roles import Partly
from umgclip.geometry import masks as mask_ops
from umgclip.records import Mask, Text

State = Mapping[str, Any]
_PLACE = ("_shape", "score", "is_stuff", "tags", "captions", "embedding", "source", "mask_source")


class Packed(NamedTuple):
    """An answer: JSON, in which an array is its type, shape and offset, and all arrays' bytes."""

    json: str
    arrays: bytes


def states(proposals: Sequence[Proposal]) -> list[State]:
    """What is known of proposals now, to tell later what a role changed, or to take it back."""
    return [
        {name: list(value) if isinstance(value, list) else value for name, value in p.__dict__.items()}
        for p in proposals
    ]


def restore(proposals: Sequence[Proposal], before: Sequence[State]) -> None:
    """Take back what a role changed."""
    for proposal, state in zip(proposals, before, strict=True):
        proposal.__dict__.update({k: list(v) if isinstance(v, list) else v for k, v in state.items()})


def pack(role: str, answer: Any, proposals: Sequence[Proposal] = (), before: Sequence[State] = ()) -> Packed:  # noqa: ANN401
    """An answer of a role.

    Args:
        role: one of `QUESTIONS`.
        answer: what its method gave for one row.
        proposals: the row's, after the role; regions that it kept are some of them.
        before: their states before.
    """
    arrays = _Arrays()
    value: Any
    if role == "proposer":
        value = [_fields(p, _PLACE, arrays) for p in answer]
    elif role in ("region_tagger", "masker", "region_embedder"):
        row_of = {id(p): row for row, p in enumerate(proposals)}
        kept = [row_of[id(p)] for p in answer] if role == "region_tagger" else range(len(proposals))
        value = {
            "kept": list(kept),
            "changes": [_fields(proposals[row], _changed(proposals[row], before[row]), arrays) for row in kept],
        }
    elif role == "policy":
        value = [_rejected(one) for one in answer]
    elif role == "image_embedder":
        value = arrays.add(answer)
    elif role == "filter":
        value = float(answer)
    elif role == "region_captioner":
        value = [_texts(texts) for texts in answer]
    else:
        value = _texts(answer)
    if isinstance(answer, Partly):
        value = {"parts": value, "refused": [_rejected(one) for one in answer.refused]}
    return Packed(json.dumps(value, ensure_ascii=False, separators=(",", ":")), b"".join(arrays.parts))


def unpack(role: str, packed: Packed, proposals: Sequence[Proposal] = ()) -> Any:  # noqa: ANN401
    """The answer; proposals are changed as the role would change them."""
    value = json.loads(packed.json)
    if isinstance(value, dict) and "refused" in value:
        parts = unpack(role, Packed(json.dumps(value["parts"]), packed.arrays), proposals)
        return Partly(parts, [_to_rejected(fields) for fields in value["refused"]])
    if role == "proposer":
        return [_proposal(fields, packed.arrays) for fields in value]
    if role in ("region_tagger", "masker", "region_embedder"):
        for row, fields in zip(value["kept"], value["changes"], strict=True):
            _set(proposals[row], fields, packed.arrays)
        return [proposals[row] for row in value["kept"]] if role == "region_tagger" else None
    if role == "policy":
        return [_to_rejected(fields) for fields in value]
    if role == "image_embedder":
        return _array(value, packed.arrays)
    if role == "filter":
        return value
    if role == "region_captioner":
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


def _changed(proposal: Proposal, before: State) -> list[str]:
    """Names of what is another thing now; lists are compared, since `before` holds copies."""
    now = proposal.__dict__
    return [
        name
        for name in _PLACE
        if (now[name] != before[name] if isinstance(now[name], list) else now[name] is not before[name])
    ]


def _fields(proposal: Proposal, names: Sequence[str], arrays: _Arrays) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in names:
        value = proposal.__dict__[name]
        if name == "_shape":
            box = value if isinstance(value, BoxMask) else None
            mask = proposal.encoded()
            fields["mask"] = None if mask is None else [list(mask.size), mask.counts, isinstance(value, np.ndarray)]
            fields["box"] = None if box is None else [list(box.box_xyxy), list(box.image_hw)]
        elif name in ("tags", "captions"):
            fields[name] = _texts(value)
        elif name == "embedding":
            fields[name] = None if value is None else arrays.add(value)
        elif name == "score":
            fields[name] = float(value)
        else:
            fields[name] = value
    return fields


def _set(proposal: Proposal, fields: Mapping[str, Any], data: bytes) -> None:
    for name, value in fields.items():
        if name in ("mask", "box"):
            if value is not None:
                proposal.reshape(_shape(name, value))
        elif name in ("tags", "captions"):
            setattr(proposal, name, _to_texts(value))
        elif name == "embedding":
            proposal.embedding = None if value is None else _array(value, data)
        else:
            setattr(proposal, name, value)


def _shape(name: str, value: Sequence[Any]) -> np.ndarray | Mask | BoxMask:
    if name == "mask":
        mask = Mask(size=(value[0][0], value[0][1]), counts=value[1])
        return mask_ops.decode(mask) if value[2] else mask
    x0, y0, x1, y1 = value[0]
    return BoxMask((x0, y0, x1, y1), (value[1][0], value[1][1]))


def _proposal(fields: Mapping[str, Any], data: bytes) -> Proposal:
    name = "mask" if fields["mask"] is not None else "box"
    proposal = Proposal(_shape(name, fields[name]), fields["score"])
    _set(proposal, {k: v for k, v in fields.items() if k not in ("mask", "box")}, data)
    return proposal
