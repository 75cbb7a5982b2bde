"""A few demo images, a tiny random teacher, and shards annotated in the test's own process."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from umgclip.annotate import stage
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.plan import jobs_of, make_recipe
from umgclip.annotate.progress import Tally
from umgclip.annotate.worker import ShardWorker
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import Vocabulary, mine
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, DataParams, LabelParams, TowerParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo

TINY = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)


def params_of(**changes) -> AnnotateParams:
    """Params for the demo's images and a random teacher, with changes."""
    given = {"workers": 1, "batch": 2, "min_concept_count": 1, "max_failed": 0.4, "label": LabelParams(threshold=0.0)}
    return AnnotateParams(**{**given, **changes})


def job_of(data: Path, out: Path, **changes) -> Job:
    """The first shard of `train`."""
    (first, *_) = jobs_of(data / "train", read_manifest(data / "train"), "train")
    return Job(first.source, first.info, first.name, Folder(out), **changes)


def vocabulary_of(data: Path) -> Vocabulary:
    return mine((parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(data / "train")), 1)


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` (12 images in two shards) and `benchmark` (2 scenes, an object). Read only."""
    folder = tmp_path_factory.mktemp("few") / "data"
    write_demo(DataParams(train_scenes=12, benchmark_scenes=2, benchmark_singles=1, shard_samples=6), folder)
    return folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    config = files.tower_config(TINY)
    files.save(folder, files.build(config), config)
    return folder


@pytest.fixture(scope="session")
def undisturbed(few: Path, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first shard, annotated in three batches of two."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ShardWorker(Recipe(params_of(), teacher_folder, vocabulary_of(few))).annotate(job_of(few, folder), Tally().add)
    return folder


@pytest.fixture
def shard(few: Path, teacher_folder: Path, undisturbed: Path, tmp_path: Path) -> SimpleNamespace:
    """One shard of six images, what a worker needs to annotate it, and a look at what came of it; `plain` is done."""
    vocabulary = vocabulary_of(few)
    shutil.copytree(undisturbed, tmp_path / "plain")

    def job(name: str, **changes) -> Job:
        return job_of(few, tmp_path / name, **changes)

    def recipe(run: str = "run", loads=None, **changes) -> Recipe:
        params = params_of(**changes)
        made = make_recipe(params, teacher_folder, vocabulary)
        return Recipe(params, teacher_folder, vocabulary, made.identities, made.config, loads, run)

    def annotate(name: str, worker=None, job_changes=None, **changes) -> Tally:
        told = Tally()
        (worker or ShardWorker(recipe(**changes))).annotate(job(name, **(job_changes or {})), told.add)
        return told

    def bytes_of(name: str) -> dict[str, str]:
        """Tar and tables; not the marker, which tells timings, nor what a killed worker had begun."""
        found = sorted(path for path in (tmp_path / name).glob("[!.]*") if path.suffix != ".json")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    return SimpleNamespace(
        job=job, recipe=recipe, annotate=annotate, bytes_of=bytes_of, folder=tmp_path, store=str(tmp_path / "answers")
    )


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage does its shards in the test's own process."""

    def run_jobs(jobs, recipe, report) -> None:
        worker = ShardWorker(recipe)
        report.workers(1)
        for job in jobs:
            worker.annotate(job, report.add)

    monkeypatch.setattr(stage, "_engine", lambda _name: nullcontext(run_jobs))


@pytest.fixture
def run_stage(few: Path, teacher_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Run the stage on the few images; gives the output folder."""

    def run(name: str, data: Path | str = few, options=None, **changes) -> Path:
        inputs = stage.AnnotateInputs(data, teacher_folder, tmp_path / f"{name}.metrics.json")
        stage.run(params_of(**changes), inputs, tmp_path / name, **(options or {}))
        return tmp_path / name

    return run
