"""Commands in an empty folder: each says what is missing, and leaves nothing that nobody asked for."""

from pathlib import Path

import pytest

from umgclip.__main__ import app
from umgclip.cli import exits

PHOTO = Path(__file__).parents[3] / "docs" / "browse.png"
COMMANDS = [
    "doctor",
    "doctor --data data",
    "report",
    "compare a b",
    "export --to transformers",
    "export --to open_clip --model models:/birds@champion",
    "serve",
    "index data/train",
    "search cat",
    "predict . --labels cat",
    "predict {photo} --labels cat --model models:/birds@champion",
    "push alice/birds --dry-run",
    "promote",
    "rollback",
    "recipe list",
    "data stats data/train",
    "data verify data/train",
    "data browse data/train",
    "data head data/train",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_nothing_is_left_behind(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    code = exits.run(
        lambda: app(words.format(photo=PHOTO).split(), prog_name="umgclip", standalone_mode=False), "umgclip"
    )
    assert (code == 0) == (words == "recipe list"), capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_push_without_a_model_names_the_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["push", "alice/birds", "--dry-run"]
    assert exits.run(lambda: app(line, prog_name="umgclip", standalone_mode=False), "umgclip") == 2
    assert capsys.readouterr().err.startswith("umgclip push: no model here: expected --model, or open_clip_config.json")


def test_init_makes_its_folder_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert exits.run(lambda: app(["init", "mine"], prog_name="umgclip", standalone_mode=False), "umgclip") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
