"""The catalog of annotator kinds: one row for each, with its class and what the cache must know about it.

The parameters of a kind, and the roles that it may fill, are in `umgclip.params.annotators`. This module is plain data
that every other module of `annotate` may import: it names classes as text, so that nothing is imported before a model
is built. `umgclip.provenance.sources` follows these texts as it follows imports, so digests of code cover the kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["caption", "box", "mask", "is_stuff", "tags", "tagged", "captions", "score", "embedded"]
"""A part of what a role is given: the caption, or something of each region. `tagged`: whether a region has a tag;
`embedded`: whether it has an embedding."""
Words = Literal["any", "vocabulary", "caption", "none"]
"""The words that a kind can write: any; concepts of the vocabulary; concepts that the caption names; none."""

EXTRAS: Mapping[str, str] = {"foundation": "transformers", "vlm": "httpx"}
"""The package to look for, by the extra of `pip install "umgclip[EXTRA]"` that brings it."""

_EVERYTHING: frozenset[Part] = frozenset(
    {"caption", "box", "mask", "is_stuff", "tags", "captions", "score", "embedded"}
)
_NOTHING: frozenset[Part] = frozenset()
_CAPTION: frozenset[Part] = frozenset({"caption"})
_BOX: frozenset[Part] = frozenset({"box"})


@dataclass(frozen=True)
class RoleUse:
    """The inputs and parameters that decide the answers of a kind in one role.

    Attributes:
        reads: the parts of captions and regions that it looks at, besides the image, or the text of a filter.
        unread: parameters of the kind that it does not read in this role.
        by_queries: whether its words are those of the parameter `queries`, unless that is null.
    """

    reads: frozenset[Part] = _EVERYTHING
    unread: frozenset[str] = frozenset()
    by_queries: bool = False


_UNLISTED = RoleUse()


@dataclass(frozen=True)
class AnnotatorKind:
    """One row of the catalog: how a kind is built and cached.

    Attributes:
        path: the class, as in `umgclip.annotate.models.policy.face:Face`. It is called with the parameters and, for
            messages, their name in `params.yaml`; with the vocabulary as well if it reads that in some role.
        uses: by role. In a role that is not listed, the kind reads everything and all parameters count.
        words: what it can write.
        extra: the optional dependencies that it needs, a key of `EXTRAS`.
    """

    path: str
    uses: Mapping[str, RoleUse] = field(default_factory=dict)
    words: Words = "any"
    extra: str | None = None

    @property
    def module(self) -> str:
        """The name of the module that defines the class."""
        return self.path.partition(":")[0]

    @property
    def reads_vocabulary(self) -> bool:
        """True if the vocabulary decides the answers of this kind in some role."""
        return self.words in ("vocabulary", "caption") or any(use.by_queries for use in self.uses.values())

    def words_in(self, role: str, queries: object) -> Words:
        """Return what it can write in a role.

        Args:
            role: one that it may fill.
            queries: the parameter of that name; None where it is null, or the kind has none.
        """
        return "vocabulary" if self.use(role).by_queries and queries is not None else self.words

    def use(self, role: str) -> RoleUse:
        """Return what decides its answers in a role."""
        return self.uses.get(role, _UNLISTED)


def _use(reads: frozenset[Part], *unread: str) -> RoleUse:
    return RoleUse(reads, frozenset(unread))


_CROP = ("crop_px", "object_share", "fill")
_LABELLING = (
    "looks_at_least", "looks_per_noun", "temperature_factor", "threshold", "stuff_threshold", "overlap",
    "keep_unlabelled",
)  # fmt: skip
_PRECISION = ("precision", "precision_images")  # a rule applies the threshold that follows from them
_TEACHER = {
    "image_embedder": _use(_EVERYTHING, *_CROP, *_LABELLING, *_PRECISION),
    "region_embedder": _use(frozenset({"box", "mask", "is_stuff", "embedded"}), *_LABELLING, *_PRECISION),
    "region_tagger": _use(frozenset({"caption", "box", "mask", "is_stuff", "tags"}), *_PRECISION),
    "region_captioner": _use(
        frozenset({"is_stuff", "tags"}), *_CROP, "batch", "device", "dtype", *_LABELLING, *_PRECISION
    ),
    "tagger": _use(_CAPTION, *_CROP, *(name for name in _LABELLING if name != "temperature_factor"), *_PRECISION),
    "captioner": _use(
        frozenset({"box", "is_stuff", "tags"}), *_CROP, "batch", "device", "dtype", *_LABELLING, *_PRECISION
    ),
    "filter": _use(_EVERYTHING, *_CROP, *_LABELLING, *_PRECISION),
}
_FLORENCE2 = {
    "proposer": _use(_NOTHING, "captions", "regions"),
    "tagger": _use(_NOTHING, "captions", "boxes", "regions"),
    "captioner": _use(_NOTHING, "boxes", "regions"),
    "region_captioner": _use(_BOX, "captions", "boxes"),
}
_SAM2 = {
    "masker": _use(
        frozenset({"box", "is_stuff"}), "pred_iou", "stability", "points_per_side", "points_per_batch", "most"
    ),
    "proposer": _use(_NOTHING, "min_box_iou"),
}
_SAM3 = {
    "masker": _use(
        frozenset({"box", "is_stuff"}), "queries", "threshold", "stuff_threshold", "rival_iou", "overlap", "most"
    ),
    "proposer": _use(_CAPTION, "min_box_iou"),
}
_CLIP = {
    "filter": _use(_EVERYTHING, "template", "threshold", "thresholds", "most", "crop_context"),
    "tagger": _use(_NOTHING, "crop_context"),
    "region_tagger": _use(frozenset({"box", "is_stuff", "tags"}), "most"),
}
_VLM_WORDS = ("prompt", "tags_prompt", "region_prompt", "negatives_prompt")
_VLM_PLACES = ("box_unit", "queries", "names_per_question", "boxes_prompt", "queries_prompt")
_REGION: frozenset[Part] = frozenset({"box", "mask"})


def _vlm(reads: frozenset[Part], prompt: str, *unread: str) -> RoleUse:
    """Return what decides the answers of a `vlm` in a role that gives words, by the parameter with its prompt."""
    return _use(reads, *(name for name in _VLM_WORDS if name != prompt), *unread)


_VLM = {
    "captioner": _vlm(_NOTHING, "prompt", *_VLM_PLACES, "grammar", "regions", "crop_context"),
    "tagger": _vlm(_NOTHING, "tags_prompt", *_VLM_PLACES, "grammar", "regions", "crop_context"),
    "proposer": RoleUse(_CAPTION, frozenset({*_VLM_WORDS, "answers", "regions", "crop_context"}), by_queries=True),
    "region_captioner": _vlm(_REGION, "region_prompt", *_VLM_PLACES[1:]),
    "negator": _vlm(_REGION | {"tags", "captions"}, "negatives_prompt", *_VLM_PLACES[1:]),
}

_TUNED = {
    "region_tagger": _use(frozenset({"caption", "box", "mask", "is_stuff", "tags"})),
    "tagger": _use(_CAPTION, *_CROP, *(name for name in _LABELLING if name != "temperature_factor")),
    "filter": _use(_EVERYTHING, *_CROP, *_LABELLING),
}

CATALOG: Mapping[str, AnnotatorKind] = {
    "clip_teacher": AnnotatorKind("umgclip.annotate.models.clip_teacher:ClipTeacher", _TEACHER, words="caption"),
    "tuned_teacher": AnnotatorKind("umgclip.annotate.models.tuned_teacher:TunedTeacher", _TUNED, words="vocabulary"),
    "segment_tree": AnnotatorKind(
        "umgclip.annotate.models.segment_tree:SegmentTree", {"proposer": _use(_NOTHING)}, words="none"
    ),
    "grabcut": AnnotatorKind(
        "umgclip.annotate.models.grabcut:GrabCut",
        {"masker": _use(frozenset({"box", "mask", "is_stuff", "tagged"}))},
        words="none",
    ),
    "florence2": AnnotatorKind(
        "umgclip.annotate.models.foundation.florence2:Florence2", _FLORENCE2, extra="foundation"
    ),
    "grounding_dino": AnnotatorKind(
        "umgclip.annotate.models.foundation.grounding_dino:GroundingDino", words="vocabulary", extra="foundation"
    ),
    "mm_grounding_dino": AnnotatorKind(
        "umgclip.annotate.models.foundation.grounding_dino:GroundingDino", words="vocabulary", extra="foundation"
    ),
    "owlv2": AnnotatorKind("umgclip.annotate.models.foundation.owlv2:Owlv2", words="vocabulary", extra="foundation"),
    "detr": AnnotatorKind(
        "umgclip.annotate.models.foundation.detr:Detr", {"proposer": _use(_NOTHING)}, extra="foundation"
    ),
    "rt_detr_v2": AnnotatorKind(
        "umgclip.annotate.models.foundation.detr:Detr", {"proposer": _use(_NOTHING)}, extra="foundation"
    ),
    "mask2former": AnnotatorKind(
        "umgclip.annotate.models.foundation.mask2former:Mask2Former", {"proposer": _use(_NOTHING)}, extra="foundation"
    ),
    "sam2": AnnotatorKind("umgclip.annotate.models.foundation.sam2:Sam2", _SAM2, words="none", extra="foundation"),
    "sam3": AnnotatorKind(
        "umgclip.annotate.models.foundation.sam3:Sam3", _SAM3, words="vocabulary", extra="foundation"
    ),
    "clip": AnnotatorKind(
        "umgclip.annotate.models.foundation.clip:Clip", _CLIP, words="vocabulary", extra="foundation"
    ),
    "blip2": AnnotatorKind(
        "umgclip.annotate.models.foundation.blip2:Blip2",
        {"captioner": _use(_NOTHING, "crop_context"), "region_captioner": _use(_BOX)},
        extra="foundation",
    ),
    "qwen3_vl": AnnotatorKind(
        "umgclip.annotate.models.foundation.qwen3_vl:Qwen3Vl",
        {
            "captioner": _use(_NOTHING, "region_prompt", "crop_context"),
            "region_captioner": _use(_BOX, "prompt"),
        },
        extra="foundation",
    ),
    "vlm": AnnotatorKind("umgclip.annotate.models.vlm.annotator:Vlm", _VLM, extra="vlm"),
    "face": AnnotatorKind(
        "umgclip.annotate.models.policy.face:Face", {"policy": _use(_NOTHING, "action")}, words="none"
    ),
    "nsfw": AnnotatorKind(
        "umgclip.annotate.models.policy.nsfw:Nsfw",
        {"policy": _use(_NOTHING, "action")},
        words="none",
        extra="foundation",
    ),
}
