"""The examples in docstrings run as they are written, in a folder that holds a tiny model and a photo."""

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import umgclip
from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.params import LoraParams, TowerParams, TrainParams
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.search.building import DatasetParts, build_index

ROOT = Path(__file__).parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """The modules of the package that hold an example."""
    paths = sorted((ROOT / "umgclip").rglob("*.py"))
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths if ">>> " in p.read_text("utf-8")]


def examples(name: str) -> Iterator[doctest.DocTest]:
    module = importlib.import_module(name.removesuffix(".__init__"))
    yield from (test for test in doctest.DocTestFinder().find(module) if test.examples)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `artifacts` as the pipeline writes them (96 px, 512 dimensions) and `photo.jpg` (640 x 480)."""
    folder = tmp_path_factory.mktemp("examples")
    artifacts = folder / "artifacts"
    torch.manual_seed(0)
    sizes = {"width": 64, "heads": 2, "layers": 1, "text_width": 64, "text_heads": 2, "text_layers": 1}
    config = files.tower_config(TowerParams(**sizes, embed_dim=512))
    params = TrainParams(lora=LoraParams(rank=2, alpha=4))
    (artifacts / "base").mkdir(parents=True)
    files.save(artifacts / "base", files.build(config), config)
    adapt(files.load(artifacts / "base")[0], params).save(artifacts / "train" / "adapter")
    base = sha256_file(artifacts / "base" / files.WEIGHTS)
    write_json(artifacts / "train" / "train.json", {"base_sha256": base, "params": params.model_dump()})
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.jpg")
    Image.fromarray(pixels[:60, :80]).save(folder / "crop.jpg")
    return folder


@pytest.fixture(scope="module")
def index(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`artifacts/index` of that folder, of one image with one region, a mug."""
    pytest.importorskip("lancedb")
    raw = RawSample("000000", (folder / "crop.jpg").read_bytes(), "jpg", ImageRecord(
        key="000000", width=80, height=60, sha256="0" * 64, source=Source(dataset="kitchen"),
        regions=[Region(id="0", box_xyxy=(12, 8, 60, 52), score=0.5, tags=[Text(text="mug", source="human")])],
    ).to_json())  # fmt: skip
    data = tmp_path_factory.mktemp("kitchen") / "train"
    data.mkdir()
    writer = ShardWriter(data / "train-000000.tar")
    writer.write(raw)
    writer.close()
    write_manifest(data, Manifest(made_by=MadeBy(stage="test"), shards=[describe_shard(data / "train-000000.tar", 1)]))
    parts = {"train": (Folder(data), read_manifest(data))}
    out, model = folder / "artifacts" / "index", umgclip.load(folder / "artifacts", device="cpu")
    build_index(DatasetParts(str(data), parts), model, "artifacts", out, lambda _: None)
    return out


@pytest.mark.parametrize("name", modules())
def test_examples_run_as_written(
    name: str,
    folder: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name.startswith("umgclip.search."):
        request.getfixturevalue("index")
    monkeypatch.chdir(tmp_path)  # an example may write
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    for example in examples(name):
        result = doctest.DocTestRunner(optionflags=OPTIONS).run(example)
        assert not result.failed, f"{example.name}: {capsys.readouterr().out}"


def test_the_public_interface_has_examples() -> None:
    places = ("api", "inference.model", "inference.region_methods", "inference.hub.methods")
    shown = {example.name.removeprefix("umgclip.") for name in places for example in examples(f"umgclip.{name}")}
    whole = {f"inference.model.Model.{name}" for name in ("embed_images", "embed_texts", "classify")}
    methods = ("embed_boxes", "embed_masks", "similarity_map", "dense")
    of_regions = {f"inference.region_methods.RegionMethods.{name}" for name in methods}
    assert {"api.load", "inference.hub.methods.PretrainedMethods.save", *whole, *of_regions} <= shown
