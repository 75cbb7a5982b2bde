"""The stage `annotate` on small demo data with a tiny random teacher."""

import dataclasses
import json
import multiprocessing
import shutil
import signal
import time

import pyarrow.parquet as pq
import pytest
import torch

from umgclip.annotate import stage
from umgclip.annotate.calibration.precision import LabelPrecision, Point
from umgclip.annotate.vocabulary import GivenNames
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io.atomic import atomic_file
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import ShardWriter, read_shard
from umgclip.io.tables import IMAGES, REGIONS, write_table
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, DataParams, LabelParams, TowerParams
from umgclip.records import parse_record, shows_one_object
from umgclip.sources.demo.classes import things
from umgclip.sources.demo.scenes import write_demo

TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
PARAMS = AnnotateParams(
    workers=1, min_concept_count=1, max_failed=0.1, label=LabelParams(threshold=0.0), held_out=["fox", "lion"]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotate")
    write_demo(DataParams(train_scenes=30, benchmark_scenes=6, benchmark_singles=3, shard_samples=15), root / "data")
    torch.manual_seed(0)
    (root / "base").mkdir()
    cfg = files.tower_config(TOWER)
    files.save(root / "base", files.build(cfg), cfg)
    return root


def inputs_of(world, data=None):
    return stage.AnnotateInputs(data or world / "data", world / "base", world / "metrics" / "annotate.json")


@pytest.fixture(scope="module")
def done(world):
    """What one worker, a process of its own, made of the data."""
    counted = []
    summary = stage.run(PARAMS, inputs_of(world), world / "out", advance=counted.append)
    return world / "out", summary, sum(counted)


def records(folder):
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


def test_every_sample_comes_back_annotated(done, world):
    out, _, counted = done
    assert counted == stage.total_samples(world / "data") == 30 + 2 * 9
    raw, annotated = records(world / "data" / "train"), records(out / "train")
    assert [r.key for r in raw] == [r.key for r in annotated]
    assert all(a.captions[0] == r.captions[0] for r, a in zip(raw, annotated, strict=True))
    assert all(region.mask is not None for record in annotated for region in record.regions)
    labels = [tag for record in annotated for region in record.regions for tag in region.tags]
    assert labels
    assert all(tag.source == "alt" or tag.source.startswith("clip_teacher/") for tag in labels)


@pytest.mark.usefixtures("in_process")
def test_a_held_out_concept_is_never_a_label(world):
    held_out = sorted({thing.name for thing in things()})
    # written in another way than captions do
    params = PARAMS.model_copy(update={"held_out": [f" {name.upper()}" for name in held_out]})
    stage.run(params, inputs_of(world), world / "none")
    labels = [t.text for r in records(world / "none" / "train") for region in r.regions for t in region.tags]
    assert set(labels).isdisjoint(held_out)
    vocabulary = json.loads((world / "none" / "vocabulary.json").read_text())
    named = set(vocabulary["things"]) & set(held_out)
    assert named
    assert named <= set(vocabulary["held_out"]), "spelled as captions spell them"


def test_an_empty_vocabulary_ends_at_once_with_its_cause_and_the_keys(world, tmp_path):
    params = PARAMS.model_copy(update={"min_concept_count": 1000})
    with pytest.raises(DataError) as caught:
        stage.run(params, inputs_of(world), world / "none")
    assert "annotate: the vocabulary is empty: no noun chunk stands in 1000 or more of the 30 captions" in str(
        caught.value
    )
    assert "annotate.min_concept_count" in str(caught.value)
    assert "annotate.rules.vocabulary" in str(caught.value)


def test_tables_count_what_the_records_hold(done):
    out, _, _ = done
    annotated = records(out / "train")
    images, regions = (pq.read_table(out / "train" / f"{n}.parquet").to_pylist() for n in ("images", "regions"))
    assert [row["key"] for row in images] == [record.key for record in annotated]
    assert [row["n_regions"] for row in images] == [len(record.regions) for record in annotated]
    assert len(regions) == sum(len(record.regions) for record in annotated)
    assert all(row["x0"] < row["x1"] <= row["width"] for row in regions)


def test_the_benchmark_is_annotated_without_its_truth_and_proposed_without_captions(done):
    out, _, _ = done
    for record in records(out / "benchmark"):
        assert not shows_one_object(record)
        assert [c.source for c in record.captions][:1] == ["human"]
        sources = {tag.source for region in record.regions for tag in region.tags}
        assert "human" not in sources
    for record in records(out / "proposals"):
        assert not shows_one_object(record)
        assert record.captions == []
        assert record.tags == []
        assert all(region.tags == [] and region.captions == [] for region in record.regions)


def test_single_objects_are_left_out_and_counted(done, world):
    counts = json.loads(inputs_of(world).metrics.read_text())
    assert counts["train"]["left_out"] == 0
    for split in ("benchmark", "proposals"):
        assert (counts[split]["samples"], counts[split]["left_out"]) == (6, 3)


def test_workers_do_not_change_the_result(done, world):
    out, _, _ = done
    stage.run(PARAMS.model_copy(update={"workers": 2}), inputs_of(world), world / "two")
    for split in stage.SPLITS:
        assert read_manifest(world / "two" / split).digest() == read_manifest(out / split).digest()


@pytest.mark.usefixtures("in_process")
def test_finished_shards_are_not_done_again(world, monkeypatch):
    params = PARAMS.model_copy(update={"caption_threshold": 0.4})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "fresh_folder", _fail)
        stage.run(params, inputs_of(world), world / "again")
    assert not (world / "again").exists()
    working = next(world.glob(".again.*"))
    markers = {path: path.stat().st_mtime_ns for path in working.rglob("*.done.json")}
    assert len(markers) == 2 + 2 + 2
    next(iter(markers)).unlink()  # as if the run had been killed before this shard was complete
    counted = []
    stage.run(params, inputs_of(world), world / "again", advance=counted.append)
    assert counted[0] > 0  # what was done already is counted at once
    assert read_manifest(world / "again" / "train").samples == 30
    assert not list(world.glob(".again.*"))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", ["tar", "regions.parquet", "done.json"])
