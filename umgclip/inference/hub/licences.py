"""The licence of a model's weights, as far as its base and its data say it; what is not known is said to be unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from umgclip.params import SCRATCH

UNKNOWN, OTHER = "unknown", "other"  # the hub's own words
# of open_clip's tags, as the hub's pages of these weights name them; docs/models.md says more
_BASES = (
    (re.compile(r"openai"), "mit"),
    (re.compile(r"laion\w*|datacomp\w*|commonpool\w*"), "mit"),
    (re.compile(r"merged2b\w*"), "mit"),  # EVA-CLIP
    (re.compile(r"webli"), "apache-2.0"),  # SigLIP, SigLIP 2
    (re.compile(r"meta"), "apache-2.0"),  # Perception Encoder
)
_NAMES = (
    (re.compile(r"CC[ -]?(BY(?:[ -](?:NC|ND|SA))*)[ -](\d\.\d)"), "cc-{}-{}"),
    (re.compile(r"CC0|PUBLIC DOMAIN DEDICATION"), "cc0-1.0"),
    (re.compile(r"APACHE[ -]?(?:LICENSE[ ,-]*)?(?:VERSION )?2"), "apache-2.0"),
    (re.compile(r"\bMIT\b"), "mit"),
    (re.compile(r"BSD[ -]3"), "bsd-3-clause"),
)
_PERMISSIVE = {"mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "bsd-3-clause"}
_SHARE_ALIKE = "cc-by-sa-4.0"


@dataclass(frozen=True)
class WeightsLicence:
    """A licence by the hub's identifier, and the sentences that say where it is from."""

    identifier: str
    reasons: tuple[str, ...]


def licence_of(base: Mapping[str, Any], data: Iterable[Mapping[str, Any]], given: str | None = None) -> WeightsLicence:
    """Return the licence that a model can be passed on with.

    Args:
        base: `model` and `pretrained` of the base, may be empty.
        data: the data that it was trained on, each with `dataset`, `license` and `part`.
        given: what the publisher says, by the hub's identifier; it counts.

    Returns:
        `given`; else the one licence that base and data have in common, or the share-alike one among permissive ones;
        else `other`, and `unknown` where a part of it is not known.
    """
    parts: list[str | None] = []
    reasons = []
    pretrained = str(base.get("pretrained") or "")
    if pretrained and pretrained != SCRATCH:
        parts.append(_of_base(pretrained))
        reasons.append(
            f"Base weights `{_short(pretrained)}`: {parts[-1] or 'licence not known to umgclip; read its page'}."
        )
    elif pretrained:
        reasons.append("The base was trained from random weights, so no other maker's licence applies.")
    else:
        parts.append(None)
        reasons.append("Base weights: not recorded.")
    sources = {(str(one.get("dataset")), str(one.get("license"))) for one in data if one.get("part") != "benchmark"}
    parts += [identifier_of(licence) for _, licence in sorted(sources)]
    reasons += [f"Training data `{dataset}`: {licence}." for dataset, licence in sorted(sources)]
    if not sources:
        parts.append(None)
        reasons.append("Training data: not recorded.")
    if given is not None:
        return WeightsLicence(given, (f"The publisher states `{given}`.", *reasons))
    return WeightsLicence(_joined(parts), tuple(reasons))


def identifier_of(licence: str) -> str | None:
    """Return the hub's identifier of a licence by its usual names; None for others."""
    upper = licence.upper()
    for pattern, identifier in _NAMES:
        if match := pattern.search(upper):
            return identifier.format(*(group.replace(" ", "-").lower() for group in match.groups()))
    return None


def _of_base(pretrained: str) -> str | None:
    return next((licence for pattern, licence in _BASES if pattern.fullmatch(pretrained)), None)


def _joined(parts: Iterable[str | None]) -> str:
    names = set(parts)
    if None in names or not names:
        return UNKNOWN
    if len(names) == 1:
        return str(names.pop())
    restrictive = names - _PERMISSIVE
    return _SHARE_ALIKE if restrictive == {_SHARE_ALIKE} else OTHER


def _short(pretrained: str) -> str:
    """Return a tag as it is, and of a path its last part, because the rest is of the maker's machine."""
    return pretrained.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
