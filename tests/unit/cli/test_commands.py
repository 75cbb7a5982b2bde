"""The command line as its users meet it: a subprocess, its exit code, its one line on stderr."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umgclip.cli import exits, session
from umgclip.cli.report import markdown
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest
from umgclip.params import DataParams, load_section
from umgclip.sources.demo.scenes import write_demo

ROOT = Path(__file__).parents[3]
TINY = "data: {train_scenes: 3, benchmark_scenes: 2, benchmark_singles: 2}\n"
SLOW = "data: {train_scenes: 200000, benchmark_scenes: 2, benchmark_singles: 2}\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def umgclip(project, forks):
    """Runs a command line in the project."""
    return lambda *words: forks.execute(["-m", "umgclip", *words], project, os.environ)


def test_help_names_the_stages_and_imports_nothing_heavy(project):
    command = [sys.executable, "-m", "umgclip", "--help"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert all(stage in done.stdout for stage in ("base", "annotate", "validate", "train", "evaluate", "register"))
    code = "import sys, umgclip.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "mlflow", "open_clip", "cv2", "pandas", "great_expectations", "prefect", "dvc", "ray", "lancedb"}
    assert not heavy & set(loaded.stdout.split())


def test_an_unknown_stage_names_those_that_exist(umgclip):
    done = umgclip("evalute")
    assert done.returncode == 2
    assert "unknown command 'evalute'" in done.stderr
    assert "base, annotate, validate, train, evaluate, register" in done.stderr


def test_a_params_typo_names_the_key_and_the_allowed_ones(project, umgclip):
    (project / "params.yaml").write_text("base: {tower: {widht: 64}}\n", encoding="utf-8")
    done = umgclip("base")
    assert done.returncode == 2
    assert "umgclip base: " in done.stderr
    assert "unknown key base.tower.widht" in done.stderr
    assert "width" in done.stderr.split("expected one of")[1]


def test_an_ill_typed_param_stops_every_stage(project, umgclip):
    (project / "params.yaml").write_text("data: {train_scenes: many}\n", encoding="utf-8")
    done = umgclip("annotate")
    assert done.returncode == 2
    assert "data.train_scenes" in done.stderr
    assert "'many'" in done.stderr


def test_missing_data_is_exit_code_3_with_the_way_to_make_it(umgclip):
    done = umgclip("evaluate")
    assert done.returncode == 3
    assert done.stderr.startswith("umgclip evaluate: data/benchmark: expected a dataset folder, found none")
    assert "umgclip data demo" in done.stderr


def test_an_empty_data_folder_is_exit_code_3(project, umgclip):
    (project / "data").mkdir()
    done = umgclip("data", "verify", "data")
    assert done.returncode == 3
    assert (
        "data: expected a dataset, found no manifest.json; of a folder of images, `umgclip data import" in done.stderr
    )


def test_an_unwritable_output_is_exit_code_5(project, umgclip):
    (project / "file").write_text("in the way", encoding="utf-8")
    done = umgclip("data", "demo", "--out", "file/data")
    assert done.returncode == 5
    assert "cannot write file/data: a file of that name is in the way" in done.stderr


def test_data_demo_then_verify(umgclip):
    assert umgclip("data", "demo").returncode == 0
    done = umgclip("data", "verify", "data")
    assert done.returncode == 0
    assert "3 samples" in done.stdout


def test_verify_names_the_damaged_shard(project, umgclip):
    write_demo(load_section(project / "params.yaml", DataParams), project / "data")
    shard = project / "data" / "train" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(bytes(content))
    done = umgclip("data", "verify", "data")
    assert done.returncode == 3
    assert "train-000000.tar: expected sha256" in done.stderr


def test_data_demo_does_not_replace_a_folder_of_other_things(project, umgclip):
    (project / "photos").mkdir()
    (project / "photos" / "cat.jpg").write_bytes(b"mine")
    done = umgclip("data", "demo", "--out", "photos")
    assert done.returncode == 2
    assert (project / "photos" / "cat.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_output_and_exit_code_130(project, number):
    (project / "params.yaml").write_text(SLOW, encoding="utf-8")
    command = [sys.executable, "-m", "umgclip", "data", "demo"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
    working = project / ".data.partial"
    deadline = time.monotonic() + 60
    while not working.is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; run it again to continue" in said
    assert "Traceback" not in said
    assert not (project / "data").exists()
    assert not working.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_native_code_wraps_is_still_one(number, capsys):
    def serialise() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:
            raise ValueError("Error serializing to JSON: KeyboardInterrupt: ") from error  # as pydantic's core does

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert exits.run(serialise, "umgclip data demo") == 130
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert capsys.readouterr().err == "umgclip data demo: interrupted; run it again to continue\n"


def test_version(umgclip):
    assert umgclip("--version").stdout.startswith("umgclip ")


def test_report_without_an_evaluation_says_how_to_get_one(umgclip):
    done = umgclip("report")
    assert done.returncode == 3
    assert "dvc repro" in done.stderr


def test_the_readme_shows_the_recorded_results(tmp_path):
    # what git has: `make demo` on another machine may write other numbers into the working tree
    in_git = subprocess.run(["git", "show", ":metrics/evaluate.json"], cwd=ROOT, capture_output=True, check=False)
    recorded = (ROOT / "metrics" / "evaluate.json").read_bytes() if in_git.returncode else in_git.stdout
    (tmp_path / "evaluate.json").write_bytes(recorded)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- results -->\n")[2].partition("\n<!-- /results -->")[0]
    assert shown == markdown(tmp_path / "evaluate.json"), "put in what `umgclip report --markdown` prints"


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "artifacts/base/model")


def test_a_full_disk_is_exit_code_5(capsys):
    assert exits.run(full_disk, "umgclip base") == 5
    assert capsys.readouterr().err == "umgclip base: cannot write artifacts/base/model: no space left on the disk\n"


def test_a_full_disk_inside_a_librarys_own_error_is_exit_code_5(capsys):
    def save() -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    assert exits.run(save, "umgclip base") == 5
    assert "no space left on the disk" in capsys.readouterr().err


def test_a_disk_that_fills_up_while_writing_leaves_no_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("umgclip.sources.demo.scenes.ShardWriter.write", full_disk)
    out = tmp_path / "data"
    assert exits.run(lambda: write_demo(DataParams(train_scenes=2), out) and None, "umgclip data") == 5
    assert "no space left on the disk" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_failure_that_nobody_foresaw_keeps_its_traceback():
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exits.run(fail, "umgclip base")


@pytest.mark.parametrize(("error", "code"), [(InputError("x"), 2), (DataError("x"), 3)])
def test_every_explained_error_has_its_exit_code(error, code, capsys):
    def fail() -> None:
        raise error

    assert exits.run(fail, "umgclip train") == code
    assert capsys.readouterr().err == "umgclip train: x\n"


def test_an_output_that_holds_an_input_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a folder for this output alone"):
        session.check_output(Path("data"), (Path("data/train"),))
    with pytest.raises(InputError, match="expected a folder for this output alone"):
        session.check_output(tmp_path.parent, ())
    session.check_output(Path("artifacts/base"), (Path("data"),))


def test_numbers_of_nested_metrics():
    assert session.numbers({"a": {"b": 1, "c": "text"}, "d": None, "e": 0.5}) == {"a.b": 1.0, "e": 0.5}


def test_a_demo_in_place_of_an_older_demo(project, umgclip):
    params = load_section(project / "params.yaml", DataParams)
    write_demo(params, project / "data")
    assert umgclip("data", "demo").returncode == 0
    assert read_manifest(project / "data" / "train").samples == 3
