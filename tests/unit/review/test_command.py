"""`umgclip review`: from a data set to a tool, and from there to corrections that the next annotate applies."""

import json

import pytest
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import InputError


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words) -> str:
        result = CliRunner().invoke(app, ["review", *map(str, words)], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    return command


@pytest.fixture
def data(scenes, tmp_path):
    return scenes.write_dataset(tmp_path / "data", [scenes.scene(n) for n in range(5)])


def submit(folder):
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        results = [one for one in task["predictions"][0]["result"] if one["from_name"] != "box"]
        task["annotations"] = [{"id": 1, "result": results}]
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder / "project.json"


def test_there_and_back(run, data, tmp_path):
    out = run("export", data, "--to", "label-studio", "--budget", 3, "--out", tmp_path / "review")
    assert "3 of 5 that are worth a look" in out
    assert "CC0-1.0 3" in out
    answers = submit(tmp_path / "review")
    out = run("import", answers, "--out", tmp_path / "corrections")
    assert "3 corrected, 0 confirmed as they were" in out
    assert "3, 3 of them new" in out
    # the next round leaves them out
    out = run(
        "export", data, "--to", "cvat", "--out", tmp_path / "next", "--corrections", tmp_path / "corrections",
        "--image-prefix", "x/",
    )  # fmt: skip
    assert "2 of 2 that are worth a look" in out
    out = run("import", answers, "--out", tmp_path / "emptied", "--asked-for", "tags", "--asked-for", "regions")
    assert "not asked for (images)" not in out
    # the folder of the export was lost: the data set tells what was shown
    (tmp_path / "lost").mkdir()
    answers.rename(tmp_path / "lost" / "project.json")
    words = ("--dataset", data, "--tool", "label-studio", "--out", tmp_path / "again")
    run("import", tmp_path / "lost" / "project.json", *words)
    files = [(tmp_path / name / "corrections.jsonl").read_text() for name in ("corrections", "again")]
    assert files[0] == files[1]
    out = run("import", tmp_path / "again", "--out", tmp_path / "corrections")
    assert "3, 0 of them new" in out


def test_what_is_missing_is_said(run, data, tmp_path):
    run("export", data, "--to", "cvat", "--out", tmp_path / "review")
    with pytest.raises(InputError, match="no.json: expected an export of a labelling tool, found none"):
        run("import", tmp_path / "no.json", "--shown", tmp_path / "review")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match="--shown: expected the folder that `umgclip review export` wrote"):
        run("import", tmp_path / "a.json")
    with pytest.raises(InputError, match="--shown: expected a folder .* with review.json and shown.jsonl"):
        run("import", tmp_path / "a.json", "--shown", data)
    with pytest.raises(InputError, match="--asked-for: expected one of regions, tags, .* got 'masks'"):
        run("import", tmp_path / "a.json", "--shown", tmp_path / "review", "--asked-for", "masks")
    with pytest.raises(InputError, match="a.json: expected a new folder or an old one"):
        run("export", data, "--to", "cvat", "--out", tmp_path / "a.json")
    with pytest.raises(InputError, match="--dataset: expected --tool"):
        run("import", tmp_path / "a.json", "--dataset", data)
    with pytest.raises(InputError, match="--vocabulary: expected vocabulary.json"):
        run("export", data, "--to", "cvat", "--out", tmp_path / "o", "--vocabulary", tmp_path / "none.json")
