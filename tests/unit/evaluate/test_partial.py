"""Benchmarks that hold only a part of what can be measured, from their annotation to the gates."""

import dataclasses
import itertools
import json
from contextlib import nullcontext

import pytest

from umgclip.annotate import stage as annotate
from umgclip.annotate.worker import ShardWorker
from umgclip.evaluate import stage as evaluate
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.io.manifest import Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import ShardWriter, read_shard
from umgclip.params import AnnotateParams, EvaluateParams, GateParams, LabelParams, ValidateParams
from umgclip.records import PairSide, Source, parse_record, shows_one_object
from umgclip.register.gates import Evidence, decide, flatten_metrics
from umgclip.validate import stage as validate

ANNOTATE = AnnotateParams(workers=1, min_concept_count=1, max_failed=0.5, label=LabelParams(threshold=0.0))
VALIDATE = ValidateParams(tolerance=1.0, labelled_image_share_min=0.0, label_score_mean_min=0.0)
SCENE = Source(dataset="mine/benchmark")
NUMBERS = itertools.count()


def classes_alone(record):
    """As `data import folder --labels folders` leaves it: a tag, and nothing else."""
    return record.model_copy(update={"captions": None, "regions": None, "tags": record.tags[:1]})


def captions_alone(record):
    return record.model_copy(update={"tags": None, "regions": None, "source": SCENE})


def boxes_alone(record):
    things = [region for region in record.regions if not region.is_stuff]
    boxes = [region.model_copy(update={"mask": None, "captions": None}) for region in things]
    return record.model_copy(update={"captions": None, "tags": None, "regions": boxes, "source": SCENE})


def tags_alone(record):
    return record.model_copy(update={"captions": None, "regions": None, "source": SCENE})


def pairs_alone(record):
    """Two images a pair, in stored order; the last of an odd number has no partner and measures nothing."""
    side = PairSide(id=f"{next(NUMBERS) // 2}", pattern="Order", text=record.captions[0].text)
    return record.model_copy(update={"captions": None, "tags": None, "regions": None, "source": SCENE, "pairs": [side]})


def turns(record):
    """Images of each kind in turns."""
    if shows_one_object(record):
        return classes_alone(record)
    return (captions_alone, boxes_alone, tags_alone)[int(record.key[-1], 36) % 3](record)


KINDS = {
    "classes": (shows_one_object, classes_alone, {"classification"}),
    "captions": (lambda r: not shows_one_object(r), captions_alone, {"retrieval"}),
    "boxes": (lambda r: not shows_one_object(r), boxes_alone, {"region", "detection"}),
    "tags": (lambda r: not shows_one_object(r), tags_alone, {"tagging"}),
    "pairs": (lambda r: not shows_one_object(r), pairs_alone, {"patterns"}),
    "mixed": (lambda _: True, turns, {"classification", "retrieval", "region", "tagging", "detection"}),
}


@pytest.fixture(scope="module")
def world(write_evaluation, tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_evaluation(root, 9, 6)
    return root


def write_part(source, folder, wanted, change, classes):
    """The samples of a dataset that are wanted, with their records changed."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder / "part.tar")
    for info in read_manifest(source).shards:
        for raw in read_shard(source / info.path):
            record = parse_record(raw.json, where=raw.key)
            if wanted(record):
                writer.write(dataclasses.replace(raw, json=change(record).to_json()))
    writer.close()
    shard = describe_shard(folder / "part.tar", writer.samples)
    made_by = read_manifest(source).made_by
    write_manifest(folder, Manifest(made_by=made_by, shards=[shard], classes=classes))


def in_this_process(jobs, recipe, report):
    """The shards, without processes, which take seconds to start."""
    worker = ShardWorker(recipe)
    report.workers(1)
    for job in jobs:
        worker.annotate(job, report.add)


@pytest.fixture(params=KINDS)
def road(request, world, tmp_path, monkeypatch):
    """A benchmark of a kind through annotation, validation and evaluation; gives what it measured and said."""
    wanted, change, families = KINDS[request.param]
    data = tmp_path / "data"
    source = world / "data" / "benchmark"
    classes = None if request.param == "captions" else read_manifest(source).classes
    write_part(source, data / "benchmark", wanted, change, classes)
    (data / "train").symlink_to(world / "data" / "train")
    annotated = tmp_path / "annotate"
    monkeypatch.setattr(annotate, "_engine", lambda _: nullcontext(in_this_process))
    annotate.run(ANNOTATE, annotate.AnnotateInputs(data, world / "base", tmp_path / "annotate.json"), annotated)
    if request.param == "classes":  # it reads hashes alone, so that one kind stands for all
        names, docs, metrics = (tmp_path / name for name in ("annotate/vocabulary.json", "docs", "validate.json"))
        inputs = validate.ValidateInputs(annotated / "train", data / "benchmark", names, docs, metrics)
        validate.run(VALIDATE, inputs, tmp_path / "validate")
    summary = evaluate.run(
        EvaluateParams(pictures=2, resamples=10),
        evaluate.EvaluateInputs(
            world / "base", world / "train", data / "benchmark", annotated / "benchmark", annotated / "proposals",
            tmp_path / "evaluate.json",
        ),
        tmp_path / "evaluate",
    )  # fmt: skip
    return request.param, families, json.loads((tmp_path / "evaluate.json").read_text()), summary, tmp_path


def test_what_is_there_is_measured_and_the_gates_ask_for_nothing_else(road):
    kind, families, metrics, summary, root = road
    assert set(metrics["tuned"]) == set(metrics["base"]) == families, kind
    for family in set(evaluate.PROTOCOLS) - families:
        assert f"{family} (no " in dict(summary.rows)["not measured"]
    parts = {model: flatten_metrics(metrics[model]) for model in ("base", "tuned")}
    made = Evidence(None, "adapter", "base", "bench", "", parts["tuned"], parts["base"], metrics["protocols"])
    # whatever the numbers are, none of the gates asks for one that is not there
    checks = decide(made, None, GateParams()).checks
    assert {check.metric.partition(".")[0] for check in checks if not check.skipped} == families - {
        "panoptic",
        "patterns",
        "detection",
    }
    assert all(check.got is not None for check in checks if not check.skipped)
    page = (root / "evaluate" / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{family}"' in page for family in families)


def test_images_of_each_kind_in_turns_fill_their_batches(world):
    _, classes = open_benchmark(world / "data" / "benchmark")
    examples = list(read_examples(world / "data" / "benchmark", classes))
    scenes, singles = ([e for e in examples if e.single is single] for single in (False, True))
    mixed = [e for pair in zip(scenes, singles, strict=False) for e in pair] + scenes[len(singles) :]
    batches = list(batched(iter(mixed), 4))
    assert sorted(len(batch) for batch in batches) == [1, 2, 4, 4, 4]
    for kind, single in ((scenes, False), (singles, True)):
        assert [e for batch in batches for e in batch if e.single is single] == kind


def test_a_single_object_may_have_several_regions_of_its_class(world, tmp_path):
    """As class folders with boxes beside the images come."""

    def twice(record):
        again = record.regions[0].model_copy(update={"id": "again"})
        return record.model_copy(update={"tags": record.tags[:1], "regions": [*record.regions, again]})

    source = world / "data" / "benchmark"
    write_part(source, tmp_path / "data", shows_one_object, twice, read_manifest(source).classes)
    _, classes = open_benchmark(source)
    once = [e for e in read_examples(source, classes) if e.single]
    assert [e.tags for e in read_examples(tmp_path / "data", classes)] == [e.tags for e in once]
