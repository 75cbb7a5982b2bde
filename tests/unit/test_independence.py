"""What does not decide a stage's result never enters its outputs, so that DVC has no reason to do the next one again.

Each stage runs twice, the second time with everything changed that must not matter: another benchmark, other paths,
workers, params of no effect. Every byte that a later stage reads has to be the same.
"""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from umgclip.annotate import stage as annotate
from umgclip.annotate.worker import ShardWorker
from umgclip.base import stage as base
from umgclip.evaluate import stage as evaluate
from umgclip.io.atomic import sha256_file
from umgclip.model.clip import files
from umgclip.params import (
    AnnotateParams,
    BaseParams,
    DataParams,
    EvaluateParams,
    LabelParams,
    LoaderParams,
    TowerParams,
    TrainParams,
    ValidateParams,
)
from umgclip.sources.demo.scenes import write_demo
from umgclip.train import stage as train
from umgclip.validate import stage as validate

TOWER = TowerParams(width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16)
ANNOTATE = AnnotateParams(workers=1, batch=4, min_concept_count=1, max_failed=0.5, label=LabelParams(threshold=0.0))
VALIDATE = ValidateParams(tolerance=1.0, labelled_image_share_min=0.0, label_score_mean_min=0.0)
TRAIN = TrainParams(steps=2, batch=4, device="cpu", processes=1)


