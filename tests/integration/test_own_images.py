"""A folder of photos and a captions file become a tuned, evaluated, exported model: the README's way, small."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import open_clip
import pytest
import torch
from ruamel.yaml import YAML

from umgclip.data.stream import decode, read_raw
from umgclip.io.images import encode_jpeg, encode_png
from umgclip.model.clip import files
from umgclip.params import DataParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
SIZES = ((120, 90), (96, 96), (80, 144))  # width, height
CHANGES = {
    "base": {"pretrained": "clip", "model": "clip"},
    "annotate": {"held_out": [], "min_concept_count": 1},
    "validate": {"labelled_image_share_min": 0.0, "label_score_mean_min": 0.0, "tolerance": 1.0},
    "train": {"steps": 2, "batch": 4, "resize": "pad"},
    "evaluate": {"crop_px": None, "resize": "pad"},
}


def write_photos(folder: Path, dataset: Path, names: list[str]) -> None:
    """Photos of several sizes with a table of captions."""
    folder.mkdir(parents=True)
    rows = []
    for number, (name, (shard, raw)) in enumerate(zip(names, read_raw(dataset), strict=False)):
        sample = decode(raw, shard)
        pixels = cv2.resize(sample.pixels, SIZES[number % len(SIZES)])
        (folder / name).write_bytes(encode_png(pixels) if name.endswith(".png") else encode_jpeg(pixels, 90))
        rows.append((name, sample.record.captions[0].text))
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("file_name", "caption"), *rows])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Photos, a CLIP with random weights, and params.yaml with some values changed."""
    root = tmp_path_factory.mktemp("mine")
    write_demo(DataParams(seed=3, train_scenes=12, benchmark_scenes=5, benchmark_singles=1), root / "demo")
    write_photos(
        root / "photos", root / "demo" / "train", [f"été {n}.v2.{'png' if n % 4 else 'jpg'}" for n in range(12)]
    )
    write_photos(root / "test", root / "demo" / "benchmark", [f"{n}.jpg" for n in range(5)])
    (root / "photos" / "torn.jpg").write_bytes((root / "photos" / "été 0.v2.jpg").read_bytes()[:300])
    torch.manual_seed(0)
    config = files.tower_config(TowerParams(width=32, layers=2, heads=2, text_width=32, text_layers=1, text_heads=2))
    (root / "clip").mkdir()
    files.save(root / "clip", files.build(config), config)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for section, values in CHANGES.items():
        params[section].update(values)
    yaml.dump(params, root / "params.yaml")
    return root


def test_photos_become_a_model_that_plain_open_clip_loads(project):
    def run(command: str) -> str:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("UMGCLIP_", "MLFLOW_", "AWS_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "umgclip", *command.split()],
            cwd=project, env={**environment, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    said = run("data import folder photos --captions photos/captions.csv --license CC0")
    assert "truncated 1" in said
    run("data import folder test --captions test/captions.csv --split benchmark")
    for stage in ("base", "annotate", "validate", "train", "evaluate", "register"):
        run(stage)
    metrics = json.loads((project / "metrics" / "evaluate.json").read_text())
    assert set(metrics["tuned"]) == {"retrieval"}
    run("export --to open_clip --out exported")

    import umgclip

    tuned = umgclip.load(project / "artifacts")
    plain = open_clip.create_model(f"local-dir:{project / 'exported'}").eval()
    with torch.no_grad():
        texts = plain.encode_text(tuned.tower.tokenizer(["a dog", "a key"]), normalize=True).numpy()
    assert np.abs(texts - tuned.embed_texts(["a dog", "a key"])).max() <= 1e-5
    photo = project / "photos" / "été 0.v2.jpg"
    assert tuned.classify(photo, ["dog", "key"], boxes_xyxy=[[8, 8, 60, 60]]).sum() == pytest.approx(1.0, abs=1e-5)
