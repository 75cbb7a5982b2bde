"""The stage `segment`: it learns, resumes to the byte, refuses what is not its own, and loses no bad sample."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.io.tables import read_columns
from umgclip.model.segmenter import files
from umgclip.segment import stage
from umgclip.segment.labels import labels_of


def interrupt_at(last):
    def report(step, _values):
        if step == last:
            raise KeyboardInterrupt

    return report


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(inputs, params, tmp_path):
    steps = []
    stage.run(params, inputs, tmp_path / "whole", report=lambda step, _values: steps.append(step))
    assert steps == [0, 1, 2, 3]
    whole, curves = sha256_file(tmp_path / "whole" / files.WEIGHTS), inputs.plots.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, tmp_path / "out", report=interrupt_at(2))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"params.segment.seed \(0, now 1\).*umgclip segment --discard-checkpoint"):
        stage.run(params.model_copy(update={"seed": 1}), inputs, tmp_path / "out")
    steps.clear()
    stage.run(params, inputs, tmp_path / "out", report=lambda step, _values: steps.append(step))
    assert steps == [2, 3]
    assert sha256_file(tmp_path / "out" / files.WEIGHTS) == whole
    assert inputs.plots.read_bytes() == curves
    assert {"total", "cross_entropy", "mask", "dice", "unnamed"} <= set(curves.decode().splitlines()[0].split(","))
    assert not (inputs.work / "checkpoint.pt").exists()


@pytest.mark.parametrize("adapter", ["convpass", "lora"])
def test_what_is_written_loads_as_it_was(adapter, inputs, params, tmp_path):
    params = params.model_copy(update={"adapter": adapter, "adapter_rank": 2, "steps": 2})
    stage.run(params, inputs, tmp_path / "out")
    segmenter, description = files.load(tmp_path / "out", inputs.base, inputs.tuned)
    assert description.things == sorted(label[0] for label in labels_of(inputs.annotations) if not label[1])
    assert any(name.startswith("adapted.") for name in segmenter.learned())
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        masks = segmenter(images)[-1].masks
        again = files.load(tmp_path / "out", inputs.base, inputs.tuned)[0](images)[-1].masks
    assert torch.equal(masks, again)
    (tmp_path / "out" / files.WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(DataError, match="not readable"):
        files.load(tmp_path / "out", inputs.base, inputs.tuned)


def test_another_tower_is_refused(inputs, params, tmp_path):
    stage.run(params.model_copy(update={"steps": 1}), inputs, tmp_path / "out")
    config = tmp_path / "out" / files.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_sha256": "0" * 64}))
    with pytest.raises(DataError, match="trained on a tower with base_sha256 000000000000, got"):
        files.load(tmp_path / "out", inputs.base, inputs.tuned)


def test_the_loss_falls_on_a_few_images(inputs, params, tmp_path):
    losses = []
    params = params.model_copy(update={"steps": 20, "min_window": 1.0, "checkpoint_every": 100})
    stage.run(params, inputs, tmp_path / "out", report=lambda _step, values: losses.append(values["total"]))
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def with_bad_sample(dataset, folder):
    """The first shard of a dataset, whose first image cannot be decoded."""
    manifest = read_manifest(dataset)
    name = manifest.shards[0].path
    samples = list(read_shard(dataset / name))
    folder.mkdir()
    writer = ShardWriter(folder / name)
    writer.write(RawSample(samples[0].key, b"no image", samples[0].extension, samples[0].json))
    for raw in samples[1:]:
        writer.write(raw)
    writer.close()
    write_manifest(folder, manifest.model_copy(update={"shards": [describe_shard(folder / name, writer.samples)]}))
    return samples[0].key


def test_an_unreadable_sample_is_put_aside_or_stops_the_run(inputs, params, tmp_path):
    key = with_bad_sample(inputs.annotations, tmp_path / "bad")
    inputs = dataclasses.replace(inputs, annotations=tmp_path / "bad")
    params = params.model_copy(update={"steps": 5})  # all 10 samples, once
    with pytest.raises(DataError, match=r"segment: expected at most 0 unreadable of 10 samples \(segment.max_failed\)"):
        stage.run(params, inputs, tmp_path / "out")
    stage.run(params.model_copy(update={"max_failed": 0.1}), inputs, tmp_path / "out", discard=True)
    put_aside = read_columns(tmp_path / "out" / "quarantine.parquet", ["key", "stage", "reason"]).to_pylist()
    assert put_aside == [{"key": key, "stage": "segment", "reason": "unreadable"}]


def test_a_dataset_without_named_masks_is_refused(inputs, params, demo, tmp_path):
    with pytest.raises(DataError, match="expected regions with a mask and a name to learn from, found none"):
        stage.run(params, dataclasses.replace(inputs, annotations=demo / "train"), tmp_path / "out")
