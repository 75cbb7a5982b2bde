"""Digests of the input of a role: the image, and those parts of caption and regions that the role reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from umgclip.annotate.cache.role_calls import RoleCall
from umgclip.annotate.catalog import CATALOG, Part
from umgclip.annotate.proposal import Proposal


def input_digest(call: RoleCall, kind: str, image: str, row: Sequence[Any]) -> str:
    """Return the hex SHA-256 of one row of the input.

    Args:
        call: the call of a role.
        kind: the kind of the model that answers.
        image: digest of the image of the row.
        row: one item of each column of the call.
    """
    reads = CATALOG[kind].use(call.role).reads
    seen: dict[str, Any] = {"image": image}
    for column, value in zip(call.columns, row, strict=True):
        if column == "text" or (column == "caption" and "caption" in reads):
            seen[column] = value
        elif column == "proposals":
            seen[column] = [_region(proposal, reads) for proposal in value]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _region(proposal: Proposal, reads: frozenset[Part]) -> list[Any]:
    mask = proposal.encoded() if "mask" in reads else None
    point = [proposal.point_xy] if proposal.point_xy is not None and "box" in reads else []
    return [
        proposal.box_xyxy if "box" in reads else None,
        None if mask is None else mask.counts,
        proposal.is_stuff if "is_stuff" in reads else None,
        proposal.score if "score" in reads else None,
        [text.model_dump(exclude_none=True) for text in proposal.tags] if "tags" in reads else None,
        [text.model_dump(exclude_none=True) for text in proposal.captions] if "captions" in reads else None,
        bool(proposal.tags) if "tagged" in reads else None,
        proposal.embedding is not None if "embedded" in reads else None,
        *point,
    ]
