"""The scripts and notebooks of `examples`: each runs as its README says, on a tiny model and a few photos."""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from umgclip.data.stream import decode, read_raw

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def world(write_evaluation, tmp_path_factory) -> Path:
    """A folder with a tiny model, `artifacts`, and twelve photos with boxes and captions in COCO's files."""
    root = tmp_path_factory.mktemp("examples")
    write_evaluation(root / "artifacts", 12, 1)
    photos = root / "photos"
    photos.mkdir()
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    captions = []
    for number, (shard, raw) in enumerate(read_raw(root / "artifacts" / "data" / "benchmark")):
        sample = decode(raw, shard)
        name = f"été {number}.jpg"
        (photos / name).write_bytes(raw.image)
        height, width = sample.pixels.shape[:2]
        coco["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        x0, y0, x1, y1 = sample.record.regions[0].box_xyxy
        box = {"id": number, "image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        coco["annotations"].append(box)
        captions.append({"id": number, "image_id": number, "caption": sample.record.captions[0].text})
    (root / "boxes.json").write_text(json.dumps(coco))
    (root / "captions.json").write_text(json.dumps({**coco, "annotations": captions}))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(root / "photo.jpg")
    return root


@pytest.fixture
def run(world, monkeypatch, capsys) -> Callable[..., str]:
    """Runs a script in the folder of the photos, in this process, and returns what it prints."""

    def script(*words: str) -> str:
        monkeypatch.chdir(world)
        monkeypatch.setattr(sys, "argv", list(words))
        runpy.run_path(str(EXAMPLES / words[0]), run_name="__main__")
        return capsys.readouterr().out

    return script


def test_the_page_lists_every_script_and_shows_how_to_call_it():
    assert sorted(re.findall(r"^\| \[(\w+\.py)\]\(\1\) \|", PAGE, re.MULTILINE)) == SCRIPTS
    assert sorted(set(re.findall(r"^python examples/(\w+\.py)", PAGE, re.MULTILINE))) == SCRIPTS
    assert sorted(set(re.findall(r"\((\w+\.ipynb)\)", PAGE))) == [path.name for path in NOTEBOOKS]


def test_every_script_has_a_test():
    tested = set(re.findall(r"run\(\s*\"(\w+\.py)\"", Path(__file__).read_text(encoding="utf-8")))
    assert sorted(tested) == SCRIPTS


def test_a_folder_is_classified_and_a_broken_photo_has_the_reason(world, run):
    (world / "photos" / "torn.jpg").write_bytes(b"\xff\xd8\xff no photo")
    lines = run("classify_folder.py", "artifacts", "photos", "dog, key").splitlines()
    (world / "photos" / "torn.jpg").unlink()
    assert lines[0] == "file_name,label,probability,error"
    assert len(lines) == 15
    assert re.fullmatch(r"torn\.jpg,,,.+", lines[1])
    assert all(re.fullmatch(r"été \d+\.jpg,(dog|key),[01]\.\d{3},", line) for line in lines[2:])


def test_the_map_of_a_word_has_the_size_of_the_photo(run, tmp_path):
    run("similarity_map.py", "artifacts", "photo.jpg", "a dog", "--out", str(tmp_path / "dog.png"))
    with Image.open(tmp_path / "dog.png") as drawn:
        assert drawn.size == (60, 40)


def test_things_are_found_by_their_names_and_drawn(run, tmp_path):
    words = ("artifacts", "photos/été 1.jpg", "dog,key", "--threshold", "0", "--out", str(tmp_path / "found.png"))
    lines = run("detect.py", *words).splitlines()
    assert all(re.fullmatch(r"[01]\.\d{3}  (dog|key)  \[\d+, \d+, \d+, \d+\]", line) for line in lines)
    with Image.open(tmp_path / "found.png") as drawn:
        assert drawn.size == (96, 96)


def test_regions_are_ranked_by_their_cosine(run):
    lines = run("search_regions.py", "artifacts", "photos", "boxes.json", "a mug", "--top", "3").splitlines()
    cosines = [float(line.split()[0]) for line in lines]
    assert len(cosines) == 3
    assert cosines == sorted(cosines, reverse=True)


@pytest.fixture
def server() -> Iterator[str]:
    """A stand-in of `umgclip serve` that gives each label half of what the one before has."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/predict"
            body = json.dumps({"label_scores": [0.5 ** (i + 1) for i in range(len(asked["labels"]))]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    httpd = HTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_a_server_is_asked(run, server):
    assert run("ask_server.py", "photo.jpg", "dog,key", "--url", server) == "0.500  dog\n0.250  key\n"


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_clip_is_tuned_on_coco_boxes(run, tmp_path):
    run(
        "finetune_coco.py", "photos", "boxes.json", "captions.json", "--work", str(tmp_path / "work"),
        "--pretrained", "artifacts/base", "--model", "tiny", "--steps", "2", "--batch", "4", "--hold-out", "0.4",
    )  # fmt: skip
    assert (tmp_path / "work" / "artifacts" / "export" / "open_clip" / "open_clip_config.json").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_no_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert path.stat().st_size < 30_000
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def _execute(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: int) -> str:
    """Run a notebook from top to bottom in `folder`, and return what its cells print."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("MPLBACKEND", "agg")
    book = nbformat.read(EXAMPLES / name, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=timeout_s, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text", "") for output in outputs)


@pytest.mark.timeout(300)
def test_the_notebook_on_regions_runs(world, tmp_path, monkeypatch):
    monkeypatch.setenv("UMGCLIP_MODEL", str(world / "artifacts"))
    printed = _execute("explore_regions.ipynb", tmp_path, monkeypatch, 250)
    assert re.search(r"\d+ of \d+ boxes have the right name", printed)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_the_notebook_from_photographs_to_a_model_runs(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("UMGCLIP_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    printed = _execute("photographs_to_model.ipynb", tmp_path, monkeypatch, 800)
    assert "box_top1" in printed or "i2t_r1" in printed
