"""`umgclip doctor --data`: what stages will make of data, said with the keys to change."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from umgclip.cli.doctor.data import examine_data, show
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

SMALL = {"base": {"pretrained": "openai", "model": "ViT-B-32"}, "train": {"steps": 100, "batch": 10}}


def dataset(folder: Path, captions: list[str | None], dataset_name: str = "mine", side: int = 96, **more) -> None:
    """One image a caption; nobody decodes them."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder / "a.tar")
    for number, caption in enumerate(captions):
        record = ImageRecord(
            key=f"k{number}", width=side, height=side + 10, sha256=f"{folder.name}{number}",
            source=Source(dataset=dataset_name), captions=[Text(text=caption, source="alt")] if caption else None,
            **more,
        )  # fmt: skip
        writer.write(RawSample(f"k{number}", b"jpg", "jpg", record.to_json()))
    writer.close()
    made_by = MadeBy(stage="import", params_sha256="0", code_version="0")
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "a.tar", len(captions))]))


def remarks(tmp_path: Path, params: dict | None = None) -> dict[str, tuple[str, str, str]]:
    YAML().dump({**SMALL, **(params or {})}, tmp_path / "params.yaml")
    found = examine_data(tmp_path / "data", tmp_path / "params.yaml")
    show(found)
    return {remark.what: (remark.weight, remark.result, remark.mend) for remark in found}


NAMED = [f"a photo of a {name} number {n}" for n in range(60) for name in ("dog", "red car", "teapot", "owl")]


def test_good_data_have_nothing_to_mend(tmp_path):
    dataset(tmp_path / "data" / "train", [f"a photo of a {n} and a wall" for n in ("dog", "car", "pot", "owl") * 60])
    label = [Text(text="dog", source="human")]
    region = Region(id="0", box_xyxy=(0.0, 0.0, 9.0, 9.0), tags=label, captions=[])
    dataset(tmp_path / "data" / "benchmark", ["a dog"] * 60, tags=label, regions=[region])
    found = remarks(tmp_path, {"annotate": {"label": {"crop_px": None}}, "evaluate": {"crop_px": None}})
    assert "stop" not in {weight for weight, _, _ in found.values()}
    concepts = "5 things, 0 stuff, of chunks in 5 captions or more; 0% of images name none"
    assert found["concepts of annotate"] == ("ok", concepts, "")
    assert (
        "retrieval on 60 images with captions; tagging on 60 images with tags; region, detection on 60"
        in found["benchmark"][1]
    )
    assert "retrieval.i2t_r1" in found["gates"][1]
    assert "classification.top1" not in found["gates"][1]
    assert re.fullmatch(r"annotate \S+ \w+, train \S+ \w+", found["rough cost on one cpu core"][1])


def test_crops_of_a_fixed_side_are_for_the_model_they_were_chosen_for(tmp_path):
    dataset(tmp_path / "data" / "train", NAMED)
    base = {"base": {"pretrained": "openai", "model": "ViT-B-32"}}
    for side, looks in ((48, True), ("auto", False), (None, False)):
        params = {**base, "annotate": {"label": {"crop_px": side}}, "evaluate": {"crop_px": None}}
        found = remarks(tmp_path, params).get("crops of regions")
        assert (found is not None) == looks
        assert found is None or found[1] == "annotate.label.crop_px 48"


def test_what_stops_a_stage_is_said_with_its_key(tmp_path):
    dataset(tmp_path / "data" / "train", [None] * 250, side=10)
    found = remarks(tmp_path, {"annotate": {"held_out": ["fox"]}})
    assert found["data/benchmark"][0] == "stop"
    assert "--split benchmark" in found["data/benchmark"][2]
    assert found["sides"][::2] == ("stop", "validate.side_min_px, validate.side_max_px, validate.tolerance")
    assert found["captions"][0] == "stop"
    assert "annotate.rules.vocabulary" in found["captions"][2]
    assert "base.pretrained: scratch" in remarks(tmp_path, {"base": {}})["captions"][2]
    assert found["annotate.held_out"][0] == "look"


def test_captions_that_name_nothing_or_are_long_or_not_english(tmp_path):
    dataset(tmp_path / "data" / "train", [f"das ist Bild {n} von {n + 1}" for n in range(2100)])
    found = remarks(tmp_path)
    assert found["concepts of annotate"][0] == "stop"
    assert "annotate.min_concept_count" in found["concepts of annotate"][2]
    assert found["language"][0] == "look"
    assert "annotate.language" in found["language"][2]
    found = remarks(tmp_path, {"validate": {"image_caption_words_max": 3}})
    assert found["captions"][::2] == ("stop", "validate.image_caption_words_min, validate.image_caption_words_max")


def test_few_and_alike_images_and_shared_ones_are_told(tmp_path):
    dataset(tmp_path / "data" / "train", ["a dog"] * 50)
    dataset(tmp_path / "data" / "benchmark", [None] * 9, "mine/singles", tags=[Text(text="Cat", source="human")])
    found = remarks(tmp_path, {"train": {"steps": 5000, "batch": 10}})
    assert found["training images"][0] == "look"
    assert "each 1000.0 times" in found["training images"][1]
    assert found["captions"][0] == "look"
    assert found["benchmark"][:2] == ("look", "classification on 9 images with singles")
    assert found["names"][0] == "look"


def test_a_benchmark_image_in_training_stops(tmp_path):
    dataset(tmp_path / "one" / "same", NAMED)
    for split in ("train", "benchmark"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for path in (tmp_path / "one" / "same").iterdir():
            (tmp_path / "data" / split / path.name).write_bytes(path.read_bytes())
    assert remarks(tmp_path)["training and benchmark"][0] == "stop"


@pytest.mark.parametrize("name", ["no-such-model", "ViT-B-32"])
def test_costs_are_of_models_that_open_clip_knows(tmp_path, name):
    dataset(tmp_path / "data" / "train", NAMED)
    found = remarks(tmp_path, {"base": {"pretrained": "openai", "model": name}})
    assert ("rough cost on one cpu core" in found) == (name != "no-such-model")


def test_a_base_that_is_not_there_stops(tmp_path):
    dataset(tmp_path / "data" / "train", NAMED)
    dataset(tmp_path / "data" / "benchmark", [None] * 60)
    found = remarks(tmp_path, {"base": {"pretrained": "lost.pt", "model": "ViT-B-32"}})
    assert found["base"][0] == "stop"
    assert "base.pretrained: expected scratch, a file" in found["base"][1]
    assert "base.model: expected" in remarks(tmp_path, {"base": {"pretrained": "openai", "model": "b"}})["base"][1]
    (tmp_path / "clip").mkdir()
    config = {
        "model_cfg": {"vision_cfg": {"width": 64, "layers": 2, "image_size": 96, "patch_size": 12}, "text_cfg": {}}
    }
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps(config))
    found = remarks(tmp_path, {"base": {"pretrained": str(tmp_path / "clip"), "model": "of-no-effect"}})
    assert "base" not in found
    assert found["rough cost on one cpu core"][0] == "ok"
    assert found["benchmark"][0] == "stop"
    assert "`--labels folders`" in found["benchmark"][2]