def test_a_finished_shard_that_was_damaged_is_done_again(done, world, monkeypatch, caplog, kind):
    out, _, _ = done
    params = PARAMS.model_copy(update={"max_failed": 0.9})  # decides no result
    name = f"damaged-{kind}"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "fresh_folder", _fail)
        stage.run(params, inputs_of(world), world / name)
    spoilt = sorted(next(world.glob(f".{name}.*")).rglob(f"train-*/*.{kind}"))[0]
    content = bytearray(spoilt.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(bytes(content))
    stage.run(params, inputs_of(world), world / name)
    for split in stage.SPLITS:
        assert read_manifest(world / name / split).digest() == read_manifest(out / split).digest()
    assert (world / name / "train" / "regions.parquet").read_bytes() == (out / "train" / "regions.parquet").read_bytes()
    said = [record.getMessage() for record in caplog.records if "the shard is annotated again" in record.getMessage()]
    expected = f"annotate: {spoilt}: expected sha256 "
    assert kind == "done.json" or (len(said) == 1 and said[0].startswith(expected))


def test_an_interrupted_run_ends_at_once_and_leaves_no_worker(world):
    workers, interrupted_at = [], []

    def interrupt(advanced):
        if advanced and not workers:
            workers.extend(multiprocessing.active_children())
            interrupted_at.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    params = PARAMS.model_copy(update={"workers": 2, "batch": 1, "caption_threshold": 0.5})
    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs_of(world), world / "interrupted", advance=interrupt)
    assert time.monotonic() - interrupted_at[0] < 5
    assert len(workers) == 2
    assert not any(worker.is_alive() for worker in workers)
    assert not (world / "interrupted").exists()


def _fail(_path):
    raise KeyboardInterrupt


def _replaced(world, target, change):
    """A copy of the data in which one sample of the first shard is changed, with a manifest that fits."""
    shutil.copytree(world / "data", target)
    folder = target / "train"
    manifest = read_manifest(folder)
    path = folder / manifest.shards[0].path
    samples = list(read_shard(path))
    samples[3] = change(samples[3])
    with atomic_file(path) as temporary:
        writer = ShardWriter(temporary)
        for sample in samples:
            writer.write(sample)
        writer.close()
    shards = [describe_shard(path, len(samples)), *manifest.shards[1:]]
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return target, samples[3].key


