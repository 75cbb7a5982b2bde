"""The measure of rounds on images that were put aside: its numbers, and what it reads."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.evaluate.probe import ProbeInputs, average_precision, named_right, reciprocal_ranks, run
from umgclip.evaluate.slice_regions import SliceRegion, labelled, read_regions, write_regions
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_json
from umgclip.io.tables import QUARANTINE, write_table
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.params import DataParams, TowerParams, TrainParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.stage import LEFT_OUT


def test_ranks_are_those_of_both_directions():
    similarity = np.array([[0.9, 0.8, 0.1], [0.5, 0.6, 0.7], [0.2, 0.1, 0.3]])
    # images find their captions at 1, 2, 1; captions their images at 1, 2, 2
    assert reciprocal_ranks(similarity, ["a", "b", "c"]) == pytest.approx([1, 1 / 2, (1 + 1 / 2) / 2])


def test_an_equal_caption_is_no_wrong_answer_and_a_tie_is_no_right_one():
    similarity = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert reciprocal_ranks(similarity, ["a", "a"]) == pytest.approx([1, 1])
    assert reciprocal_ranks(similarity, ["a", "b"]) == pytest.approx([1 / 2, 1 / 2])


def test_average_precision_is_that_of_the_ranking():
    scores = np.array([0.9, 0.1, 0.8, 0.7])
    # places 1 and 3 of the ranking: (1/1 + 2/3) / 2
    assert average_precision(scores, [0, 3]) == pytest.approx(5 / 6)
    assert average_precision(scores, [0, 2]) == 1
    assert average_precision(scores, []) is None


def part(rows: slice, columns: slice, name: str) -> SliceRegion:
    mask = np.zeros((4, 8), bool)
    mask[rows, columns] = True
    return SliceRegion(mask=mask_ops.encode(mask), name=name)


EVERY = slice(None)


def test_a_region_is_right_if_its_name_is_first_of_all_things():
    # the left half of the map shows the first concept, the right half the second
    dense = torch.zeros(2, 2, 4)
    dense[0, :, :2] = dense[1, :, 2:] = 1
    regions = [
        part(EVERY, slice(0, 4), "apple"), part(EVERY, slice(5, 8), "apple"), part(slice(0, 2), slice(2, 8), "dog")
    ]  # fmt: skip
    assert named_right(dense, np.eye(2, dtype=np.float32), ["apple", "dog"], regions) == pytest.approx(2 / 3)
    assert named_right(dense, np.eye(2, dtype=np.float32), ["apple"], [part(EVERY, EVERY, "car")]) is None


def test_only_named_things_with_masks_are_compared(tmp_path: Path):
    mask = part(EVERY, slice(0, 4), "apple").mask
    tag = {"text": "apple", "source": "clip_teacher"}
    raw = {"box_xyxy": [0, 0, 4, 4], "mask": mask.model_dump(), "tags": [tag]}
    regions = [
        {**raw, "id": "a"}, {**raw, "id": "b", "mask": None}, {**raw, "id": "c", "is_stuff": True},
        {**raw, "id": "d", "tags": []}, {**raw, "id": "e", "tags": [{**tag, "text": "zebra"}]},
    ]  # fmt: skip
    record = {"key": "k", "width": 8, "height": 4, "sha256": "0" * 64, "source": {"dataset": "d"}, "regions": regions}
    found = {"k": labelled(parse_record(record, where="k"), ["apple", "dog"])}
    assert found == {"k": [SliceRegion(mask=mask, name="apple")]}
    write_regions(tmp_path / "regions.json", found)
    assert read_regions(tmp_path / "regions.json") == found
    (tmp_path / "regions.json").write_text('{"k": [{"name": 3}]}')
    with pytest.raises(DataError, match="expected the regions that `umgclip probe --regions` wrote"):
        read_regions(tmp_path / "regions.json")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ProbeInputs:
    root = tmp_path_factory.mktemp("probe")
    write_demo(DataParams(train_scenes=8, benchmark_scenes=1, benchmark_singles=1, shard_samples=4), root / "data")
    keys = [raw.key for _, raw in read_raw(root / "data" / "train")]
    row = {"shard": None, "region_id": None, "stage": "validate", "detail": ""}
    rows = [{**row, "key": key, "reason": LEFT_OUT} for key in keys[:5]] + [{**row, "key": keys[6], "reason": "size"}]
    write_table(root / "quarantine.parquet", rows, QUARANTINE)
    write_json(root / "vocabulary.json", {"things": ["apple", "dog", "car"], "stuff": [], "held_out": []})
    torch.manual_seed(0)
    tower = files.tower_config(TowerParams(width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2))
    (root / "base").mkdir()
    files.save(root / "base", files.build(tower), tower)
    adapt(files.load(root / "base")[0], TrainParams()).save(root / "train" / "adapter")
    return ProbeInputs(
        root / "data" / "train", root / "quarantine.parquet", root / "vocabulary.json", root / "base", root / "train"
    )


def test_only_images_that_were_put_aside_are_measured(inputs: ProbeInputs, tmp_path: Path):
    run(inputs, tmp_path / "probe.json", device="cpu")
    report = json.loads((tmp_path / "probe.json").read_text())
    keys = [raw.key for _, raw in read_raw(inputs.annotations)]
    assert sorted(report["scores"]) == sorted(keys[:5])
    assert report["images"] == 5
    assert report["score"] == pytest.approx(np.mean(list(report["scores"].values())), abs=1e-5)
    assert 0 < report["retrieval"] <= 1
    assert sorted(report["guards"]) == sorted(keys[:5])
    assert report["retrieval"] == pytest.approx(np.mean(list(report["guards"].values())), abs=1e-5)
    run(inputs, tmp_path / "again.json", device="cpu")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "probe.json").read_bytes()


def test_without_images_put_aside_the_error_says_which_parameter_makes_some(inputs: ProbeInputs, tmp_path: Path):
    write_table(tmp_path / "quarantine.parquet", [], QUARANTINE)
    nothing = ProbeInputs(
        inputs.annotations, tmp_path / "quarantine.parquet", inputs.vocabulary, inputs.base, inputs.adapter
    )
    with pytest.raises(DataError, match="put aside .validate.leave_out., found none"):
        run(nothing, tmp_path / "probe.json", device="cpu")
    missing = ProbeInputs(inputs.annotations, tmp_path / "none", inputs.vocabulary, inputs.base, inputs.adapter)
    with pytest.raises(DataError, match="expected validation's quarantine, found none"):
        run(missing, tmp_path / "probe.json", device="cpu")


def test_the_regions_of_the_first_measurement_are_those_of_the_others(inputs: ProbeInputs, tmp_path: Path):
    mine = replace(inputs, regions=tmp_path / "regions.json")
    run(mine, tmp_path / "first.json", device="cpu")
    assert json.loads((tmp_path / "first.json").read_text())["regions"] is None  # alt texts alone: no region
    keys = [raw.key for _, raw in read_raw(inputs.annotations)]
    assert json.loads((tmp_path / "regions.json").read_text()) == {key: [] for key in sorted(keys[:5])}
    mask = mask_ops.encode(np.ones((96, 96), bool))
    write_regions(tmp_path / "regions.json", {keys[0]: [SliceRegion(mask=mask, name="dog")]})
    run(mine, tmp_path / "second.json", device="cpu")
    assert json.loads((tmp_path / "second.json").read_text())["regions"] in (0.0, 1.0)
