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

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError, InputError
from umgclip.inference.answerer import Answerer
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER_WEIGHTS
from umgclip.model.clip.tower import DenseClip
from umgclip.params import RegisterParams
from umgclip.register.download import download, fetch, resolve
from umgclip.register.identity import data_hash
from umgclip.register.promotion import promote, rollback

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


def test_a_fresh_process_loads_the_model_and_answers(workspace, tmp_path: Path) -> None:
    workspace.register()
    rows = [
        {
            "image": base64.b64encode(workspace.picture(7)).decode(),
            "boxes": [[0, 0, 48, 48], [10.5, 20, 96, 96]],
            "labels": ["dog", "sky", "apple"],
        },
        {"image": base64.b64encode(workspace.picture(8)).decode()},
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


def test_the_first_good_version_becomes_champion_with_its_evidence(workspace) -> None:
    report = workspace.register()

    assert report["aliases"] == {"challenger": "1", "champion": "1"}
    assert report["gates"]["reason"] == "no champion yet: all 3 gates hold"
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


def test_a_first_version_that_fails_its_gates_is_challenger_only(workspace) -> None:
    workspace.evaluate(mask=0.1)

    report = workspace.register()

    assert report["aliases"] == {"challenger": "1"}
    assert "min_gain_over_base region.mask_top1" in report["gates"]["reason"]


def test_a_second_registration_creates_nothing_and_says_so(workspace) -> None:
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


NOTHING_TO_DO = """
import json, sys
from umgclip.__main__ import app
app(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted({"torch", "open_clip", "transformers", "peft", "cv2"} & set(sys.modules))))
"""


def test_registering_again_reads_no_model(workspace) -> None:
    workspace.register()
    inputs = workspace.inputs
    write_json(workspace.root / "params.yaml", {"register": json.loads(workspace.params.model_dump_json())})
    options = {
        "base": inputs.base, "adapter": inputs.adapter, "metrics": inputs.metrics, "data": inputs.data,
        "vocabulary": inputs.vocabulary, "protocols": inputs.protocols, "out": workspace.out,
    }  # fmt: skip
    words = [word for name, path in options.items() for word in (f"--{name}", str(path))]

    done = subprocess.run(
        [sys.executable, "-c", NOTHING_TO_DO, "register", *words],
        cwd=workspace.root, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    assert "nothing created" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_experiment_makes_a_version_and_moves_no_alias(workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.register()
    monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
    workspace.evaluate(mask=0.3, templates="a photo of {a} {}")  # the champion's weights need no gates
    same_weights = workspace.register(workspace.params.model_copy(update={"template": "a photo of {a} {}"}))
    workspace.train(seed=2)
    workspace.evaluate(mask=0.9)
    better = workspace.register()

    for report, number in ((same_weights, "2"), (better, "3")):
        assert (report["version"], report["experiment"]) == (number, "brave-owl")
        assert report["gates"]["promote"] is True
        assert report["aliases"] == {"challenger": "1", "champion": "1"}
        assert workspace.client.get_model_version("umgclip", number).tags["dvc.exp_name"] == "brave-owl"
    said = dict(workspace.summary.rows)["champion"]
    assert said == "1 (experiment brave-owl moves no alias; run `umgclip promote 3` to check the gates)"

    monkeypatch.delenv("DVC_EXP_NAME")
    applied = workspace.register()  # as after `dvc exp apply` and `dvc repro`
    assert (applied["created"], applied["experiment"]) == (False, None)
    assert applied["aliases"] == {"challenger": "3", "champion": "3", "previous_champion": "1"}


def test_the_champion_moves_for_a_gain_and_stays_for_a_loss(workspace) -> None:
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


def test_promote_false_only_says_what_would_happen(workspace) -> None:
    report = workspace.register(workspace.params.model_copy(update={"promote": False}))

    assert report["aliases"] == {"challenger": "1"}
    assert report["gates"]["promote"] is True
    assert any("the gates would move it" in value for _, value in workspace.summary.rows)

    assert workspace.register()["aliases"] == {"challenger": "1", "champion": "1"}
    assert workspace.versions() == ["1"]


def test_on_a_new_benchmark_the_champion_stays_until_its_own_weights_are_measured_there(workspace) -> None:
    workspace.register()
    champion = {path: path.read_bytes() for path in workspace.inputs.adapter.rglob("*") if path.is_file()}

    workspace.write_dataset(workspace.inputs.data / "benchmark", seed=99)
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


def test_adapters_compare_by_the_settings_of_their_evaluation_alone(workspace) -> None:
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
def test_metrics_of_other_weights_or_another_benchmark_are_refused(workspace, field: str, value: str | None) -> None:
    report = json.loads(workspace.inputs.metrics.read_text())
    part, name = field.split(".")
    report["protocol"][part][name] = value
    write_json(workspace.inputs.metrics, report)

    with pytest.raises(DataError, match=rf"evaluate.json: protocol.{field}: expected .*, got {value}; run evaluate"):
        workspace.register()

    assert not workspace.out.exists()


def test_metrics_measured_before_training_again_are_refused(workspace) -> None:
    workspace.train(seed=2)

    with pytest.raises(DataError, match=r"protocol.inputs.adapter_sha256: expected .*; run evaluate again"):
        workspace.register()


def test_weights_that_are_not_the_reported_ones_are_refused(workspace) -> None:
    write_json(workspace.inputs.adapter / "train.json", {"adapter_sha256": "f" * 64})

    with pytest.raises(DataError, match=r"adapter_model.safetensors: expected adapter_sha256 ffff"):
        workspace.register()


def test_the_data_hash_is_dvcs_when_there_is_one(workspace) -> None:
    data, repo = workspace.inputs.data, workspace.root
    assert data_hash(data, repo).startswith("manifests:")

    lock = "schema: '2.0'\nstages:\n  base:\n    cmd: x\n    deps:\n    - {path: data, md5: abc.dir}\n"
    (repo / "dvc.lock").write_text(lock)
    assert data_hash(data, repo) == "dvc:abc.dir"

    (repo / "data.dvc").write_text("outs:\n- md5: def.dir\n  path: data\n")
    assert data_hash(data, repo) == "dvc:def.dir"


def test_bad_requests_are_named(workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    workspace.register()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/umgclip@challenger")
    image = base64.b64encode(workspace.picture(1)).decode()

    for row, message in (
        ({"image": "not base64!"}, "row 0: image: not valid base64"),
        ({"image": base64.b64encode(b"no image").decode()}, "row 0: image: not a readable image"),
        ({"image": image, "labels": ["dog"], "boxes": [[5.0, 5.0, 5.0, 9.0]]}, r"row 0: boxes\[0\]: expected x0 < x1"),
        ({"image": image, "labels": ["dog"], "boxes": [[5.0, 5.0, 9.0]]}, r"row 0: boxes\[0\]: expected 4 numbers"),
        ({"image": image, "labels": [" "]}, r"row 0: labels\[0\]: expected a text that is not empty"),
    ):
        with pytest.raises(Exception, match=message):  # noqa: B017, PT011 - MLflow may wrap it
            model.predict([row])


def test_a_version_brings_its_card_its_vocabulary_and_the_config_of_its_training(workspace, tmp_path: Path) -> None:
    workspace.register(workspace.params.model_copy(update={"box_share": 0.5}))

    model = fetch(workspace.store, "umgclip", "1", tmp_path / "fetched")

    folder, _ = download(workspace.store, "umgclip", "1", tmp_path / "fetched")
    assert folder.is_relative_to(workspace.root / "mlartifacts"), "files on this machine are read where they lie"
    kept = {path.name: path for path in folder.iterdir()}
    assert set(kept) == {
        "adapter", "base.json", "model_card.md", "open_clip_config.json", "open_clip_model.safetensors", "train.json",
        "vocabulary.json",
    }  # fmt: skip
    card = kept["model_card.md"].read_text()
    assert card == (workspace.out / "model_card.md").read_text()
    assert "It passed them when it was registered: no champion yet: all 3 gates hold." in card
    assert "| min_gain_over_base | region.mask_top1 | at least 0.100 | 0.250 | yes |" in card
    assert "- region: true things of the scenes, micro top-1" in card
    assert model.target.vocabulary == ("apple", "dog", "sky")
    assert (model.template, model.box_share) == ("{a} {}", 0.5)
    assert "Of a box the middle is read, 0.5 of each side." in card


@pytest.mark.parametrize("place", ["sqlite", "server"])
def test_a_version_is_fetched_by_its_alias_and_answers_as_the_folders_do(
    workspace, tmp_path: Path, place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_server"))
    workspace.register()
    store = workspace.store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the store that is passed counts, not this one

    model = fetch(store, "umgclip", resolve(store, "umgclip", "champion"), tmp_path / "fetched", device="cpu")

    local = Answerer.load(workspace.inputs.base, workspace.inputs.adapter / "adapter", device="cpu")
    asked = {
        "image": workspace.picture(3), "labels": ["dog", "sky"], "boxes": [[2, 2, 30, 30]], "region_embeddings": True,
    }  # fmt: skip
    [got], [wanted] = model.answer([model.prepare(asked)]), local.answer([local.prepare(asked)])
    np.testing.assert_allclose(got["embedding"], wanted["embedding"], atol=1e-6)
    np.testing.assert_allclose(got["label_scores"], wanted["label_scores"], atol=1e-6)
    np.testing.assert_allclose(got["box_embeddings"], wanted["box_embeddings"], atol=1e-6)


def test_other_code_than_the_registered_one_is_named(workspace, tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    workspace.register()
    fetch(workspace.store, "umgclip", "1", tmp_path / "same")
    [kept] = workspace.root.glob("mlartifacts/**/code/umgclip/inference/answerer.py")
    code = kept.read_text(encoding="utf-8")
    kept.write_text(f'"""Other words."""\n# a note\n{code.split(chr(34) * 3, 2)[2]}', encoding="utf-8")
    fetch(workspace.store, "umgclip", "1", tmp_path / "other-words")
    assert "was registered with code" not in caplog.text

    assert "= scores.topk(min(request.tags, len(scores)))" in code
    kept.write_text(code.replace("scores.topk(min(request.tags, len(scores)))", "scores.topk(1)"), encoding="utf-8")
    fetch(workspace.store, "umgclip", "1", tmp_path / "other-code")

    said = "umgclip v1 was registered with code that differs from the installed umgclip"
    assert [said in record.getMessage() for record in caplog.records if "registered with" in record.getMessage()] == [
        True
    ]
    assert caplog.records[-1].getMessage().endswith("answers may differ: umgclip.inference.answerer")


def test_what_is_not_there_cannot_be_fetched(workspace, tmp_path: Path) -> None:
    workspace.register()

    for wanted in ("best", "2"):
        with pytest.raises(InputError, match=f"umgclip in sqlite.*: expected a registered model with .* '{wanted}'"):
            resolve(workspace.store, "umgclip", wanted)
    with pytest.raises(InputError, match="nobody in sqlite"):
        fetch(workspace.store, "nobody", "1", tmp_path / "fetched")


def test_another_prompt_or_vocabulary_makes_a_new_version_of_the_champion(workspace) -> None:
    workspace.register()

    other = workspace.register(workspace.params.model_copy(update={"template": "a photo of {a} {}"}))
    again = workspace.register(workspace.params.model_copy(update={"template": "a photo of {a} {}"}))

    assert other["aliases"] == {"challenger": "2", "champion": "2", "previous_champion": "1"}
    assert other["gates"]["reason"] == "the weights of champion v1, registered anew"
    assert (again["created"], again["aliases"]) == (False, other["aliases"])


def test_registering_again_does_not_undo_a_rollback(workspace) -> None:
    workspace.register()
    workspace.train(seed=2)
    workspace.evaluate(mask=0.4)
    workspace.register()
    rollback(workspace.params, workspace.store)

    same = workspace.register()
    repacked = workspace.register(workspace.params.model_copy(update={"template": "{}"}))

    assert same["aliases"] == {"challenger": "2", "champion": "1", "previous_champion": "2"}
    assert same["gates"]["reason"].startswith("v2, which was rolled back to v1")
    assert repacked["aliases"] == {"challenger": "3", "champion": "1", "previous_champion": "2"}
    assert repacked["gates"]["reason"].startswith("these are the weights of v2, which was rolled back to v1")
    assert promote(workspace.params, "2", workspace.store).champion_after == "2"


def test_latency_is_measured_where_the_gates_ask_for_it(workspace) -> None:
    def asking(most: float) -> RegisterParams:
        gates = workspace.params.gates.model_copy(update={"max_latency_ratio": most})
        return workspace.params.model_copy(update={"gates": gates})

    workspace.register(asking(1e-6))  # no champion, nothing to compare with
    workspace.train(seed=2)
    workspace.evaluate(mask=0.4)
    slow = workspace.register(asking(1e-6))
    version = promote(asking(1e-6), None, workspace.store, dry_run=True)
    quick = workspace.register(asking(1e6))

    assert slow["aliases"] == {"challenger": "2", "champion": "1"}
    assert "1 of 4 gates fail: max_latency_ratio time over the champion's: expected at most" in slow["gates"]["reason"]
    assert not version.decision.checks[-1].passed
    assert quick["aliases"] == {"challenger": "2", "champion": "2", "previous_champion": "1"}
    assert quick["gates"]["checks"][-1]["gate"] == "max_latency_ratio"
    assert "| max_latency_ratio | time over the champion's | at most" in (workspace.out / "model_card.md").read_text()


def test_a_version_is_loaded_by_its_name_and_exported(workspace, tmp_path: Path, monkeypatch) -> None:
    workspace.register()
    monkeypatch.chdir(workspace.root)
    model = umgclip.load("models:/umgclip@champion", device="cpu")
    tower = DenseClip(load_tuned(workspace.inputs.base, workspace.inputs.adapter / "adapter")).eval()
    pixels = np.random.default_rng(7).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected, _ = tower.encode_image(files.to_input(pixels[None]))
    np.testing.assert_allclose(model.embed_images([pixels]), expected, atol=1e-5)
    export("models:/umgclip/1", None, "open_clip", tmp_path / "plain")
    exported = umgclip.load(tmp_path / "plain", device="cpu")
    np.testing.assert_allclose(exported.embed_images([pixels]), expected, atol=1e-5)
    with pytest.raises(InputError, match="expected a registered model with alias 'nobody'"):
        umgclip.load("models:/umgclip@nobody")


def test_another_user_may_read_what_is_registered(workspace) -> None:
    before = os.umask(0o022)
    try:
        workspace.register()
    finally:
        os.umask(before)
    made = list((workspace.root / "mlartifacts").rglob("*"))
    assert {path.suffix for path in made} >= {".safetensors", ".json", ".py"}
    assert [path for path in made if path.stat().st_mode & (0o055 if path.is_dir() else 0o044) == 0] == []