@pytest.mark.usefixtures("in_process")
def test_a_corrupt_jpeg_becomes_a_quarantine_row(world, tmp_path):
    data, key = _replaced(world, tmp_path / "data", lambda s: dataclasses.replace(s, image=s.image[:200]))
    stage.run(PARAMS, inputs_of(world, data), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "train" / "quarantine.parquet").to_pylist()
    assert [(row["key"], row["reason"], row["stage"]) for row in rows] == [(key, "unreadable", "annotate")]
    assert "not a readable image" in rows[0]["detail"]
    assert read_manifest(tmp_path / "out" / "train").samples == 29


@pytest.mark.usefixtures("in_process")
def test_too_many_bad_samples_stop_the_run(world, tmp_path):
    data, _ = _replaced(world, tmp_path / "data", lambda s: dataclasses.replace(s, image=b""))
    params = PARAMS.model_copy(update={"max_failed": 0.01})
    with pytest.raises(DataError, match=r"1 of 30 training .* not be annotated, more than annotate.max_failed"):
        stage.run(params, inputs_of(world, data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_tar_is_named(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    path = tmp_path / "data" / "train" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"train-000001.tar: expected \d+ bytes as in the manifest, got 5000"):
        stage.run(PARAMS, inputs_of(world, tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_kept_names_that_no_vocabulary_held_are_known_afterwards(tmp_path):
    regions = [
        dict.fromkeys(REGIONS.names) | {"label": label, "is_stuff": s} for label, s in (("gnu", False), ("fog", True))
    ]
    write_table(tmp_path / "regions.parquet", [*regions, dict.fromkeys(REGIONS.names)], REGIONS)
    images = [dict.fromkeys(IMAGES.names) | {"tags": tags} for tags in ("yak|fog", "", "yak")]
    write_table(tmp_path / "images.parquet", images, IMAGES)
    known = GivenNames()
    known.add_written(tmp_path)
    assert (known.things, known.stuff) == ({"gnu", "yak", "fog"}, {"fog"})


@pytest.mark.usefixtures("in_process")
def test_labels_below_the_score_that_precision_needs_are_refused_and_counted(done, world, tmp_path, monkeypatch):
    scores = pq.read_table(done[0] / "train" / "regions.parquet", columns=["is_stuff", "label", "label_score"])
    ranked = sorted(row["label_score"] for row in scores.to_pylist() if row["label"] and not row["is_stuff"])
    bar = ranked[len(ranked) // 2]
    point = Point(bar, 7, 0.75, 0.02)
    measured = LabelPrecision(0.7, bar, 30, len(ranked), 50, point, (point,))
    monkeypatch.setattr("umgclip.annotate.plan.calibrate", lambda *_: measured)
    summary = stage.run(PARAMS, inputs_of(world), tmp_path / "out")
    regions = [region for record in records(tmp_path / "out" / "train") for region in record.regions]
    teachers = [t.score for r in regions if not r.is_stuff for t in r.tags]
    assert teachers
    assert min(teachers) >= bar
    refused = pq.read_table(tmp_path / "out" / "train" / "rejected.parquet").to_pylist()
    doubtful = [row for row in refused if row["reason"] == "precision"]
    assert len(doubtful) + len(teachers) == len(ranked)
    assert all(row["score"] < bar and row["region_id"] for row in doubtful)
    grounds = [r for r in regions if r.is_stuff and r.tags]
    assert len(grounds) == sum(bool(row["label"] and row["is_stuff"]) for row in scores.to_pylist())
    assert json.loads((tmp_path / "out" / "label_precision.json").read_text())["threshold"] == bar
    metrics = json.loads((world / "metrics" / "annotate.json").read_text())
    assert metrics["label_precision"] == {
        "target": 0.7, "threshold": bar, "share": round(7 / len(ranked), 3), "precision": 0.75,
    }  # fmt: skip
    assert ("precision of region labels, estimated", measured.in_words()) in summary.rows
