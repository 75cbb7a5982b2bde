"""Tests that a command replaces only what it made itself, and nothing that another command is writing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import InputError
from umgclip.io.locks import only_writer
from umgclip.sources.demo.scenes import is_demo, write_demo

PARAMS = Path(__file__).parents[3] / "params.yaml"
COMMANDS = (
    ("base",),
    ("annotate",),
    ("validate",),
    ("train",),
    ("evaluate",),
    ("register",),
    ("segment",),
    ("export", "--to", "peft"),
    ("data", "demo"),
    ("data", "export", "DEMO", "--to", "coco"),
    ("data", "export", "DEMO", "--to", "webdataset"),
    ("data", "browse", "DEMO"),
)


def run(command: tuple[str, ...], demo: Path, *options: object) -> BaseException | None:
    words = [str(demo / "train") if word == "DEMO" else word for word in command]
    params = () if command[:2] in (("data", "export"), ("data", "browse")) else ("--params", PARAMS)
    return CliRunner().invoke(app, [*words, *map(str, (*params, *options))]).exception


@pytest.mark.parametrize(
    ("command", "option"), [*((command, "--out") for command in COMMANDS), (("validate",), "--data-docs")]
)
def test_a_folder_of_somebody_else_stays(
    command: tuple[str, ...], option: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    error = run(command, demo, option, mine)
    assert isinstance(error, InputError)
    assert "mine: expected a new or empty folder, or one that umgclip made and may replace" in str(error)
    assert "found thesis.tex; delete it first, or name another" in str(error)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("command", [*COMMANDS, ("data", "duplicates", "DEMO")])
def test_a_second_command_for_one_output_is_told(
    command: tuple[str, ...], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with only_writer(tmp_path / "out"):
        if command[1:2] == ("duplicates",):
            error = CliRunner().invoke(app, ["data", "duplicates", str(demo / "train"), "--out", "out"]).exception
        else:
            inputs = ("--data", demo) if command == ("annotate",) else ()
            inputs = ("--benchmark", demo / "benchmark") if command == ("evaluate",) else inputs
            error = run(command, demo, "--out", "out", *inputs)
    assert isinstance(error, InputError), error
    assert "is at work on out; wait for it, or name another place" in str(error)
    assert not (tmp_path / "out").exists()


def test_a_demo_with_something_beside_it_stays(demo: Path, tmp_path: Path, tiny_demo: Path) -> None:
    assert is_demo(tiny_demo)
    (tiny_demo / "train" / "notes.txt").write_text("mine")
    assert not is_demo(tiny_demo)
    error = run(("data", "demo"), demo, "--out", tiny_demo)
    assert isinstance(error, InputError)
    assert "of the same kind, with nothing else in it" in str(error)
    assert (tiny_demo / "train" / "notes.txt").read_text() == "mine"


@pytest.fixture
def tiny_demo(tmp_path: Path) -> Path:
    from umgclip.params import DataParams

    write_demo(DataParams(train_scenes=1, benchmark_scenes=1, benchmark_singles=1), tmp_path / "data")
    return tmp_path / "data"
