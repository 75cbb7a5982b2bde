"""The parts of an annotator, made from the params: the models that fill each role, each loaded once."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip import extras
from umgclip.annotate.cache.cache import AnswerCache
from umgclip.annotate.cache.cached_model import CachedModel
from umgclip.annotate.cache.identity import model_kind
from umgclip.annotate.cache.lazy_model import LazyModel
from umgclip.annotate.catalog import CATALOG, EXTRAS
from umgclip.annotate.models.grabcut import GrabCut
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.roles import (
    Captioner,
    Embedder,
    Filter,
    Masker,
    Negator,
    Policy,
    Proposer,
    RegionCaptioner,
    RegionTagger,
    Tagger,
)
from umgclip.annotate.rules.apply import RuleSet
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.vocabulary_file import read_vocabulary
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.model.clip.layout import WEIGHTS
from umgclip.params import AnnotateParams

if TYPE_CHECKING:
    from umgclip.annotate.models.clip_teacher import ClipTeacher
    from umgclip.annotate.models.tuned_teacher import TunedTeacher


@dataclass(frozen=True)
class Parts:
    """The models that fill each role; a role with an empty tuple, or without a filter, is skipped."""

    embedder: Embedder
    proposers: tuple[Proposer, ...]
    maskers: tuple[Masker, ...]
    region_taggers: tuple[RegionTagger, ...]
    region_captioners: tuple[RegionCaptioner, ...]
    taggers: tuple[Tagger, ...]
    captioners: tuple[Captioner, ...]
    filter: Filter | None
    keeps_given_labels: bool = False
    policies: tuple[Policy, ...] = ()
    refusing: frozenset[str] = frozenset()  # names of the policies that put an image aside
    negators: tuple[Negator, ...] = ()


def assemble(
    params: AnnotateParams, base: Path, vocabulary: Vocabulary, cache: AnswerCache, loads: Collection[str] | None = None
) -> tuple[Parts, RuleSet]:
    """Return the models of each role behind the cache, and the rules; no model is loaded yet.

    Args:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: the concepts.
        cache: holds the stored answers.
        loads: models that may be loaded; None: all.

    Raises:
        InputError: the file of `rules.vocabulary` is not a vocabulary.
    """
    params = params.model_copy(update={"roles": params.taught})
    teacher = functools.cache(lambda: load_teacher(params, base, vocabulary))
    built_in: dict[str, Callable[[], Any]] = {
        "clip_teacher": teacher,
        "tuned_teacher": lambda: _tuned(params, base, vocabulary, teacher()),
        "segment_tree": lambda: SegmentTree(params.proposer),
        "grabcut": lambda: GrabCut(params.masker),
    }
    models: dict[str, CachedModel] = {}

    def ask(name: str) -> CachedModel:
        if name not in models:
            build = built_in.get(name) or functools.partial(build_model, params.models, name, vocabulary)
            models[name] = CachedModel(
                LazyModel(name, model_kind(params, name), build, loads is None or name in loads), cache
            )
        return models[name]

    def fill(role: str) -> tuple[CachedModel, ...]:
        return tuple(ask(name) for name in params.roles.of(role) if name not in ("none", "given"))

    parts = Parts(
        embedder=ask("clip_teacher"),
        proposers=fill("proposer"),
        maskers=fill("masker"),
        region_taggers=fill("region_tagger"),
        region_captioners=fill("region_captioner"),
        taggers=fill("tagger"),
        captioners=fill("captioner"),
        filter=next(iter(fill("filter")), None),
        keeps_given_labels="given" in params.roles.region_tagger,
        policies=fill("policy"),
        negators=fill("negator") if params.rules.negatives is not None else (),
        refusing=frozenset(n for n, m in params.models.items() if getattr(m, "action", None) == "quarantine"),
    )
    synonyms = read_vocabulary(Path(params.rules.vocabulary)).synonyms if params.rules.vocabulary else {}
    names = TagNames(vocabulary.concepts, synonyms)
    held_out = frozenset(map(name_key, params.held_out))
    english = params.language == "en"
    return parts, RuleSet(params.rules, vocabulary, names, params.caption_threshold, held_out, english)


def load_teacher(params: AnnotateParams, base: Path, vocabulary: Vocabulary) -> ClipTeacher:
    """Load the base as an annotator."""
    # torch and the towers are not needed if all answers are stored
    from umgclip.annotate.models.clip_teacher import ClipTeacher
    from umgclip.model.clip import files
    from umgclip.model.clip.tower import DenseClip

    clip, _ = files.load(base)
    return ClipTeacher(DenseClip(clip), f"clip_teacher/{sha256_file(base / WEIGHTS)[:12]}", vocabulary, params.label)


def _tuned(params: AnnotateParams, base: Path, vocabulary: Vocabulary, teacher: ClipTeacher) -> TunedTeacher:
    """Load the tuned model of `annotate.teacher` beside the base."""
    from umgclip.annotate.models.tuned_reader import TunedReader, load_reader
    from umgclip.annotate.models.tuned_teacher import TunedTeacher
    from umgclip.annotate.teacher import teacher_files

    if params.teacher is None:
        raise InputError("annotate.teacher: expected the tuned model of tuned_teacher, got null")
    files = teacher_files(Path(params.teacher), base)
    name = f"tuned_teacher/{files.digest()[:12]}"
    tuned = TunedReader(load_reader(files, params.label), name, vocabulary, params.label.temperature_factor)
    return TunedTeacher(teacher, tuned, vocabulary, params.tuned)


def build_model(models: Mapping[str, Any], name: str, vocabulary: Vocabulary) -> Any:  # noqa: ANN401 - fills several roles
    """Build a model of `annotate.models`, with its weights on its device.

    Args:
        models: `annotate.models`.
        name: of the model.
        vocabulary: the concepts, for kinds that read them.

    Raises:
        InputError: its weights are not on this machine, or a package that it needs is not installed.
    """
    params, where = models[name], f"annotate.models.{name}"
    kind = CATALOG[params.kind]
    if kind.extra is not None:
        _require(kind.extra, where)
    module, _, called = kind.path.partition(":")
    build = getattr(importlib.import_module(module), called)
    return build(params, where, vocabulary) if kind.reads_vocabulary else build(params, where)


def _require(extra: str, where: str) -> None:
    """Check that the package of an extra is installed.

    Raises:
        InputError: it is not.
    """
    package = EXTRAS[extra]
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{where}: expected {package}, which is not installed; run: {extras.install(extra)}"
        ) from error
