"""The whole pipeline as a user runs it: `dvc repro` in a clone, small."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from umgclip.data.stream import read_raw

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STAGES = ["base", "annotate", "validate", "train", "evaluate", "register"]
PICTURED = ("classification", "retrieval", "tagging", "region", "semantic", "panoptic")
# pages with commands that a user types in a checkout
PAGES = ("README.md", "docs/daily.md")
# commands of these that tests before the last one run
COVERED = {"dvc repro", "dvc exp run -S train.lora.rank=8", "dvc metrics diff", "dvc plots show"}


@pytest.fixture(scope="module")
def finished(clone, run):
    """The pipeline, once, from data to registration."""
    run("umgclip data demo --out data && dvc add --quiet data")
    done = run("dvc repro")
    run("git add -A && git commit -q -m results")
    return done


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def test_every_stage_runs_in_order_and_leaves_its_results(finished, clone):
    assert ran(finished.stdout) == STAGES
    metrics = json.loads((clone / "metrics" / "evaluate.json").read_text())
    for model in ("base", "tuned"):
        assert set(metrics[model]) == {*PICTURED, "detection"}
    for picture in PICTURED:
        assert (clone / "artifacts" / "evaluate" / "pictures" / f"{picture}.png").stat().st_size > 1000
    registered = json.loads((clone / "artifacts" / "register" / "register.json").read_text())
    assert str(registered["version"]) == "1"
    assert (clone / "artifacts" / "data_docs" / "index.html").is_file()
    page = (clone / "artifacts" / "evaluate" / "report.html").read_bytes()
    assert [path.read_bytes() for path in (clone / "mlartifacts").glob("*/artifacts/report.html")] == [page]
    # no label of a held-out class has come into training
    validated = json.loads((clone / "metrics" / "validate.json").read_text())
    assert validated["failed"]["region_label_held_out"] == 0


def test_nothing_changed_runs_nothing_but_registration(finished, clone, run):
    again = run("dvc repro")
    assert ran(again.stdout) == ["register"]
    assert str(json.loads((clone / "artifacts" / "register" / "register.json").read_text())["version"]) == "1"


def test_a_checkout_in_which_validation_is_cached_has_its_page(finished, clone, run):
    page = clone / "artifacts" / "data_docs" / "index.html"
    before = page.read_bytes()
    run("rm -r artifacts/data_docs artifacts/validate")
    assert ran(run("dvc repro --single-item validate").stdout) == []
    assert page.read_bytes() == before
    run("umgclip validate")  # the folder is known as one that may be replaced
    assert page.read_bytes() == before
    assert "up to date" in run("dvc status validate").stdout


def test_a_changed_training_value_reruns_train_onwards(finished, clone, run):
    before = (clone / "artifacts" / "train" / "adapter" / "adapter_model.safetensors").read_bytes()
    run("dvc exp run -S train.lora.rank=8")
    status = run("dvc status").stdout
    assert "base" not in status
    assert (clone / "artifacts" / "train" / "adapter" / "adapter_model.safetensors").read_bytes() != before
    registered = json.loads((clone / "artifacts" / "register" / "register.json").read_text())
    assert (str(registered["version"]), registered["aliases"]["challenger"]) == ("2", "1")  # experiments move none
    assert "train.lora.rank" in run("dvc params diff").stdout
    said = run("dvc metrics diff").stdout
    assert "headlines.json" in said
    assert sum("evaluate.json" in line or "headlines.json" in line for line in said.splitlines()) <= 32
    run("dvc plots show")
    assert (clone / "dvc_plots" / "index.html").is_file()
    run("git checkout -q -- . && dvc checkout -q")


def test_a_params_typo_stops_with_its_name(finished, clone, run):
    """A key in place of another is missed by DVC; one more is found by the stage that always runs."""
    text = (clone / "params.yaml").read_text()
    (clone / "params.yaml").write_text(text.replace("lr_peak:", "lr_peek:"))
    failed = run("dvc repro train", expect=255)
    (clone / "params.yaml").write_text(text.replace("  lr_peak:", "  lr_peek: 1\n  lr_peak:"))
    refused = run("dvc repro", expect=255)
    (clone / "params.yaml").write_text(text)
    run("dvc checkout -q")  # DVC takes a stage's outputs away before it runs the stage
    assert "Parameters 'train.lr_peak' are missing from 'params.yaml'" in failed.stderr
    assert "unknown key train.lr_peek" in refused.stdout + refused.stderr


def test_a_training_that_is_killed_goes_on_and_ends_the_same(finished, clone, run, tmp_path):
    adapter = clone / "artifacts" / "train" / "adapter" / "adapter_model.safetensors"
    whole = adapter.read_bytes()
    command = [Path(sys.executable).parent / "umgclip", "train", "--out", tmp_path / "out", "--work", tmp_path / "work"]
    command += ["--metrics", tmp_path / "m.json", "--plots", tmp_path / "p.csv"]
    process = subprocess.Popen(command, cwd=clone, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "work" / "checkpoint.pt").is_file() and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=250, check=False)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes() == whole


def _commands() -> list[str]:
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_the_python_of_the_readme_runs(finished, clone, run):
    """In the clone, whose registry has a challenger; the photo is one of the benchmark's."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert any("umgclip.load" in block for block in blocks)
    raw = next(raw for _, raw in read_raw(clone / "data" / "benchmark") if raw.extension == "jpg")
    (clone / "photo.jpg").write_bytes(raw.image)
    for block in blocks:
        (clone / "example.py").write_text(block)
        run("python example.py")
    run("rm photo.jpg example.py")


def test_the_commands_of_readme_and_daily_work_run(finished, clone, run):
    commands = _commands()
    assert {"make demo", "make test", *COVERED} <= set(commands)
    for command in commands:
        if command in COVERED or command.startswith(("git clone", "cd ")):
            continue
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), command
        elif command.startswith("mlflow ui"):
            _answers(f"{command} --workers 1", clone)  # each of four would import MLflow
        elif command == "umgclip serve":
            _answers(f"{command} --alias challenger", clone)  # the small pipeline may pass no gate
        else:
            run(command)
            run("git checkout -q -- .")


def _answers(command: str, clone: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = [str(Path(sys.executable).parent / command.split()[0]), *command.split()[1:], "--port", str(port)]
    with (clone / "artifacts" / ".ui.log").open("wb") as log:
        server = subprocess.Popen(words, cwd=clone, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert server.poll() is None, f"{command} ended"
                assert time.monotonic() < deadline, f"{command} does not answer"
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
