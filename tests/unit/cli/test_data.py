"""`umgclip data import`, `stats`, `head`, `verify` and `export`, as typed."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with params, photos of a holiday and their captions."""
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (root / "photos").mkdir()
    lines = ["file,caption"]
    for number in range(12):
        small = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((80, 60)).save(buffer, "JPEG")
        (root / "photos" / f"{number}.jpg").write_bytes(buffer.getvalue())
        lines.append(f"{number}.jpg,a view number {number}")
    (root / "photos" / "broken.jpg").write_bytes(b"")
    (root / "captions.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def umgclip(project, forks):
    """Runs a command line in the folder."""
    return lambda *words: forks.execute(["-m", "umgclip", *words], project, {**os.environ, "COLUMNS": "200"})


def test_a_folder_of_photos_is_imported_looked_at_verified_and_exported(project, umgclip):
    done = umgclip("data", "import", "folder", "photos", "--captions", "captions.csv")
    assert done.returncode == 0, done.stderr
    for found in (r"image files +│ 13 in", "12 in 1 shards", r"captions +│ 12, on 100.0 %", r"quarantine +│ empty 1"):
        assert re.search(found, done.stdout), (found, done.stdout)
    stats = umgclip("data", "stats", "data")
    assert re.search(r"sides +│ 60 to 80 px", stats.stdout)
    head = umgclip("data", "head", "data/train", "-n", "2")
    assert head.stdout.count("a view number") == 2
    verified = umgclip("data", "verify", "data")
    assert "12 samples" in verified.stdout
    for kind in ("coco", "webdataset"):
        exported = umgclip("data", "export", "data/train", "--to", kind, "--out", f"out/{kind}")
        assert exported.returncode == 0, exported.stderr
    assert (project / "out" / "coco" / "annotations" / "captions.json").is_file()
    assert (project / "out" / "webdataset" / "00000.tar").is_file()


def test_a_dataset_is_replaced_only_when_somebody_says_so(project, umgclip):
    def run(*more):
        return umgclip("data", "import", "folder", "photos", "--out", "kept", "--name", "mine", *more)

    assert run().returncode == 0
    before = (project / "kept" / "train" / "manifest.json").read_bytes()
    refused = run("--license", "CC0")
    assert refused.returncode == 2
    assert "kept/train holds 12 images imported as 'mine'; --replace replaces them" in refused.stderr
    assert (project / "kept" / "train" / "manifest.json").read_bytes() == before
    assert "expected --append or --replace, got both" in run("--append", "--replace").stderr
    assert run("--append").returncode == 0
    assert run("--replace", "--license", "CC0").returncode == 0
    assert (project / "kept" / "train" / "manifest.json").read_bytes() != before


def test_the_same_from_and_to_s3(project, umgclip, s3):
    done = umgclip("data", "import", "folder", "photos", "--out", "s3://bucket/data", "--split", "benchmark")
    assert done.returncode == 0, done.stderr
    for command in (("stats",), ("verify",), ("head", "-n", "1")):
        shown = umgclip("data", command[0], "s3://bucket/data", *command[1:])
        assert shown.returncode == 0, shown.stderr
        assert "s3://bucket/data/benchmark" in shown.stdout
    exported = umgclip("data", "export", "s3://bucket/data/benchmark", "--to", "coco", "--out", "out/from_s3")
    assert exported.returncode == 0, exported.stderr
    assert len(list((project / "out" / "from_s3" / "images").iterdir())) == 12


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["import", "folder", "nothing"], 3, "nothing: expected a folder, found none", id="no source"),
        pytest.param(
            ["import", "bogus", "nothing"],
            2,
            "unknown command 'data import bogus'; expected one of folder, yolo",
            id="kind",
        ),
        pytest.param(["import", "folder", "photos", "--out", "ftp://x"], 2, "expected a path or s3://", id="no place"),
        pytest.param(["import", "coco", "photos"], 2, "expected --captions, --instances or --panoptic", id="no JSON"),
        pytest.param(["import", "photos"], 2, "photos", id="no kind"),
        pytest.param(["stats", "nothing"], 3, "nothing: expected a dataset folder", id="no dataset"),
    ],
)
def test_mistakes_are_one_message(umgclip, arguments, code, message):
    done = umgclip("data", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
