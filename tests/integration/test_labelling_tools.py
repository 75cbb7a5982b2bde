"""The labelling tools' own packages read what an export writes, and write what an import reads.

Each package is installed into an environment of its own, since none of them can be installed beside this one.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.environments import make_environment
from tests.unit.review.conftest import scene, write_dataset
from umgclip.cli.data.classifying import classifiers
from umgclip.data.corrections import open_corrections
from umgclip.data.stream import read_raw
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.model.clip import files
from umgclip.params import DataParams, ImportParams, TowerParams
from umgclip.review.exporting import Wish, run_export
from umgclip.review.importing import run_import
from umgclip.review.shown import read_shown
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.exporting.fiftyone import to_fiftyone
from umgclip.sources.importing.run import run_import as import_files
from umgclip.sources.request import Request

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def python_with(tmp_path_factory):
    """Make an environment with packages; gives its interpreter. A package that cannot be installed skips the test."""

    def make(*packages: str) -> Path:
        return make_environment(tmp_path_factory.mktemp("tool") / "environment", *packages)

    return make


def run(python: Path, script: str, *words: object) -> str:
    """Run a script in another environment; gives what it prints."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(words[0]), "FIFTYONE_DO_NOT_TRACK": "true"}
    command = [python, "-c", script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def export(tmp_path):
    def make(tool: str) -> Path:
        data = write_dataset(tmp_path / "data", [scene(number) for number in range(4)])
        run_export(Folder(data), read_manifest(data), Wish(tool, 10), tmp_path / "review")
        return tmp_path / "review"

    return make


@pytest.fixture
def kit_fiftyone(tmp_path):
    """An export for FiftyOne with a model's labels, a base, and a check that records come back as they were."""
    tiny = TowerParams(width=64, heads=2, layers=2, text_width=64, text_heads=2, text_layers=1, embed_dim=64)
    files.save(tmp_path / "base", files.build(files.tower_config(tiny)), files.tower_config(tiny))
    write_demo(DataParams(train_scenes=3, benchmark_scenes=6, benchmark_singles=3, shard_samples=4), tmp_path / "data")
    benchmark = tmp_path / "data" / "benchmark"
    models = classifiers([f"tuned={tmp_path / 'base'}"], "fiftyone")
    to_fiftyone(Folder(benchmark), read_manifest(benchmark), tmp_path / "out", lambda _: None, models)

    def read_back(folder: Path) -> bool:
        request = Request("fiftyone", str(folder), "benchmark", "test")
        import_files(request, ImportParams(workers=1), tmp_path / "back", alone=True)
        written, again = ([raw.json for _, raw in read_raw(f)] for f in (benchmark, tmp_path / "back" / "benchmark"))
        return written == again

    return tmp_path / "out", tmp_path / "base", read_back


def corrections(answers: Path, shown: Path, out: Path, **options) -> dict:
    run_import(answers, read_shown(shown), out, **options)
    return {one.key: one for one in open_corrections(out).each()}


LABEL_STUDIO = """
import json, sys
from pathlib import Path
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle
from label_studio_sdk.label_interface import LabelInterface

folder = Path(sys.argv[1])
interface = LabelInterface((folder / "label_config.xml").read_text())
interface.validate()
tasks = json.loads((folder / "tasks.json").read_text())
strokes = {}
for task in tasks:
    assert interface.validate_task({"data": task["data"]})
    prediction = task["predictions"][0]
    assert interface.validate_prediction(prediction, return_errors=True) == []
    for part in prediction["result"]:
        if part["type"] == "brushlabels":
            pixels = decode_rle(part["value"]["rle"]).reshape(part["original_height"], part["original_width"], 4)
            key = f"{task['data']['key']} {part['value']['brushlabels'][0]}"
            strokes[key] = int((pixels[..., 3] > 0).sum())
            part["value"]["rle"] = mask2rle((pixels[..., 3] > 127).astype(np.uint8) * 255)  # as the tool writes it
    first = prediction["result"][0]
    annotation = {"result": [dict(part, id=f"new{n}") for n, part in enumerate(prediction["result"])], "id": 1}
    annotation["result"] = [part for part in annotation["result"] if part["type"] != "rectanglelabels"]
    assert interface.validate_annotation(annotation)
    task["annotations"] = [annotation]
(folder / "export.json").write_text(json.dumps(tasks))
print(json.dumps(strokes))
"""


def test_label_studios_own_parser_and_converter(export, python_with, tmp_path):
    folder = export("label-studio")
    strokes = json.loads(run(python_with("label-studio-sdk", "numpy"), LABEL_STUDIO, folder))
    record = scene(0)
    assert strokes["k000 cat"] == mask_ops.area(record.regions[0].mask)
    assert strokes["k003 grass"] == mask_ops.area(record.regions[2].mask)
    stated = corrections(folder / "export.json", folder, tmp_path / "out")
    assert sorted(stated) == ["k000", "k001", "k002", "k003"]
    for one in stated.values():
        assert [region.mask for region in one.regions] == [record.regions[0].mask, record.regions[2].mask]
        assert [region.id for region in one.removed] == ["1"]
        assert [tag.text for tag in one.tags] == ["cat", "dog", "bird"]


PEOPLE = """
import json, sys, time
from pathlib import Path
import requests

folder, address = Path(sys.argv[1]), sys.argv[2]
session = requests.Session()
for _ in range(240):
    try:
        session.get(f"{address}/user/login/", timeout=5)
        break
    except requests.ConnectionError:
        time.sleep(1)
def csrf():
    return {"X-CSRFToken": session.cookies["csrftoken"], "Referer": address}
login = {"csrfmiddlewaretoken": session.cookies["csrftoken"], "email": "a@example.com", "password": "demo-secret"}
session.post(f"{address}/user/login/", data=login, headers=csrf()).raise_for_status()

def call(method, path, **what):
    answer = session.request(method, f"{address}/api/{path}", headers=csrf(), timeout=60, **what)
    answer.raise_for_status()
    return answer

config = (folder / "label_config.xml").read_text()
project = call("POST", "projects", json={"title": "review", "label_config": config}).json()["id"]
told = call("POST", f"projects/{project}/import", json=json.loads((folder / "tasks.json").read_text())).json()
assert (told["task_count"], told["prediction_count"]) == (4, 4), told
tasks = call("GET", "tasks", params={"project": project, "fields": "all"}).json()["tasks"]
by_key = {task["data"]["key"]: call("GET", f"tasks/{task['id']}").json() for task in tasks}
results = {key: task["predictions"][0]["result"] for key, task in by_key.items()}
results["k001"] = [part for part in results["k001"] if part["type"] != "rectanglelabels"]
for key in ("k000", "k001"):
    call("POST", f"tasks/{by_key[key]['id']}/annotations", json={"result": results[key]})
call("POST", f"tasks/{by_key['k002']['id']}/annotations", json={"result": [], "was_cancelled": True})
for kind in ("JSON", "JSON_MIN"):
    export = call("GET", f"projects/{project}/export", params={"exportType": kind, "download_all_tasks": "true"})
    (folder / f"{kind}.json").write_bytes(export.content)
"""


@contextmanager
def label_studio(python: Path, home: Path):
    """Start Label Studio's own server; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(home), "LABEL_STUDIO_BASE_DATA_DIR": str(home / "data"),
        "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    words = ["start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    words += ["--username", "a@example.com", "--password", "demo-secret"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen([python.parent / "label-studio", *words], env=environment, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


@pytest.mark.timeout(1500)
def test_label_studios_own_server(export, python_with, tmp_path):
    folder = export("label-studio")
    python = python_with("label-studio")
    with label_studio(python, tmp_path / "home") as address:
        run(python, PEOPLE, folder, address)
    stated = corrections(folder / "JSON.json", folder, tmp_path / "out")
    assert sorted(stated) == ["k000", "k001"]  # one was skipped, and one nobody opened
    shown = scene(0).regions[:3]
    whole, less = stated["k000"], stated["k001"]
    assert [(one.box_xyxy, one.mask) for one in whole.regions] == [(one.box_xyxy, one.mask) for one in shown]
    assert (whole.removed, whole.negative_tags) == ([], [])
    assert [one.id for one in less.removed] == ["1"]
    assert less.looks[0].at
    with pytest.raises(InputError, match="got JSON-MIN"):
        run_import(folder / "JSON_MIN.json", read_shown(folder), tmp_path / "min")


# FiftyOne keeps its data sets in MongoDB, whose server is no Python package; mongomock stands in for the server alone
MONGO = """
import os, sys
os.environ |= {"FIFTYONE_DATABASE_URI": "mongodb://localhost", "FIFTYONE_DATABASE_VALIDATION": "false"}
import mongoengine, mongomock, pymongo
from mongomock.store import ServerStore

store = ServerStore.get_default() if hasattr(ServerStore, "get_default") else ServerStore()

class Client(mongomock.MongoClient):
    _closed = False

    def __init__(self, *_, **__):
        super().__init__(_store=store)

client = Client()
pymongo.MongoClient = lambda *_, **__: client
connect = mongoengine.connect
mongoengine.connect = lambda name, **others: connect(name, mongo_client_class=Client, **others)
"""

FIFTYONE = (
    MONGO
    + """
import numpy as np
import fiftyone as fo

folder, done = sys.argv[1:]
dataset = fo.Dataset.from_dir(folder, dataset_type=fo.types.FiftyOneDataset)
assert len(dataset) == 4, len(dataset)
assert dataset.default_classes == ["bird", "cat", "dog", "grass"], dataset.default_classes
for sample in dataset:
    cat, dog, grass = sample.regions.detections
    assert (cat.label, cat.region_id, cat.caption) == ("cat", "0", "a cat; asleep")
    assert cat.mask.dtype == bool and cat.mask.shape == (19, 19) and int(cat.mask.sum()) == 253
    assert os.path.isfile(sample.filepath) and sample.license == "CC0-1.0"
    assert [one.label for one in sample.image_tags.classifications] == ["cat", "dog", "bird"]
    if sample.key == "k003":
        continue  # nobody looked at it
    sample.tags.append("reviewed")
    if sample.key == "k001":
        cat.label = "fox"
        sample.regions.detections.remove(dog)
        mask = np.zeros((10, 20), bool)
        mask[:, :10] = True
        drawn = fo.Detection(label="moon", bounding_box=[0, 0, 20 / 64, 10 / 48], mask=mask)
        sample.regions.detections.append(drawn)
        sample.image_tags.classifications.pop(0)
        sample.captions = ["a fox"]
    sample.save()
dataset.export(done, dataset_type=fo.types.FiftyOneDataset, export_media=False)
"""
)


def test_fiftyones_own_importer_and_exporter(export, python_with, tmp_path):
    folder = export("fiftyone")
    run(python_with("fiftyone", "mongomock"), FIFTYONE, folder, tmp_path / "done")
    stated = corrections(tmp_path / "done", folder, tmp_path / "out")
    assert sorted(stated) == ["k000", "k001", "k002"]
    shown = scene(0).regions[:3]
    for key in ("k000", "k002"):
        assert [(one.box_xyxy, one.mask) for one in stated[key].regions] == [(one.box_xyxy, one.mask) for one in shown]
        assert stated[key].removed == []
    fox, grass, moon = stated["k001"].regions
    assert (fox.tags[0].text, fox.mask, fox.negatives[0].text) == ("fox", shown[0].mask, "cat")
    assert (grass.id, grass.mask) == ("2", shown[2].mask)
    assert (moon.tags[0].text, moon.box_xyxy) == ("moon", (0.0, 0.0, 20.0, 10.0))
    assert mask_ops.tight_box(moon.mask) == (0.0, 0.0, 10.0, 10.0)
    assert [one.id for one in stated["k001"].removed] == ["0", "1"]
    assert [tag.text for tag in stated["k001"].negative_tags] == ["cat"]
    assert [text.text for text in stated["k001"].captions] == ["a fox"]


# models need torch, which stands behind FiftyOne's own packages; its OpenCV lacks a module that proposals need
ZOO = (
    MONGO
    + """
from pathlib import Path

folder, done, artifacts, site, package = sys.argv[1:]
sys.path.insert(0, site)
import cv2

sys.path.pop(0)
sys.path += [package, site]
import numpy as np
import fiftyone as fo
import umgclip.fiftyone

dataset = fo.Dataset.from_dir(folder, dataset_type=fo.types.FiftyOneDataset)
assert len(dataset) == 9, len(dataset)
for sample in dataset:
    if sample.label is None:
        things = sample.regions.detections
        assert len(sample.tuned.detections) == len(things) > 0
        assert things[0].mask.dtype == bool and things[0].confidence is None
        assert {one.label for one in things} <= set(dataset.default_classes)
        targets = dataset.mask_targets["segmentation"]
        assert set(map(int, np.unique(sample.segmentation.get_mask()))) - {0} <= set(targets)
    assert sample.tags == ["test"] and os.path.isfile(sample.filepath)
dataset.export(done, dataset_type=fo.types.FiftyOneDataset)
labels = dataset.default_classes[:4]
load = umgclip.fiftyone.load_model
options = {"device": "cpu"}
model = load(artifacts, labels, settings={"threshold": 0}, **options)
dataset.apply_model(model, label_field="found", batch_size=4, skip_failures=False)
scenes = dataset.match(fo.ViewField("regions.detections").length() > 0)
named = load(artifacts, labels, task="boxes", boxes="regions", **options)
dataset.apply_model(named, label_field="named", skip_failures=False)
dataset.apply_model(load(artifacts, labels, task="image", **options), label_field="whole", skip_failures=False)
for sample in dataset:
    assert sample.whole.label in labels and 0 < sample.whole.confidence <= 1
    assert {one.label for one in sample.found.detections} <= set(labels)
    boxes = [one.bounding_box for one in sample.regions.detections] if sample.regions else []
    assert [one.bounding_box for one in sample.named.detections] == boxes
rows = dataset.compute_embeddings(model, batch_size=4)
assert np.asarray(rows).shape == (9, model.umgclip.embed_dim)
assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
"""
)


@pytest.mark.timeout(1500)
def test_fiftyone_reads_an_export_and_applies_models(kit_fiftyone, python_with, tmp_path):
    out, artifacts, read_back = kit_fiftyone
    site = sysconfig.get_paths()["purelib"]
    run(python_with("fiftyone", "mongomock"), ZOO, out, tmp_path / "done", artifacts, site, Path.cwd())
    assert read_back(tmp_path / "done")


# the library with which CVAT reads and writes COCO
DATUMARO = """
import sys, zipfile
from pathlib import Path
import datumaro

folder, done = map(Path, sys.argv[1:])
zipfile.ZipFile(folder / "annotations.zip").extractall(folder / "unpacked")
(folder / "unpacked" / "images").mkdir()
dataset = datumaro.Dataset.import_from(str(folder / "unpacked"), "coco_instances")
assert sorted(item.id for item in dataset) == ["k000", "k001", "k002", "k003"]
labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
for item in dataset:
    masks = {labels[one.label]: int(one.image.sum()) for one in item.annotations if hasattr(one, "image")}
    assert masks == {"cat": 253, "grass": 64 * 48 - 253}, masks
first = next(item for item in dataset if item.id == "k001")
first.annotations = [one for one in first.annotations if labels[one.label] != "dog"]
dataset.put(first)
dataset.export(str(done), "coco_instances", save_media=False)
"""


def test_coco_is_read_and_written_by_the_library_that_cvat_uses(export, python_with, tmp_path):
    from pycocotools.coco import COCO

    folder = export("cvat")
    coco = COCO(str(folder / "annotations" / "instances_default.json"))
    drawn = [one for one in coco.loadAnns(coco.getAnnIds(imgIds=[1])) if one["segmentation"]]
    assert [int(coco.annToMask(one).sum()) for one in drawn] == [253, 64 * 48 - 253]
    run(python_with("datumaro"), DATUMARO, folder, tmp_path / "done")
    stated = corrections(tmp_path / "done", folder, tmp_path / "out")
    assert list(stated) == ["k001"]
    assert [one.id for one in stated["k001"].removed] == ["1"]
    every = corrections(tmp_path / "done", folder, tmp_path / "all", looked_at="all")
    shown = scene(0).regions[:3]
    assert [(one.box_xyxy, one.mask) for one in every["k000"].regions] == [(one.box_xyxy, one.mask) for one in shown]
