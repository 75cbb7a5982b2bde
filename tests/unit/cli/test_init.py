"""`umgclip init`: a folder becomes a project that stages and DVC can run, from a checkout or an installed package."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from umgclip.__main__ import STAGES
from umgclip.cli.project import create
from umgclip.cli.project.create import ProjectOptions, default_name, make_project, write_code_digests
from umgclip.errors import InputError, ParamsError
from umgclip.io.atomic import sha256_file
from umgclip.params import AnnotateParams, BaseParams, EvaluateParams, RegisterParams, TrainParams, load_section

ROOT = Path(__file__).parents[3]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init") / "my birds"
    folder.mkdir()
    (folder / "weights.pt").touch()
    (folder / "names.txt").write_text("robin\nwren\n")
    summary = make_project(folder, ProjectOptions("birds", "weights.pt", "ViT-B-32", "none", "names.txt"))
    return folder, dict(summary.rows)


def test_the_files_are_those_of_a_project(made):
    folder, said = made
    written = [".dvc", ".dvcignore", ".git", ".gitignore", "dvc.yaml", "params.yaml"]
    assert listed(folder) == sorted([*written, "names.txt", "weights.pt"])
    assert said["git"] == "a new repository (git init)"
    assert "umgclip doctor --data data" in said["next"]
    assert f"cd '{folder}'" in said["next"], "as a shell takes it"


def test_params_suit_photographs_and_no_other_project(made):
    folder, _ = made
    path = folder / "params.yaml"
    base, annotate = load_section(path, BaseParams), load_section(path, AnnotateParams)
    assert (base.pretrained, base.model, base.language, base.vocabulary) == (
        "weights.pt", "ViT-B-32", "none", "names.txt",
    )  # fmt: skip
    assert (annotate.held_out, annotate.label.crop_px) == ([], "auto")
    assert (annotate.language, annotate.rules.vocabulary) == ("none", "names.txt")
    assert load_section(path, EvaluateParams).crop_px is None
    assert load_section(path, TrainParams).stages == [], "those of the demo are for its base"
    assert load_section(path, RegisterParams).name == "birds"
    assert "# never written as the label of a region" in path.read_text(), "the comments stay"


def test_every_other_value_is_that_of_the_repository(made):
    folder, _ = made
    yaml = YAML(typ="safe")
    ours, theirs = yaml.load(ROOT / "params.yaml"), yaml.load(folder / "params.yaml")
    ours["data"] = {"imports": ours["data"]["imports"]}
    for content in (ours, theirs):
        for section, *keys in (
            ("base", "pretrained", "model", "language", "vocabulary"), ("annotate", "held_out", "language"),
            ("train", "stages"), ("evaluate", "crop_px"), ("register", "name"),
        ):  # fmt: skip
            for key in keys:
                del content[section][key]
        del content["annotate"]["label"]["crop_px"], content["annotate"]["rules"]["vocabulary"]
    assert ours == theirs


def test_dvc_finds_every_stage_and_its_code(made):
    folder, _ = made
    stages = {stage.name: stage for stage in Repo(str(folder)).index.stages}
    assert set(stages) == {"code", *STAGES}
    deps = {str(dep) for name in STAGES for dep in stages[name].deps}
    assert not any("umgclip/" in dep for dep in deps)
    made_by_code = {str(out) for out in stages["code"].outs}
    assert made_by_code <= deps
    assert {"names.txt", "weights.pt"} <= {str(dep) for dep in stages["base"].deps}
    assert "names.txt" in {str(dep) for dep in stages["annotate"].deps}


def test_code_digests_stay_as_they_are(tmp_path):
    write_code_digests(tmp_path)
    assert listed(tmp_path) == sorted(f"{stage}.sha256" for stage in STAGES)
    before = {path.name: sha256_file(path) for path in tmp_path.iterdir()}
    write_code_digests(tmp_path)
    assert {path.name: sha256_file(path) for path in tmp_path.iterdir()} == before
    assert len(set(before.values())) == len(STAGES)


def test_nothing_that_is_there_is_overwritten(tmp_path):
    (tmp_path / ".gitignore").write_text("photos/")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    said = dict(make_project(tmp_path, ProjectOptions("mine")).rows)
    assert said["git"] == "the existing repository"
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["photos/", "/data"]
    (tmp_path / "params.yaml").unlink()
    with pytest.raises(InputError, match=r"expected a folder without params.yaml and dvc.yaml, found dvc.yaml"):
        make_project(tmp_path, ProjectOptions("mine"))


def test_bad_wishes_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="--name: expected only letters, digits and any of _.- , got 'my birds'"):
        ProjectOptions("my birds")
    with pytest.raises(ParamsError, match="base.language"):
        make_project(tmp_path / "new", ProjectOptions("mine", language="klingon"))
    assert not (tmp_path / "new").exists()
    assert default_name(tmp_path / "my birds!") == "my-birds"


def test_a_base_is_looked_up_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.pt").touch()
    (tmp_path / "clips").mkdir()
    for pretrained, model, said in (
        ("clip.pt", None, "--model: expected the name in open_clip of 'clip.pt', such as ViT-B-32, got none"),
        ("openai", None, "--model: expected the name in open_clip of 'openai', such as ViT-B-32, got none"),
        ("openai", "ViT-B32", "base.model: expected a model of .*, such as .*ViT-B-32.*, got 'ViT-B32'"),
        ("opnai", "ViT-B-32", "base.pretrained: expected scratch, a file, .* openai,.* got 'opnai'"),
        ("", "ViT-B-32", "base.pretrained: expected scratch, .* got ''"),
        ("lost.pt", "ViT-B-32", "base.pretrained: expected scratch, a file, .* got 'lost.pt'"),
    ):
        with pytest.raises(InputError, match=said):
            make_project(Path("birds"), ProjectOptions("birds", pretrained, model))
        assert not Path("birds").exists()
    for place, pretrained, model, called in (
        ("one", "clip.pt", "ViT-B-32", "../clip.pt"),
        ("deep/two", "clips", None, "../../clips"),
        ("three", str(tmp_path / "clip.pt"), "ViT-B-32", str(tmp_path / "clip.pt")),
        ("four", "openai", "ViT-B-32", "openai"),
    ):
        make_project(Path(place), ProjectOptions("birds", pretrained, model))
        assert load_section(Path(place) / "params.yaml", BaseParams).pretrained == called


def test_a_vocabulary_is_looked_up_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("robin\n")
    (tmp_path / "empty.yaml").write_text("things: [robin]\n")
    for vocabulary, said in (
        ("lost.txt", "--vocabulary: expected a file of concepts, found none at lost.txt or birds/lost.txt"),
        ("empty.yaml", "empty.yaml: source: Field required"),
    ):
        with pytest.raises(InputError, match=said):
            make_project(Path("birds"), ProjectOptions("birds", vocabulary=vocabulary))
        assert not Path("birds").exists()
    make_project(Path("birds"), ProjectOptions("birds", vocabulary="names.txt"))
    assert load_section(Path("birds/params.yaml"), BaseParams).vocabulary == "../names.txt"


def test_a_wheel_brings_the_templates_along():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    brought = {Path(into).name: ROOT / source for source, into in settings["force-include"].items()}
    assert {into.rpartition("/")[0] for into in settings["force-include"].values()} == {"umgclip/project"}
    assert set(brought) == {"params.yaml", "dvc.yaml", "models.json"}
    assert all(path.read_text() == create.template(name) for name, path in brought.items())
