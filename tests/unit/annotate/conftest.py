"""A few demo images, a tiny random teacher, and shards annotated in the test's own process."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from umgclip.annotate import stage
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.tally import Tally
from umgclip.annotate.work import ShardWorker
from umgclip.data.concepts import mine
from umgclip.data.stream import read_raw
from umgclip.io.places import Folder
from umgclip.manifest import read_manifest
from umgclip.model import files
from umgclip.params import AnnotateParams, LabelParams, TowerParams
from umgclip.records import parse_record

TINY = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    config = files.tower_config(TINY)
    files.save(folder, files.build(config), config)
    return folder


@pytest.fixture
def make_params() -> Callable[..., AnnotateParams]:
    """Params for the demo's images and that teacher, with changes."""

    def make(**changes) -> AnnotateParams:
        given = {
            "workers": 1,
            "batch": 4,
            "min_concept_count": 1,
            "max_failed": 0.2,
            "label": LabelParams(threshold=0.0),
        }
        return AnnotateParams(**{**given, **changes})

    return make


@pytest.fixture
def shard(demo: Path, teacher_folder: Path, make_params, tmp_path: Path) -> SimpleNamespace:
    """One shard of ten images, what a worker needs to annotate it, and a look at what came of it."""
    manifest = read_manifest(demo / "train")
    captions = [parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(demo / "train")]
    vocabulary = mine(captions, 1)

    def job(name: str, **changes) -> Job:
        (first, *_) = stage._jobs(demo / "train", manifest, "train")
        return Job(first.source, first.info, first.name, Folder(tmp_path / name), **changes)

    def recipe(run: str = "run", loads=None, **changes) -> Recipe:
        params = make_params(**changes)
        made, _ = stage._recipe(params, teacher_folder, [manifest], vocabulary)
        return Recipe(params, teacher_folder, vocabulary, made.identities, made.config, loads, run)

    def annotate(name: str, worker=None, job_changes=None, **changes) -> Tally:
        told = Tally()
        (worker or ShardWorker(recipe(**changes))).annotate(job(name, **(job_changes or {})), told.add)
        return told

    def bytes_of(name: str) -> dict[str, str]:
        """Tar and tables, not the marker, which tells timings."""
        found = sorted(path for path in (tmp_path / name).iterdir() if not path.name.endswith(".json"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    return SimpleNamespace(
        job=job, recipe=recipe, annotate=annotate, bytes_of=bytes_of, folder=tmp_path, store=str(tmp_path / "answers")
    )
