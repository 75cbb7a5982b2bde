"""Plan a run of the stage: its shards, where their results go, and the digests that identify the run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umgclip import __version__
from umgclip.annotate.cache.file_digests import file_digests
from umgclip.annotate.cache.identity import answer_identities
from umgclip.annotate.calibration.precision import LabelPrecision
from umgclip.annotate.calibration.run import calibrate
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.neighbours import find_neighbours
from umgclip.annotate.teacher import teacher_files
from umgclip.annotate.vocabulary import GivenNames, read_names
from umgclip.annotate.words import note, require_words
from umgclip.data.corrections import open_corrections
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.vocabulary_file import ConceptParams
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.io.manifest import REMOTE, Manifest, read_manifest_at
from umgclip.io.places import Folder, Place, place_at
from umgclip.io.shard_source import shard_at
from umgclip.model.clip.layout import WEIGHTS
from umgclip.params import AnnotateParams
from umgclip.params.section import LOCATION
from umgclip.provenance import code_digest

# the dataset that each output is made from; `proposals` are the benchmark's images again, with their captions hidden
SPLITS = {"train": "train", "benchmark": "benchmark", "proposals": "benchmark"}


@dataclass(frozen=True)
class AnnotationPlan:
    """Everything that one run of the stage has to do.

    Attributes:
        manifests: the manifest of the dataset that each split is made from.
        jobs: the shards of each split.
        recipe: what workers need.
        made_by: digests of what decides the results: params, base, inputs, version of the code.
        given: names that came with the training images.
        folder: where finished shards go: a folder beside the output, in which they wait, or S3, where they stay.
        wordless: why the teacher can name nothing in the training images; None: it can.
        precision: the estimated precision of region labels; None: not estimated.
    """

    manifests: Mapping[str, Manifest]
    jobs: Mapping[str, list[Job]]
    recipe: Recipe
    made_by: Mapping[str, Any]
    given: GivenNames
    folder: Place
    wordless: str | None = None
    precision: LabelPrecision | None = None

    @property
    def digest(self) -> str:
        """The digest of everything that decides the results, inputs and code included."""
        return sha256_json([self.recipe.config, self.made_by["inputs_sha256"]])


def make_plan(params: AnnotateParams, data: Path | str, base: Path, out: Path) -> AnnotationPlan:
    """Read the manifests and the names in the training shards, and decide where each shard's results go.

    Args:
        params: the section `annotate`.
        data: folder or S3 prefix with the datasets.
        base: folder with the base's weights.
        out: the folder that the run makes.

    Raises:
        DataError: a dataset is missing or damaged, its captions name no concept, or no image would get a word.
        InputError: weights or a file that params name are missing.
    """
    params = params.model_copy(update={"roles": params.taught})
    manifests = manifests_of(data)
    bare = {split: jobs_of(_below(data, source), manifests[split], split) for split, source in SPLITS.items()}
    names = read_names(bare["train"], params)
    if (corrections := open_corrections(params.corrections)) is not None:
        for correction in corrections.each():
            names.given.add(correction)
    vocabulary = _concepts(params).vocabulary(names.chunks, params.held_out)
    require_words(params, vocabulary, names)
    precision = calibrate(params, base, vocabulary, bare["train"], names.chunks.seen)
    recipe = make_recipe(params, base, vocabulary, 0.0 if precision is None else precision.bar)
    if params.output is None:
        folder: Place = Folder(out.parent / f".{out.name}.{recipe.config[:16]}")
    else:
        folder = place_at(params.output).within(recipe.config[:16])
    # a shard waits under its own dataset's digest, so that finished shards of `train` survive a new benchmark
    folders = {split: folder.within(f"{split}-{manifest.digest()[:12]}") for split, manifest in manifests.items()}
    jobs = {split: [replace(job, out=folders[split]) for job in bare[split]] for split in SPLITS}
    made_by = {
        "params_sha256": sha256_json(_decisive(params)),
        "base_sha256": sha256_file(base / WEIGHTS),
        **({} if params.teacher is None else {"teacher_sha256": teacher_files(Path(params.teacher), base).digest()}),
        "inputs_sha256": {split: manifest.digest() for split, manifest in manifests.items()},
        "code_version": __version__,
    }
    return AnnotationPlan(manifests, jobs, recipe, made_by, names.given, folder, note(vocabulary, names), precision)


def _concepts(params: AnnotateParams) -> ConceptParams:
    return ConceptParams(
        "annotate", params.min_concept_count, params.language, params.rules.vocabulary, "annotate.rules.vocabulary"
    )


def manifests_of(data: Path | str) -> dict[str, Manifest]:
    """Read the manifest of the dataset that each split is made from."""
    return {split: read_manifest_at(_below(data, source)) for split, source in SPLITS.items()}


def samples_of(manifests: Mapping[str, Manifest]) -> int:
    """Return the number of samples of all splits."""
    return sum(manifest.samples for manifest in manifests.values())


def jobs_of(where: Path | str, manifest: Manifest, split: str) -> list[Job]:
    """Return a job for each shard, named after the end of its path or URL; `make_plan` sets where its results go."""
    names = [s.path.rpartition("/")[2] if s.path.startswith(REMOTE) else s.path for s in manifest.shards]
    if len(set(names)) < len(names):
        names = [f"{number:06d}-{name}" for number, name in enumerate(names)]
    hide, bare = split != "train", split == "proposals"
    return [
        Job(shard_at(where, shard.path), shard, name, Folder(Path()), hide, bare)
        for shard, name in zip(manifest.shards, names, strict=True)
    ]


def make_recipe(params: AnnotateParams, base: Path, vocabulary: Vocabulary, label_bar: float = 0.0) -> Recipe:
    """Return what workers need; its config is the digest of everything that decides the result except the images.

    Args:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: the concepts.
        label_bar: least score of a label that the built-in teacher gives a region.
    """
    weights, files = sha256_file(base / WEIGHTS), file_digests(params, base)
    decides = {
        "params": _decisive(params),
        "base": weights,
        "files": files,
        "vocabulary": [vocabulary.things, vocabulary.stuff, vocabulary.held_out],
        "code": [__version__, code_digest("umgclip.annotate.worker")],
        "output": params.output,
        "label_bar": f"{label_bar}",
    }
    identities = answer_identities(params, weights, vocabulary, files)
    neighbours = None if params.rules.negatives is None else find_neighbours(base, vocabulary, params.label)
    return Recipe(
        params,
        base,
        vocabulary,
        identities,
        sha256_json(decides),
        run=uuid.uuid4().hex,
        neighbours=neighbours,
        label_bar=label_bar,
    )


def _decisive(params: AnnotateParams) -> dict[str, Any]:
    """Return the parameters that decide the result; without a teacher, those of one decide nothing."""
    return params.decisive(LOCATION, unread=["tuned"] if params.teacher is None else [])


def _below(data: Path | str, name: str) -> Path | str:
    return data / name if isinstance(data, Path) else f"{data.rstrip('/')}/{name}"
