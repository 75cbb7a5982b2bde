"""Files that params.yaml names: listed in dvc.yaml, so that DVC sees an edit, and asked for where they are not."""

import logging
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.cli.project import followed
from umgclip.errors import InputError
from umgclip.params import SECTIONS, AnnotateParams, BaseParams

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Create a project with the repository's parameters and pipeline, and a vocabulary that both stages read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    text = (ROOT / "params.yaml").read_text().replace("vocabulary: null", "vocabulary: names.txt")
    assert text.count("vocabulary: names.txt") == 2
    Path("params.yaml").write_text(text)
    Path("dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    Path("names.txt").write_text("robin\n")
    return tmp_path


def deps(stage: str) -> list[str]:
    return YAML(typ="safe").load(Path("dvc.yaml"))["stages"][stage]["deps"]


def run(*words: str):
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_follow_adds_what_is_missing_and_nothing_else(project):
    before = Path("dvc.yaml").read_text().splitlines()
    said = run("follow").output
    assert "base.vocabulary" in said
    assert "names.txt, now a dependency" in said
    after = Path("dvc.yaml").read_text().splitlines()
    assert [line for line in after if line not in before] == ["      - names.txt"] * 2
    assert [line for line in after if line != "      - names.txt"] == before
    assert deps("base")[-1] == deps("annotate")[-1] == "names.txt"
    assert "all named files are dependencies already" in run("follow").output
    assert Path("dvc.yaml").read_text().splitlines() == after


def test_dvc_sees_an_edit(project):
    run("follow")
    stages = {name: {"cmd": "true", "deps": [deps(name)[-1]]} for name in followed.READERS}
    YAML().dump({"stages": stages}, Path("dvc.yaml"))
    with Repo.init(str(project), no_scm=True) as repo:
        repo.reproduce()
        assert repo.status() == {}
        Path("names.txt").write_text("robin\nwren\n")
        assert set(repo.status()) == {"base", "annotate"}


def test_every_kind_of_file_is_listed_and_what_is_none_is_not(project):
    Path("weights").mkdir()
    for name in ("clip.pt", "scratch", "weights/yunet.onnx"):
        Path(name).touch()
    models = {"faces": {"kind": "face", "path": "weights/yunet.onnx"}, "far": {"kind": "detr", "path": "lost"}}
    sections = {
        "base": BaseParams(pretrained="clip.pt", tokenizer="weights"),
        "annotate": AnnotateParams.model_validate({"models": models}),
    }
    assert set(followed.follow(Path("dvc.yaml"), sections).rows) == {
        ("base.pretrained", "clip.pt, now a dependency"),
        ("base.tokenizer", "weights, now a dependency"),
        ("annotate.models.faces.path", "weights/yunet.onnx, now a dependency"),
    }
    sections["annotate"] = AnnotateParams.model_validate({"models": {"faces": models["faces"]}})
    sections["base"] = BaseParams(pretrained="weights/yunet.onnx")
    assert followed.follow(Path("dvc.yaml"), sections).rows == (("files", "all named files are dependencies already"),)
    assert followed.add_named({"stages": {"base": {}, "annotate": {}}}, {**sections, "base": BaseParams()}, Path()) == {
        "annotate.models.faces.path": "weights/yunet.onnx"
    }, "scratch is no file, whatever lies there"


@pytest.mark.parametrize("stage", followed.READERS)
def test_a_stage_that_dvc_runs_asks_for_its_vocabulary(project, monkeypatch, stage):
    key = "base.vocabulary" if stage == "base" else "annotate.rules.vocabulary"
    sections = {
        "base": BaseParams(vocabulary="names.txt"),
        "annotate": SECTIONS["annotate"].model_validate({"rules": {"vocabulary": "names.txt"}}),
    }
    followed.check(stage, sections[stage])  # by hand: nobody asks
    monkeypatch.setenv("DVC_STAGE", f"../dvc.yaml:{stage}")
    said = f"{key}: names.txt is not a dependency of the stage {stage} in dvc.yaml, .*; run `umgclip follow` to add it"
    with pytest.raises(InputError, match=said):
        followed.check(stage, sections[stage])
    with pytest.raises(InputError, match=said):
        run(stage)
    run("follow")
    followed.check(stage, sections[stage])
    text = Path("dvc.yaml").read_text().replace("- names.txt", f"- ${{{key}}}")
    Path("dvc.yaml").write_text(text)
    followed.check(stage, sections[stage])


@pytest.mark.parametrize("named", ["corrections", "corrections/corrections.jsonl"])
def test_corrections_are_followed_as_a_vocabulary_is(project, monkeypatch, named):
    Path("corrections").mkdir()
    Path("corrections/corrections.jsonl").touch()
    section = AnnotateParams(corrections=named)
    monkeypatch.setenv("DVC_STAGE", "annotate")
    with pytest.raises(InputError, match=f"annotate.corrections: {named} is not a dependency of the stage annotate"):
        followed.check("annotate", section)
    followed.follow(Path("dvc.yaml"), {"base": BaseParams(), "annotate": section})
    followed.check("annotate", section)


def test_weights_that_dvc_does_not_follow_are_a_warning(project, monkeypatch, caplog):
    Path("clip.pt").touch()
    monkeypatch.setenv("DVC_STAGE", "base")
    with caplog.at_level(logging.WARNING, logger="umgclip"):
        followed.check("base", BaseParams(pretrained="clip.pt"))
    assert "base.pretrained: clip.pt is not a dependency of the stage base in dvc.yaml" in caplog.text


def test_what_follow_cannot_read_is_said(project):
    with pytest.raises(InputError, match=r"--pipeline: expected a dvc.yaml, found none at other.yaml"):
        run("follow", "--pipeline", "other.yaml")
    Path("other.yaml").write_text("stages: {train: {cmd: x}}\n")
    with pytest.raises(InputError, match=r"other.yaml: expected a stage base, found train"):
        run("follow", "--pipeline", "other.yaml")
    Path("other.yaml").write_text("stages: [")
    with pytest.raises(InputError, match=r"other.yaml: not valid YAML"):
        run("follow", "--pipeline", "other.yaml")


def test_dvc_tells_a_stage_its_name(project):
    """Check that DVC sets DVC_STAGE, which `check` relies on."""
    YAML().dump({"stages": {"base": {"cmd": "printenv DVC_STAGE > said"}}}, Path("dvc.yaml"))
    with Repo.init(str(project), no_scm=True) as repo:
        repo.reproduce()
    assert Path("said").read_text() == "base\n"
