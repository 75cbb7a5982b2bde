"""In which order shards go through the pools of workers when some models have pools of their own."""

from __future__ import annotations

import itertools

from umgclip.params import AnnotateParams

_EMBEDDER = "clip_teacher"
_NOBODY = ("none", "given")


def chain(params: AnnotateParams) -> list[str | None]:
    """Names of pools in the order in which the annotator asks their models; None: the pool of all others, always last.

    A model that is asked at two places has a pool at each, since what it says later rests on what others said between.
    """
    owners = [name if name in params.ray.pools else None for name in _asked(params)]
    return [owner for owner, _ in itertools.groupby([*owners, None])]


def others(params: AnnotateParams) -> frozenset[str]:
    """Models without a pool of their own, built-ins included."""
    return frozenset(_asked(params)) - frozenset(params.ray.pools)


def _asked(params: AnnotateParams) -> list[str]:
    roles = params.roles
    filters = roles.of("filter")
    names = [
        *roles.of("policy"),
        *roles.of("proposer"),
        *roles.of("region_tagger"),
        *roles.of("masker"),
        *roles.of("region_captioner"),
        *(filters if params.rules.region_caption_threshold is not None else []),
        _EMBEDDER,
        *roles.of("tagger"),
        *roles.of("captioner"),
        *filters,
    ]
    return [name for name in names if name not in _NOBODY]
