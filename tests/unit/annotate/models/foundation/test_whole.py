"""The stage with downloaded models in most roles, from raw shards to annotated ones."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

from umgclip.annotate import stage
from umgclip.annotate.cache.file_digests import file_digests
from umgclip.annotate.models.source_name import prompt_key
from umgclip.data.stream import read_raw
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, DataParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo

pytestmark = pytest.mark.slow


def test_roles_are_mixed_freely(weights, tiny, tmp_path):
    write_demo(DataParams(train_scenes=6, benchmark_scenes=2, benchmark_singles=1, shard_samples=3), tmp_path / "data")
    torch.manual_seed(0)
    (tmp_path / "base").mkdir()
    config = files.tower_config(tiny)
    files.save(tmp_path / "base", files.build(config), config)
    names = tmp_path / "names.yaml"
    names.write_text("source: this test\nlicense: CC0-1.0\nthings: [cat]\nsynonyms: {puss: cat}\n")
    params = AnnotateParams.model_validate(
        {
            "workers": 2, "min_concept_count": 1, "caption_threshold": 0.0, "batch": 4,
            "roles": {
                "proposer": ["segment_tree", "detector"], "region_tagger": ["given", "clip"], "masker": "sam",
                "captioner": ["clip_teacher", "florence"], "tagger": ["clip_teacher", "clip"], "filter": "clip",
                "region_captioner": "blip",
            },
            "models": {
                "detector": {"kind": "detr", "path": weights("detr"), "threshold": 0.0},
                "clip": {"kind": "clip", "path": weights("clip"), "threshold": 0.0, "most": 3},
                "sam": {"kind": "sam2", "path": weights("sam2"), "min_box_iou": 0.0},
                "florence": {"kind": "florence2", "path": weights("florence2"), "max_new_tokens": 6},
                "blip": {"kind": "blip2", "path": weights("blip2"), "max_new_tokens": 4},
            },
            "rules": {"vocabulary": str(names), "nms_iou": 0.9, "store_filter_score": True},
        }
    )  # fmt: skip
    inputs = stage.AnnotateInputs(tmp_path / "data", tmp_path / "base", tmp_path / "m.json")
    stage.run(params, inputs, tmp_path / "out")
    records = [parse_record(raw.json, where=raw.key) for _, raw in read_raw(tmp_path / "out" / "train")]
    assert len(records) == 6
    regions = [region for record in records for region in record.regions]
    assert {None if r.source is None else r.source.split("@")[0] for r in regions} == {None, "detr/detr"}
    assert {r.mask_source.split("@")[0] for r in regions if r.mask_source} <= {"sam2/sam2"}
    vocabulary = json.loads((tmp_path / "out" / "vocabulary.json").read_text())
    known = {*vocabulary["things"], *vocabulary["stuff"]}
    assert "cat" in known
    assert {t.text for r in regions for t in r.tags} <= known
    spoken = [c for r in records for c in r.captions if c.source != "alt"]
    assert all(c.filter_score is not None for c in spoken)
    counts = json.loads((tmp_path / "m.json").read_text())["train"]
    rows = pq.read_table(tmp_path / "out" / "train" / "rejected.parquet").to_pylist()
    assert counts["rejected_rows"] == len(rows) == sum(counts["rejected"].values())
    assert {row["reason"] for row in rows} >= {"unknown_tag"}  # the detector's dogs, which no caption names
    about = json.loads((tmp_path / "out" / "annotators.json").read_text())
    assert about["prompts"][prompt_key("a photo of")] == "a photo of"
    assert about["models"]["detector"]["threshold"] == 0.0


def test_other_weights_are_another_result(weights, tmp_path):
    shutil.copytree(weights("detr"), tmp_path / "w")
    params = AnnotateParams.model_validate(
        {"roles": {"proposer": "d"}, "models": {"d": {"kind": "detr", "path": str(tmp_path / "w")}}}
    )
    before = file_digests(params)
    (tmp_path / "w" / "config.json").write_text((tmp_path / "w" / "config.json").read_text() + " ")
    assert file_digests(params) != before
