"""The examples in docstrings run as they are written, in a folder that holds a tiny model and a photo."""

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.params import LoraParams, TowerParams, TrainParams

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
    return folder


@pytest.mark.parametrize("name", modules())
def test_examples_run_as_written(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # an example may write
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    for example in examples(name):
        result = doctest.DocTestRunner(optionflags=OPTIONS).run(example)
        assert not result.failed, f"{example.name}: {capsys.readouterr().out}"


def test_the_public_interface_has_examples() -> None:
    shown = {example.name for name in ("umgclip.api", "umgclip.inference.model") for example in examples(name)}
    methods = ("embed_images", "embed_texts", "embed_boxes", "embed_masks", "classify", "similarity_map", "dense")
    assert {"umgclip.api.load", *(f"umgclip.inference.model.Model.{name}" for name in (*methods, "save"))} <= shown
