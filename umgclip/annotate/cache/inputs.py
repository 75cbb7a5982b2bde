"""Digests of what a role looks at: of its image, and of only so much of caption and regions as it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from umgclip.annotate.cache.role_calls import Question
from umgclip.annotate.proposal import Proposal

_ALL = frozenset({"caption", "box", "mask", "is_stuff", "tags", "captions", "score", "embedded"})
_CAPTION = frozenset({"caption"})
_BOX = frozenset({"box"})
# what each kind reads in each role, beside the image or text itself; what is not listed here reads everything
_READS: Mapping[tuple[str, str], frozenset[str]] = {
    **dict.fromkeys(
        [("proposer", k) for k in ("segment_tree", "florence2", "detr", "rt_detr_v2", "mask2former", "sam2", "vlm")],
        frozenset(),
    ),
    **dict.fromkeys([("policy", k) for k in ("face", "nsfw")], frozenset()),
    ("region_tagger", "clip_teacher"): frozenset({"caption", "box", "mask", "is_stuff", "tags"}),
    ("region_tagger", "clip"): frozenset({"box", "is_stuff", "tags"}),
    ("masker", "grabcut"): frozenset({"box", "mask", "is_stuff", "tagged"}),
    ("masker", "sam2"): frozenset({"box", "is_stuff"}),
    ("region_captioner", "clip_teacher"): frozenset({"is_stuff", "tags"}),
    **dict.fromkeys([("region_captioner", k) for k in ("florence2", "blip2", "qwen3_vl", "vlm")], _BOX),
    ("tagger", "clip_teacher"): _CAPTION,
    **dict.fromkeys([("tagger", k) for k in ("clip", "florence2", "vlm")], frozenset()),
    ("captioner", "clip_teacher"): frozenset({"box", "is_stuff", "tags"}),
    **dict.fromkeys([("captioner", k) for k in ("florence2", "blip2", "qwen3_vl", "vlm")], frozenset()),
    ("region_embedder", "clip_teacher"): frozenset({"box", "mask", "is_stuff", "embedded"}),
}


def input_digest(question: Question, kind: str, image: str, row: Sequence[Any]) -> str:
    """Hex SHA-256 of one row.

    Args:
        question: what is asked.
        kind: of the model.
        image: digest of the row's image.
        row: one item of each column of the question.
    """
    reads = _READS.get((question.role, kind), _ALL)
    seen: dict[str, Any] = {"image": image}
    for column, value in zip(question.columns, row, strict=True):
        if column == "text" or (column == "caption" and "caption" in reads):
            seen[column] = value
        elif column == "proposals":
            seen[column] = [_region(proposal, reads) for proposal in value]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _region(proposal: Proposal, reads: frozenset[str]) -> list[Any]:
    mask = proposal.encoded() if "mask" in reads else None
    return [
        proposal.box_xyxy if "box" in reads else None,
        None if mask is None else mask.counts,
        proposal.is_stuff if "is_stuff" in reads else None,
        proposal.score if "score" in reads else None,
        [text.model_dump(exclude_none=True) for text in proposal.tags] if "tags" in reads else None,
        [text.model_dump(exclude_none=True) for text in proposal.captions] if "captions" in reads else None,
        bool(proposal.tags) if "tagged" in reads else None,
        proposal.embedding is not None if "embedded" in reads else None,
    ]
