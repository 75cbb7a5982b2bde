"""Registration in a real SQLite MLflow: versions, aliases, gates, and the model that comes out again."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file, sha256_json, write_json
from umgclip.io.images import encode_png
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.manifest import ClassList, MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.model import files
from umgclip.model.adapters import ADAPTER_WEIGHTS, add_lora, load_tuned
from umgclip.model.tower import DenseClip
from umgclip.params import GateParams, LoraParams, RegisterParams, TowerParams
from umgclip.records import ImageRecord, Source
from umgclip.register.identity import data_hash
from umgclip.register.stage import RegisterInputs, run

TOWER = TowerParams(width=64, layers=2, heads=2, text_width=64, text_layers=1, text_heads=2, embed_dim=64)
PARAMS = RegisterParams(
    gates=GateParams(
        floors={"classification.top1": 0.5},
        max_regression={"retrieval.i2t_r1": 0.02},
        metrics=["region.mask_top1", "retrieval.i2t_r1"],
        min_mean_gain=0.01,
        min_gain_over_base={"region.mask_top1": 0.1},
    )
)


def picture(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8))


def write_dataset(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder / "a.tar")
    source = Source(dataset="demo/scenes", license="CC BY-SA 4.0 (OpenMoji)")
    record = ImageRecord(key="k", width=96, height=96, sha256="0" * 64, source=source)
    writer.write(RawSample("k", picture(seed), "png", record.to_json()))
    writer.close()
    made_by = MadeBy(stage="data", params_sha256="0", code_version="0")
    classes = ClassList(things=["dog"], stuff=["sky"], held_out=[])
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "a.tar", 1)], classes=classes))


class Workspace:
    """The folders that `register` reads, with a real tiny base and adapter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs = RegisterInputs(
            root / "base", root / "train", root / "metrics" / "evaluate.json", root / "data", root
        )
        self.out = root / "register"
        self.inputs.base.mkdir()
        torch.manual_seed(0)
        config = files.tower_config(TOWER)
        digest = files.save(self.inputs.base, files.build(config), config)
        write_json(
            self.inputs.base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "umgclip-tiny"}
        )
        self.base_sha256 = digest
        for seed, part in enumerate(("train", "benchmark")):
            write_dataset(root / "data" / part, seed)
        self.train(seed=1)
        self.evaluate()

    def train(self, seed: int) -> None:
        """Another seed, another adapter."""
        clip, _ = files.load(self.inputs.base)
        tuned = add_lora(clip, LoraParams(rank=2, alpha=4))
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, value in tuned.named_parameters():
                if "lora_B" in name:
                    value.normal_(std=0.1)
        adapter = self.inputs.adapter / "adapter"
        tuned.save_pretrained(str(adapter))
        self.adapter_sha256 = sha256_file(adapter / ADAPTER_WEIGHTS)
        report = {"base_sha256": self.base_sha256, "adapter_sha256": self.adapter_sha256}
        write_json(self.inputs.adapter / "train.json", report)

    def evaluate(self, mask: float = 0.3, i2t: float = 0.5, templates: str = "{a} {}") -> None:
        """Made-up numbers about the weights and the benchmark that are there."""
        base = {"classification": {"top1": 0.6}, "retrieval": {"i2t_r1": 0.5}, "region": {"mask_top1": 0.05}}
        tuned = {"classification": {"top1": 0.6}, "retrieval": {"i2t_r1": i2t}, "region": {"mask_top1": mask}}
        protocol = {
            "settings": {"thing_templates": templates, "match_iou": 0.5},
            "benchmark": {"sha256": read_manifest(self.inputs.data / "benchmark").digest(), "scenes": 1},
            "inputs": {
                "base_sha256": self.base_sha256,
                "adapter_sha256": self.adapter_sha256,
                "annotations_sha256": sha256_json([self.adapter_sha256, "annotations"]),
                "proposals_sha256": sha256_json([self.adapter_sha256, "proposals"]),
            },
        }
        write_json(self.inputs.metrics, {"base": base, "tuned": tuned, "protocol": protocol, "annotator": {}})

    def register(self, params: RegisterParams = PARAMS) -> dict:
        self.summary = run(params, self.inputs, self.out)
        return json.loads((self.out / "register.json").read_text())

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=f"sqlite:///{self.root / 'mlflow.db'}")

    def versions(self) -> list[str]:
        return sorted(str(version.version) for version in self.client.search_model_versions("name = 'umgclip'"))

    def runs(self) -> int:
        return len(self.client.search_runs(["1"]))


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with its tables, to copy: making them takes seconds."""
    root = tmp_path_factory.mktemp("empty")
    MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").search_experiments()
    return (root / "mlflow.db").read_bytes()


@pytest.fixture
def workspace(tmp_path: Path, empty_store: bytes, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "UMGCLIP_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return Workspace(tmp_path)


PREDICT = """
import json, sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/umgclip@challenger")
rows = json.load(sys.stdin)
table = model.predict(pd.DataFrame(rows))
listed = model.predict(rows)
assert table == listed, "a table and a list must answer alike"
rows[0]["image"] = __import__("base64").b64decode(rows[0]["image"])
[alone] = model.predict(rows[:1])
assert all(abs(a - b) < 1e-5 for a, b in zip(alone["embedding"], table[0]["embedding"])), "bytes and base64 must agree"
json.dump(table, open(sys.argv[1], "w"))
"""


def test_a_fresh_process_loads_the_model_and_answers(workspace: Workspace, tmp_path: Path) -> None:
    workspace.register()
    rows = [
        {
            "image": base64.b64encode(picture(7)).decode(),
            "boxes": [[0, 0, 48, 48], [10.5, 20, 96, 96]],
            "labels": ["dog", "sky", "apple"],
        },
        {"image": base64.b64encode(picture(8)).decode()},
    ]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.root / 'mlflow.db'}"}
    environment.pop("PYTHONPATH", None)  # the model brings the code that it needs

    done = subprocess.run(
        [sys.executable, "-c", PREDICT, "answer.json"],
        cwd=elsewhere, env=environment, input=json.dumps(rows), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    first, second = json.loads((elsewhere / "answer.json").read_text())
    tower = DenseClip(load_tuned(workspace.inputs.base, workspace.inputs.adapter / "adapter")).eval()
    pixels = np.random.default_rng(7).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected, _ = tower.encode_image(files.to_input(pixels))
        text = tower.encode_text(files.Tokenizer(32)(["a dog", "a sky", "an apple"]))
        scores = (tower.logit_scale() * expected @ text.T).softmax(-1)
    np.testing.assert_allclose(first["embedding"], expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(first["label_scores"], scores[0].numpy(), atol=1e-5)
    assert np.shape(first["box_label_scores"]) == (2, 3)
    np.testing.assert_allclose(np.sum(first["box_label_scores"], axis=1), 1.0, atol=1e-5)
    assert len(second["embedding"]) == 64
    assert second["label_scores"] is None
    assert second["box_label_scores"] is None


def test_the_first_good_version_becomes_champion_with_its_evidence(workspace: Workspace) -> None:
    report = workspace.register()

    assert report["aliases"] == {"challenger": "1", "champion": "1"}
    assert report["gates"]["reason"] == "no champion yet: all 2 gates hold"
    version = workspace.client.get_model_version_by_alias("umgclip", "champion")
    assert version.tags["umgclip.adapter_sha256"] == workspace.adapter_sha256
    assert version.tags["umgclip.base_sha256"] == workspace.base_sha256
    assert version.tags["umgclip.data_hash"].startswith("manifests:")
    assert version.tags["umgclip.git_commit"] == "unknown"
    assert json.loads(version.tags["umgclip.gates"])["promote"] is True
    logged = workspace.client.get_run(version.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["tuned.region.mask_top1"] == 0.3
    card = (workspace.out / "model_card.md").read_text()
    assert "demo/scenes: CC BY-SA 4.0 (OpenMoji)" in card
    assert "| region.mask_top1 | 0.050 | 0.300 |" in card
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_first_version_that_fails_its_gates_is_challenger_only(workspace: Workspace) -> None:
    workspace.evaluate(mask=0.1)

    report = workspace.register()

    assert report["aliases"] == {"challenger": "1"}
    assert "min_gain_over_base region.mask_top1" in report["gates"]["reason"]


def test_a_second_registration_creates_nothing_and_says_so(workspace: Workspace) -> None:
    first = workspace.register()
    runs = workspace.runs()

    second = workspace.register()

    assert (first["created"], second["created"]) == (True, False)
    assert second["version"] == "1"
    assert second["run_id"] == first["run_id"]
    assert workspace.versions() == ["1"]
    assert workspace.runs() == runs
    assert ("version", "1 (registered before with the same weights, data and benchmark; nothing created)") in (
        workspace.summary.rows
    )
    version = workspace.client.get_model_version("umgclip", "1")
    assert json.loads(version.tags["umgclip.gates"])["promote"] is True


def test_the_champion_moves_for_a_gain_and_stays_for_a_loss(workspace: Workspace) -> None:
    workspace.register()

    workspace.train(seed=2)
    workspace.evaluate(mask=0.4)
    better = workspace.register()
    workspace.train(seed=3)
    workspace.evaluate(mask=0.9, i2t=0.4)
    lossy = workspace.register()

    assert better["aliases"] == {"challenger": "2", "champion": "2", "previous_champion": "1"}
    assert lossy["aliases"] == {"challenger": "3", "champion": "2", "previous_champion": "1"}
    assert "max_regression retrieval.i2t_r1: expected at least -0.020, got -0.100" in lossy["gates"]["reason"]


def test_promote_false_only_says_what_would_happen(workspace: Workspace) -> None:
    report = workspace.register(PARAMS.model_copy(update={"promote": False}))

    assert report["aliases"] == {"challenger": "1"}
    assert report["gates"]["promote"] is True
    assert any("the gates would move it" in value for _, value in workspace.summary.rows)

    assert workspace.register()["aliases"] == {"challenger": "1", "champion": "1"}
    assert workspace.versions() == ["1"]


def test_on_a_new_benchmark_the_champion_stays_until_its_own_weights_are_measured_there(workspace: Workspace) -> None:
    workspace.register()
    champion = {path: path.read_bytes() for path in workspace.inputs.adapter.rglob("*") if path.is_file()}

    write_dataset(workspace.inputs.data / "benchmark", seed=99)
    workspace.train(seed=2)
    workspace.evaluate(mask=0.9)
    refused = workspace.register()
    assert refused["aliases"] == {"challenger": "2", "champion": "1"}
    assert "champion v1 was measured by another benchmark" in refused["gates"]["reason"]

    challenger, sha256 = dict.fromkeys(champion), workspace.adapter_sha256
    for path, content in champion.items():
        challenger[path] = path.read_bytes()
        path.write_bytes(content)
    workspace.adapter_sha256 = sha256_file(workspace.inputs.adapter / "adapter" / ADAPTER_WEIGHTS)
    workspace.evaluate(mask=0.3)
    remeasured = workspace.register()
    assert remeasured["aliases"] == {"challenger": "3", "champion": "3", "previous_champion": "1"}

    for path, content in challenger.items():
        path.write_bytes(content)
    workspace.adapter_sha256 = sha256
    workspace.evaluate(mask=0.9)
    compared = workspace.register()
    assert compared["aliases"] == {"challenger": "2", "champion": "2", "previous_champion": "3"}
    assert workspace.versions() == ["1", "2", "3"]


def test_adapters_compare_by_the_settings_of_their_evaluation_alone(workspace: Workspace) -> None:
    first = workspace.register()
    workspace.train(seed=2)
    workspace.evaluate(mask=0.4)
    same = workspace.register()
    workspace.train(seed=3)
    workspace.evaluate(mask=0.9, templates="a photo of {a} {}")
    other = workspace.register()

    assert first["identity"]["adapter_sha256"] != same["identity"]["adapter_sha256"]
    assert same["gates"]["reason"] == "against champion v1: all 3 gates hold"
    assert "champion v2 was measured by another protocol" in other["gates"]["reason"]
    assert other["aliases"]["champion"] == "2"


@pytest.mark.parametrize("field", ["inputs.adapter_sha256", "inputs.base_sha256", "benchmark.sha256"])
@pytest.mark.parametrize("value", ["f" * 64, None])
def test_metrics_of_other_weights_or_another_benchmark_are_refused(
    workspace: Workspace, field: str, value: str | None
) -> None:
    report = json.loads(workspace.inputs.metrics.read_text())
    part, name = field.split(".")
    report["protocol"][part][name] = value
    write_json(workspace.inputs.metrics, report)

    with pytest.raises(DataError, match=rf"evaluate.json: protocol.{field}: expected .*, got {value}; run evaluate"):
        workspace.register()

    assert not workspace.out.exists()


def test_metrics_measured_before_training_again_are_refused(workspace: Workspace) -> None:
    workspace.train(seed=2)

    with pytest.raises(DataError, match=r"protocol.inputs.adapter_sha256: expected .*; run evaluate again"):
        workspace.register()


def test_weights_that_are_not_the_reported_ones_are_refused(workspace: Workspace) -> None:
    write_json(workspace.inputs.adapter / "train.json", {"adapter_sha256": "f" * 64})

    with pytest.raises(DataError, match=r"adapter_model.safetensors: expected adapter_sha256 ffff"):
        workspace.register()


def test_the_data_hash_is_dvcs_when_there_is_one(workspace: Workspace) -> None:
    data, repo = workspace.inputs.data, workspace.root
    assert data_hash(data, repo).startswith("manifests:")

    lock = "schema: '2.0'\nstages:\n  base:\n    cmd: x\n    deps:\n    - {path: data, md5: abc.dir}\n"
    (repo / "dvc.lock").write_text(lock)
    assert data_hash(data, repo) == "dvc:abc.dir"

    (repo / "data.dvc").write_text("outs:\n- md5: def.dir\n  path: data\n")
    assert data_hash(data, repo) == "dvc:def.dir"


def test_bad_requests_are_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    workspace.register()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/umgclip@challenger")
    image = base64.b64encode(picture(1)).decode()

    for row, message in (
        ({"image": "not base64!"}, "row 0: image: not valid base64"),
        ({"image": base64.b64encode(b"no image").decode()}, "row 0: image: not a readable image"),
        ({"image": image, "labels": ["dog"], "boxes": [[5.0, 5.0, 5.0, 9.0]]}, r"row 0: boxes\[0\]: expected x0 < x1"),
        ({"image": image, "labels": ["dog"], "boxes": [[5.0, 5.0, 9.0]]}, r"row 0: boxes\[0\]: expected 4 numbers"),
        ({"image": image, "labels": [" "]}, "row 0: labels: expected a list of texts"),
    ):
        with pytest.raises(Exception, match=message):  # noqa: B017, PT011 - MLflow may wrap it
            model.predict([row])