def contents(*places: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path below the folder that was named."""
    found = {place.name: sha256_file(place) for place in places if place.is_file()}
    for place in places:
        found |= {f"{place.name}/{p.relative_to(place)}": sha256_file(p) for p in place.rglob("*") if p.is_file()}
    assert found
    return found


def in_this_process(jobs, recipe, report):
    worker = ShardWorker(recipe)
    report.workers(1)
    for job in jobs:
        worker.annotate(job, report.add)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Data, a base and what each stage made of them."""
    root = tmp_path_factory.mktemp("here")
    write_demo(DataParams(train_scenes=8, benchmark_scenes=3, benchmark_singles=1, shard_samples=4), root / "data")
    torch.manual_seed(0)
    config = files.tower_config(TOWER)
    (root / "base").mkdir()
    files.save(root / "base", files.build(config), config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "_engine", lambda _: nullcontext(in_this_process))
        annotate_with(root, ANNOTATE, root / "data")
    validate_with(root, VALIDATE)
    train_with(root, TRAIN)
    return root


@pytest.fixture
def there(here, tmp_path):
    """The same at another place, and a benchmark with other images."""
    root = tmp_path / "a longer way" / "there"
    shutil.copytree(here, root)
    write_demo(
        DataParams(seed=9, train_scenes=1, benchmark_scenes=5, benchmark_singles=2), root / "other" / "benchmark-only"
    )
    shutil.rmtree(root / "data" / "benchmark")
    shutil.move(root / "other" / "benchmark-only" / "benchmark", root / "data" / "benchmark")
    return root


def annotate_with(root, params, data):
    inputs = annotate.AnnotateInputs(data, root / "base", root / "metrics" / "annotate.json")
    annotate.run(params, inputs, root / "annotate")


def validate_with(root, params):
    annotated = root / "annotate"
    inputs = validate.ValidateInputs(
        annotated / "train", root / "data" / "benchmark", annotated / "vocabulary.json", root / "docs", root / "v.json"
    )
    validate.run(params, inputs, root / "validate")


def train_with(root, params):
    inputs = train.TrainInputs(
        root / "annotate" / "train", root / "validate" / "quarantine.parquet", root / "base", root / ".work",
        root / "metrics" / "train.json", root / "plots" / "train.csv",
    )  # fmt: skip
    train.run(params, inputs, root / "train")


def test_base_from_scratch_depends_on_training_images_alone(here, there):
    params = BaseParams(tower=TOWER, short_steps=1, full_steps=1, short_batch=4, full_batch=4, min_concept_count=1)
    for root in (here, there):
        base.run(params, base.BaseInputs(root / "data"), root / "scratch")
    assert contents(there / "scratch") == contents(here / "scratch")


def test_where_a_checkpoint_lies_decides_nothing(here, there):
    for root in (here, there):
        base.run(
            BaseParams(pretrained=str(root / "base"), model="mine"), base.BaseInputs(root / "data"), root / "taken"
        )
    assert contents(there / "taken") == contents(here / "taken")


def test_annotations_for_training_do_not_know_of_the_benchmark(here, there, monkeypatch):
    monkeypatch.setattr(annotate, "_engine", lambda _: nullcontext(in_this_process))
    changed = {"workers": 2, "max_failed": 0.4, "attempts": 2, "store": str(there / "answers"), "store_gb": 1.0}
    changed["label"] = ANNOTATE.label.model_copy(update={"device": "cpu"})
    shutil.rmtree(there / "annotate")
    annotate_with(there, ANNOTATE.model_copy(update=changed), there / "data")
    read_later = ("train", "vocabulary.json")
    assert contents(*(there / "annotate" / name for name in read_later)) == contents(
        *(here / "annotate" / name for name in read_later)
    )
    assert contents(there / "annotate" / "proposals") != contents(here / "annotate" / "proposals")


def test_another_benchmark_lets_finished_shards_of_training_stand(here, there, monkeypatch):
    """A run that was stopped goes on where it was, although the benchmark is another one by now."""
    done = []

    def stopped(jobs, recipe, report):
        in_this_process(jobs[:2], recipe, report)
        raise KeyboardInterrupt

    def counted(jobs, recipe, report):
        done.extend(job.name for job in jobs if not job.hide_truth)
        in_this_process(jobs, recipe, report)

    monkeypatch.setattr(annotate, "_engine", lambda _: nullcontext(stopped))
    shutil.rmtree(there / "annotate")
    with pytest.raises(KeyboardInterrupt):
        annotate_with(there, ANNOTATE, here / "data")
    monkeypatch.setattr(annotate, "_engine", lambda _: nullcontext(counted))
    annotate_with(there, ANNOTATE, there / "data")
    assert done == []
    assert contents(there / "annotate" / "train") == contents(here / "annotate" / "train")
    assert not list(there.glob(".annotate.*"))


def test_the_quarantine_does_not_know_of_a_benchmark_without_training_images(here, there):
    validate_with(there, VALIDATE.model_copy(update={"chunk_rows": 3}))
    assert contents(there / "validate" / "quarantine.parquet") == contents(here / "validate" / "quarantine.parquet")


def test_training_does_not_know_of_places_and_workers(here, there):
    loader = LoaderParams(workers=3)
    changed = {"loader": loader, "checkpoint_every": 1, "max_failed": 0.5, "device": "auto", "processes": "auto"}
    shutil.rmtree(there / "train")
    train_with(there, TRAIN.model_copy(update=changed))
    assert contents(there / "train", there / "plots") == contents(here / "train", here / "plots")


def test_evaluation_does_not_know_of_places_batches_and_what_is_kept(here, there):
    params = EvaluateParams(pictures=1, resamples=20)
    for root, own in (
        (here, params),
        (there, params.model_copy(update={"cache": str(there / "features"), "batch": 2})),
    ):
        annotated = here / "annotate" if root is here else there / "annotate"
        benchmark = (here if root is here else there.parent / "copied") / "data" / "benchmark"
        if not benchmark.exists():
            shutil.copytree(here / "data" / "benchmark", benchmark)
        inputs = evaluate.EvaluateInputs(
            root / "base", root / "train", benchmark, annotated / "benchmark", annotated / "proposals",
            root / "metrics" / "evaluate.json",
        )  # fmt: skip
        evaluate.run(own, inputs, root / "evaluate")
    assert contents(there / "evaluate", there / "metrics" / "evaluate.json") == contents(
        here / "evaluate", here / "metrics" / "evaluate.json"
    )
