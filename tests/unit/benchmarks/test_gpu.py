"""The command for GPUs: its measurements, processes that fail, its table, and a part of it with tiny models."""

import json
import multiprocessing
import pickle
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.gpu import results
from benchmarks.gpu.cases import TARGETS, cases
from benchmarks.gpu.device import file_name
from benchmarks.gpu.process import run_apart
from umgclip.params.annotators import KINDS

ROOT = Path(__file__).parents[3]
DEVICE = {"device": "NVIDIA H200", "kind": "cuda", "gpus": 1, "torch": "2.15", "umgclip": "0.1.0", "small": False}


@pytest.mark.parametrize("small", [True, False])
def test_every_measurement_has_a_name_and_a_function_and_can_be_sent(small):
    listed = cases(small=small)
    names = [case.name for case in listed]
    assert len(set(names)) == len(names)
    for case in listed:
        module, _, function = case.function.partition(":")
        assert callable(getattr(import_module(module), function))
        assert pickle.loads(pickle.dumps(case)) == case
    assert {name.removeprefix("annotator ") for name in names if name.startswith("annotator ")} == set(KINDS)


def test_models_sides_and_settings_of_training_are_covered():
    names = " / ".join(case.name for case in cases(small=False))
    for model in ("ViT-B-16", "ViT-L-14", "EVA02-L-14"):
        for side in (224, 336, 448):
            assert f"train, {model}, {side} px" in names
    for part in ("ddp", "fsdp2", "accumulate", "compile", "clustering", "checkpoint", "waits for data", "open_clip",
                 "evaluate", "serve", "alike, fp32", "alike, bf16"):  # fmt: skip
        assert part in names


def apart(work, *arguments, limit_s=60.0, memory_gb=8.0):
    context = multiprocessing.get_context("spawn")
    return run_apart(work, arguments, limit_s=limit_s, memory_gb=memory_gb, context=context)


def test_what_a_process_measures_or_why_it_failed_becomes_a_row():
    assert apart(dict, [("images_per_s", 2.5)])["figures"] == {"images_per_s": 2.5}
    assert apart(int, "many")["failed"].startswith("ValueError: invalid literal")
    assert apart(sys.exit, "enough")["failed"] == "SystemExit: enough"
    assert apart(time.sleep, 60, limit_s=0.5)["failed"] == "more than 0 s"
    assert apart(time.sleep, 60, memory_gb=0.001)["failed"] == "more than 0.001 GB of memory"


def test_the_table_has_figures_targets_and_reasons():
    figure = next(name for name, target in TARGETS.items() if target == "<= 1.15")
    rows = {"one": {"figures": {figure: 1.234567, "other": 2.0}}, "two": {"failed": "no | memory"}}
    text = results.markdown({**DEVICE, "rows": rows})
    assert "NVIDIA H200, torch 2.15, 1 GPUs, umgclip 0.1.0." in text
    assert f"| one | {figure.replace('_', ' ')} | 1.235 | <= 1.15 |" in text
    assert "|  | other | 2 |  |" in text
    assert "| two | not measured: no / memory | | |" in text


def test_the_page_shows_gpus_at_real_size_only(tmp_path):
    page = tmp_path / "gpu.md"
    page.write_text("before\n<!-- gpu -->\nold\n<!-- /gpu -->\nafter\n")
    small = {**DEVICE, "gpus": 0, "device": "CPU", "small": True, "rows": {}}
    results.write(page, [small])
    assert page.read_text() == f"before\n<!-- gpu -->\n{results.NONE}\n<!-- /gpu -->\nafter\n"
    results.write(page, [small, {**DEVICE, "rows": {"one": {"figures": {"a": 1.0}}}}])
    assert "| one | a | 1 |  |" in page.read_text()
    assert "CPU" not in page.read_text()
    with pytest.raises(SystemExit, match="expected <!-- gpu -->"):
        results.write(ROOT / "LICENSE", [])


def test_a_device_has_a_file_of_its_own():
    assert file_name("NVIDIA H200", small=False) == "nvidia-h200.json"
    assert file_name("CPU, x86_64", small=True) == "cpu-x86-64-small.json"


def test_a_part_of_the_small_run_measures_what_is_missing_and_keeps_the_rest(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--small", "--only", "alike, fp32", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("cpu-*-small.json")
    stored = json.loads(path.read_text())
    (row,) = stored["rows"].values()
    assert stored["small"] is True
    assert row["figures"]["inside"] == 1.0
    assert row["figures"]["largest_difference_of_cosines"] == pytest.approx(0.0, abs=1.0e-6)
    assert "tiny models: whether everything runs, not how fast" in done.stdout
    name = next(iter(stored["rows"]))
    stored["rows"][name]["figures"] = {"as": 7.0}
    path.write_text(json.dumps(stored))
    again = subprocess.run(
        [*done.args[:4], "--only", "alike", "--budget-s", "0", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    rows = json.loads(path.read_text())["rows"]
    assert rows[name]["figures"] == {"as": 7.0}
    assert [row["failed"] for other, row in rows.items() if other != name] == [
        "no time was left; run the command again"
    ]
