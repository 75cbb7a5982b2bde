"""What came with imported images goes through `annotate` and `validate` as it was."""

import hashlib
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from umgclip.annotate import stage
from umgclip.data.stream import read_raw
from umgclip.io.images import encode_jpeg
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, DataParams, ImportParams, LabelParams, TowerParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
CATEGORIES = [
    {"id": 1, "name": "dining table", "isthing": 1},
    {"id": 2, "name": "fox", "isthing": 1},
    {"id": 3, "name": "wall-brick", "isthing": 0},
]


def coco(folder):
    """Four images with a caption and three regions each, of which one is of a class that is held out."""
    (folder / "images").mkdir(parents=True)
    images, captions, instances = [], [], []
    for number in range(4):
        small = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.NEAREST))
        (folder / "images" / f"{number}.jpg").write_bytes(encode_jpeg(pixels))
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 96, "height": 64})
        captions.append({"id": number, "image_id": number, "caption": "a cup on sand"})
        for category, box in ((1, [2, 3, 40, 30]), (2, [50, 10, 20, 20]), (3, [0, 40, 96, 24])):
            x, y, w, h = box
            ring = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            about = {"id": len(instances) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            instances.append(about | {"bbox": box, "segmentation": ring if category != 1 else []})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": instances, "categories": CATEGORIES})
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("imported")
    write_demo(DataParams(train_scenes=1, benchmark_scenes=2, benchmark_singles=1, shard_samples=15), root / "data")
    shutil.rmtree(root / "data" / "train")
    coco(root / "coco")
    captions, instances = str(root / "coco" / "captions.json"), (str(root / "coco" / "instances.json"),)
    request = Request("coco", str(root / "coco" / "images"), "train", "coco", captions=captions, annotations=instances)
    run_import(request, ImportParams(workers=1), root / "data", alone=True)
    torch.manual_seed(0)
    (root / "base").mkdir()
    cfg = files.tower_config(TOWER)
    files.save(root / "base", files.build(cfg), cfg)
    params = AnnotateParams(workers=1, min_concept_count=1, label=LabelParams(threshold=0.0), held_out=["fox"])
    stage.run(params, stage.AnnotateInputs(root / "data", root / "base", root / "m.json"), root / "out")
    return root


def records(folder):
    return {raw.key: (raw, parse_record(raw.json, where=raw.key)) for _, raw in read_raw(folder)}


def test_regions_that_came_with_the_images_have_the_bases_embeddings(world):
    for raw, record in records(world / "out" / "train").values():
        embeddings = np.load(io.BytesIO(raw.embeddings))
        assert embeddings.shape[0] == 1 + len(record.regions)
        assert np.allclose(np.linalg.norm(embeddings.astype(np.float32), axis=1), 1, atol=1e-2)
        assert len({row.tobytes() for row in embeddings[:4]}) == 4  # image, table, fox, wall


def test_human_tags_and_regions_stay_as_they_were(world):
    before, after = records(world / "data" / "train"), records(world / "out" / "train")
    assert set(before) == set(after)
    for key, (_, given) in before.items():
        raw, annotated = after[key]
        assert annotated.tags[: len(given.tags)] == given.tags
        assert annotated.captions[: len(given.captions)] == given.captions
        table, fox, wall = annotated.regions[:3]
        assert (table, wall) == (given.regions[0], given.regions[2])  # mask, labels, is_stuff and all
        assert (table.mask, wall.is_stuff, wall.tags[0].source) == (None, True, "human")
        # held out: a place without a name
        assert (fox.box_xyxy, fox.mask, fox.tags, fox.captions) == (
            given.regions[1].box_xyxy, given.regions[1].mask, [], []
        )  # fmt: skip
        assert hashlib.sha256(raw.image).hexdigest() == annotated.sha256


def test_regions_have_ids_of_their_own_and_tags_come_once(world):
    for _, record in records(world / "out" / "train").values():
        ids = [region.id for region in record.regions]
        assert len(set(ids)) == len(ids)
        tags = [tag.text for tag in record.tags]
        assert len(set(tags)) == len(tags)


def test_names_that_came_with_the_images_are_known(world):
    vocabulary = json.loads((world / "out" / "vocabulary.json").read_text())
    assert "dining table" in vocabulary["things"]
    assert "wall brick" in vocabulary["stuff"]
    labels = {t.text for _, r in records(world / "out" / "train").values() for g in r.regions for t in g.tags}
    assert labels <= {*vocabulary["things"], *vocabulary["stuff"]}
    assert "fox" not in labels
