"""The box rows of FG-CLIP 2, against their evaluation written out: one annotation at a time, on a CLIP at random."""

import json

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from PIL import Image
from torchvision.ops import roi_align

from umgclip.evaluate.benchmarks.region import RegionTop1
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.evaluate.left_out import regions_left_out
from umgclip.evaluate.presets import with_preset
from umgclip.evaluate.reader import Reader
from umgclip.io.tables import QUARANTINE
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.tokenizer import Tokenizer
from umgclip.model.clip.tower import DenseClip
from umgclip.params import EvaluateParams
from umgclip.params.data import ImportParams
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

SIDE, PATCH, IMAGES = 32, 8, 6
NAMES = ["Person", "Bicycle", "traffic light", "Hot Dog", "cat", "Teddy Bear", "kite"]


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    text = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    vision = {"image_size": SIDE, "patch_size": PATCH, "width": 32, "layers": 3, "head_width": 8}
    return open_clip.CLIP(16, vision, text).eval()


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Images of noise with 60 boxes, some of them crowds, and one without area, as COCO has them."""
    folder = tmp_path_factory.mktemp("coco")
    random = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(IMAGES):
        width, height = (int(side) for side in random.integers(30, 60, 2))
        pixels = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        for _ in range(10):
            x, y = random.uniform(0, 0.7, 2) * (width, height)
            w, h = random.uniform(0.1, 0.3, 2) * (width, height)
            annotations.append({"image_id": number, "bbox": [x, y, w, h], "category_id": int(random.integers(7)) + 1})
    annotations.append({"image_id": 0, "bbox": [3.0, 3.0, 0.0, 5.0], "category_id": 1})
    for number, annotation in enumerate(annotations):
        annotation |= {"id": number + 1, "iscrowd": int(number % 7 == 0)}
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(truth))
    return folder, truth


@pytest.fixture(scope="module")
def benchmark(coco, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    folder, _ = coco
    request = Request(
        kind="coco", source=str(folder), split="benchmark", name="coco", annotations=(str(folder / "instances.json"),)
    )
    run_import(request, ImportParams(workers=1), out, alone=True)
    return out / "benchmark"


@torch.no_grad()
def right_by_hand(clip, coco) -> list[bool]:
    """Whether each box is named rightly, as `coco_box_ddp.py` asks."""
    folder, truth = coco
    tokenize = open_clip.SimpleTokenizer(context_length=32)
    classes = []
    for name in NAMES:
        texts = [template(name).lower() for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
        embedded = F.normalize(clip.encode_text(tokenize(texts)), dim=-1).mean(0)
        classes.append(embedded / embedded.norm())
    mean, std = (torch.tensor(each)[:, None, None] for each in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    right = []
    for image in truth["images"]:
        picture = Image.open(folder / image["file_name"]).convert("RGB")
        squashed = np.array(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
        visual, pixels = clip.visual, (torch.from_numpy(squashed).permute(2, 0, 1) - mean) / std
        x = visual.conv1(pixels[None]).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(1, 1, -1), x], 1) + visual.positional_embedding
        x = visual.ln_pre(x)
        *before, last = visual.transformer.resblocks
        for block in before:
            x = block(x)
        joint = F.linear(last.ln_1(x), last.attn.in_proj_weight, last.attn.in_proj_bias)
        x = x + last.attn.out_proj(joint.chunk(3, 2)[2])
        x = x + last.mlp(last.ln_2(x))
        side = SIDE // PATCH
        feature_map = (visual.ln_post(x[:, 1:]) @ visual.proj).transpose(1, 2).unflatten(2, (side, side))
        for annotation in truth["annotations"]:
            left, top, width, height = annotation["bbox"]
            if annotation["image_id"] != image["id"] or width == 0:
                continue
            across, down = side / picture.width, side / picture.height
            box = torch.tensor([[0, left * across, top * down, (left + width) * across, (top + height) * down]])
            feature = roi_align(feature_map, box.float(), (1, 1), 1.0, -1, aligned=True)[..., 0, 0]
            feature = feature / feature.norm()
            scores = (100 * feature @ torch.stack(classes, 1)).softmax(-1)
            right.append(int(scores.argmax()) == annotation["category_id"] - 1)
    return right


def measured(clip, benchmark, params):
    _, classes = open_benchmark(benchmark)
    tower = DenseClip(clip)
    reader = Reader(tower, Tokenizer(32), classes, params, ImageInput.of(tower, SIDE, params.resize))
    region = RegionTop1(reader)
    for batch in batched(read_examples(benchmark, classes), 4):
        region.add(batch, reader.see(batch))
    return region


def test_boxes_are_named_as_fg_clip_2_names_them(clip, coco, benchmark):
    params = with_preset(EvaluateParams(protocol="fgclip2", image_px=SIDE, crop_px=SIDE, readouts=["whole_box"]))
    region = measured(clip, benchmark, params)
    right = right_by_hand(clip, coco)
    assert len(right) == region.regions == 60
    assert 0 < sum(right) < 60
    assert dict(region.results())["raw_box_top1"] == pytest.approx(np.mean(right))
    assert (region.predictions("raw_box") == region.targets("raw_box")).tolist() == right
    block = region.protocol()
    assert (block["preset"], block["crowd"], block["texts"], block["classes"]) == ("fgclip2", "keep", "lower case", 7)
    assert block["readouts"]["raw_box"] == {"map": "raw", "pooling": "RoIAlign, one bin", "box_share": 1.0}


def test_without_the_preset_nothing_changes(clip, benchmark):
    params = EvaluateParams(image_px=SIDE, crop_px=SIDE, readouts=["box"])
    assert with_preset(params) is params
    block = measured(clip, benchmark, params).protocol()
    assert not {"preset", "texts"} & set(block)
    assert block["regions"] < 60  # crowds are left out


def test_a_box_without_area_is_counted_and_not_forgotten(benchmark, tmp_path):
    assert regions_left_out(benchmark) == 1
    assert regions_left_out(tmp_path) == 0
    (kept,) = pq.read_table(benchmark / "regions.parquet", columns=["key", "region_id"]).slice(0, 1).to_pylist()
    half = [*pq.read_table(benchmark / "quarantine.parquet").to_pylist(), kept | dict.fromkeys(QUARANTINE.names[3:])]
    rows = [{name: row.get(name) for name in QUARANTINE.names} for row in half]
    for name in ("regions", "quarantine"):
        table = pa.Table.from_pylist(rows, QUARANTINE) if name == "quarantine" else None
        pq.write_table(table or pq.read_table(benchmark / f"{name}.parquet"), tmp_path / f"{name}.parquet")
    assert regions_left_out(tmp_path) == 1  # the region that lost its mask alone is still there
