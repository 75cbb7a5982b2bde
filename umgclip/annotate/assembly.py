"""An annotator's parts from the params: who fills which role, each model loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from umgclip.annotate.clip_teacher import ClipTeacher
from umgclip.annotate.grabcut import GrabCut
from umgclip.annotate.judge import Judge
from umgclip.annotate.roles import Captioner, Embedder, Filter, Masker, Proposer, RegionCaptioner, RegionTagger, Tagger
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.annotate.rules.vocabulary_file import read_vocabulary
from umgclip.annotate.segment_tree import SegmentTree
from umgclip.data.concepts import Vocabulary
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.model import files
from umgclip.model.layout import WEIGHTS
from umgclip.model.tower import DenseClip
from umgclip.params import AnnotateParams


@dataclass(frozen=True)
class Parts:
    """What fills each role; an empty tuple, or no filter: the role is not asked."""

    embedder: Embedder
    proposers: tuple[Proposer, ...]
    maskers: tuple[Masker, ...]
    region_taggers: tuple[RegionTagger, ...]
    region_captioners: tuple[RegionCaptioner, ...]
    taggers: tuple[Tagger, ...]
    captioners: tuple[Captioner, ...]
    filter: Filter | None
    keeps_given_labels: bool = False


def assemble(params: AnnotateParams, base: Path, vocabulary: Vocabulary) -> tuple[Parts, Judge]:
    """Load what the roles name.

    Raises:
        InputError: weights are not on this machine, or the vocabulary file is not one.
    """
    clip, _ = files.load(base)
    name = f"clip_teacher/{sha256_file(base / WEIGHTS)[:12]}"
    teacher = ClipTeacher(DenseClip(clip), name, vocabulary, params.label)
    built_in: dict[str, Callable[[], Any]] = {
        "clip_teacher": lambda: teacher,
        "segment_tree": lambda: SegmentTree(params.proposer),
        "grabcut": lambda: GrabCut(params.masker),
    }
    loaded: dict[str, Any] = {}

    def fill(role: str) -> tuple[Any, ...]:
        wanted = [name for name in params.roles.of(role) if name not in ("none", "given")]
        for name in wanted:
            if name not in loaded:
                loaded[name] = built_in[name]() if name in built_in else build_model(params.models, name, vocabulary)
        return tuple(loaded[name] for name in wanted)

    parts = Parts(
        embedder=teacher,
        proposers=cast("tuple[Proposer, ...]", fill("proposer")),
        maskers=cast("tuple[Masker, ...]", fill("masker")),
        region_taggers=cast("tuple[RegionTagger, ...]", fill("region_tagger")),
        region_captioners=cast("tuple[RegionCaptioner, ...]", fill("region_captioner")),
        taggers=cast("tuple[Tagger, ...]", fill("tagger")),
        captioners=cast("tuple[Captioner, ...]", fill("captioner")),
        filter=next(iter(fill("filter")), None),
        keeps_given_labels="given" in params.roles.region_tagger,
    )
    synonyms = read_vocabulary(Path(params.rules.vocabulary)).synonyms if params.rules.vocabulary else {}
    names = TagNames(vocabulary.concepts, synonyms)
    return parts, Judge(params.rules, vocabulary, names, params.caption_threshold, frozenset(params.held_out))


def build_model(models: Mapping[str, Any], name: str, vocabulary: Vocabulary) -> Any:  # noqa: ANN401 - fills several roles
    """One entry of `annotate.models`, with its weights where they belong.

    Raises:
        InputError: its weights are not on this machine, or a package that it needs is not installed.
    """
    params, where = models[name], f"annotate.models.{name}"
    if params.kind == "vlm":
        try:
            from umgclip.annotate.vlm.annotator import Vlm
        except ImportError as error:
            raise InputError(f"{where}: expected httpx, which is not installed: umgclip[vlm]") from error
        return Vlm(params, where)
    # transformers takes seconds to import, and annotators without downloaded weights do without it
    from umgclip.annotate.foundation.build import build

    return build(params, where, vocabulary)
