"""The wheel in clean environments outside the repository: the core predicts, `[pipeline]` makes a registered model.

Packages are those of requirements.lock, taken from the index or from uv's cache; without either the tests skip.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from tests.integration.environments import make_environment
from umgclip import __version__
from umgclip.extras import PACKAGES
from umgclip.model.clip import files
from umgclip.params import TowerParams

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
TOWER = TowerParams(width=32, layers=2, heads=2, text_width=32, text_layers=1, text_heads=2, embed_dim=16)
SMALL = {
    "data": {"train_scenes": 60, "benchmark_scenes": 10, "benchmark_singles": 8, "shard_samples": 30},
    "annotate": {"min_concept_count": 1, "workers": 1},
    "validate": {"labelled_image_share_min": 0.0, "label_score_mean_min": 0.0, "tolerance": 0.5},
    "train": {"steps": 3, "batch": 8},
    "evaluate": {"resamples": 0, "pictures": 1},
}
BY_OTHERS = {"accelerate", "httpx", "jinja2", "transformers"}  # of extras, but peft, torch and open_clip need them


class Installed:
    """An environment with the wheel, and a folder to work in."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)

    def run(self, *words: object, where: Path | None = None, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment with nothing else set, as a new user would."""
        environment = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(self.home), "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1", "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
            "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
        }  # fmt: skip
        done = subprocess.run(
            [str(word) for word in words], cwd=where or self.folder, env=environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installed]:
    """Makes an environment with the wheel and the packages of some extras."""

    def make(extras: str) -> Installed:
        root = tmp_path_factory.mktemp("clean")
        words = "--constraint", str(ROOT / "requirements.lock"), f"umgclip{extras} @ {wheel.as_uri()}"
        python = make_environment(root / "environment", *words)
        return Installed(python, root / "work")

    return make


@pytest.fixture(scope="module")
def core(install: Callable[[str], Installed]) -> Installed:
    """The core alone, beside a tiny model and two pictures."""
    installed = install("")
    torch.manual_seed(0)
    (installed.folder / "tiny").mkdir()
    files.save(installed.folder / "tiny", files.build(files.tower_config(TOWER)), files.tower_config(TOWER))
    (installed.folder / "photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(installed.folder / "photos" / f"{number}.png")
    return installed


def all_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


INFERENCE = """
import importlib.util, json, sys
import umgclip

model = umgclip.load("tiny")
scores = model.classify("photos/0.png", ["dog", "key"], boxes_xyxy=[[8, 8, 60, 60]])
(regions,) = model.detector(["dog", "key"]).find([__import__("numpy").zeros((40, 50, 3), "uint8")])
there = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
print(json.dumps([umgclip.__file__, scores.tolist(), model.embed_images("photos/1.png").shape, there]))
"""


def test_the_core_classifies_and_brings_no_package_of_an_extra(core):
    before = all_files(core.folder)
    optional = sorted({package for extra in PACKAGES.values() for package in extra} - BY_OTHERS)
    done = core.run(core.python, "-W", "error::UserWarning", "-c", INFERENCE, *optional)
    place, scores, shape, there = json.loads(done.stdout)
    assert Path(place).is_relative_to(core.python.parents[1]), "the wheel's package, not the checkout's"
    assert there == []
    assert np.sum(scores) == pytest.approx(1.0, abs=1e-5)
    assert shape == [1, 16]
    assert all_files(core.folder) == before


def test_commands_of_the_core_write_what_they_were_asked_for(core):
    before = all_files(core.folder)
    assert core.run("umgclip", "--version").stdout == f"umgclip {__version__}\n"
    asked = ["umgclip", "predict", "photos", "--labels", "dog,key", "--model", "tiny"]
    lines = [json.loads(line) for line in core.run(*asked).stdout.splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["0.png", "1.png"]
    assert [sum(label["score"] for label in line["labels"]) for line in lines] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert all_files(core.folder) == before
    core.run(*asked, "--out", "out")
    core.run("umgclip", "export", "--model", "tiny", "--to", "open_clip", "--out", "exported")
    new = all_files(core.folder) - before
    assert {"out/index.html", "out/predictions.json", "exported/open_clip_config.json"} <= new
    assert {name.partition("/")[0] for name in new} == {"out", "exported"}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("train", 'umgclip train needs pandas; run: pip install "umgclip[pipeline]"'),
        ("init mine", 'umgclip init needs pandas; run: pip install "umgclip[pipeline]"'),
        ("data import folder photos", 'umgclip data import folder needs pandas; run: pip install "umgclip[pipeline]"'),
        ("serve", 'umgclip serve needs mlflow; run: pip install "umgclip[serve]"'),
        ("search dog", 'umgclip search needs lancedb; run: pip install "umgclip[search]"'),
    ],
)
def test_a_command_of_an_absent_extra_says_one_line(core, command, line):
    before = all_files(core.folder)
    done = core.run("umgclip", *command.split(), expect=2)
    assert (done.stdout, done.stderr) == ("", f"{line}\n")
    assert all_files(core.folder) == before


def test_a_project_outside_the_repository_becomes_a_registered_model(install):
    installed = install("[pipeline]")
    installed.run("umgclip", "init", "mine", "--pretrained", "tiny", "--model", "tiny", expect=2)  # no such base
    torch.manual_seed(0)
    (installed.folder / "tiny").mkdir()
    files.save(installed.folder / "tiny", files.build(files.tower_config(TOWER)), files.tower_config(TOWER))
    installed.run("umgclip", "init", "mine", "--pretrained", "tiny", "--model", "tiny")
    project = installed.folder / "mine"
    assert {"params.yaml", "dvc.yaml", ".gitignore"} <= {path.name for path in project.iterdir()}
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    for section, values in SMALL.items():
        params[section].update(values)
    yaml.dump(params, project / "params.yaml")

    installed.run("umgclip", "data", "demo", where=project)
    said = installed.run("umgclip", "doctor", "--data", "data", where=project).stdout
    assert "60" in said
    installed.run("dvc", "add", "--quiet", "data", where=project)
    installed.run("dvc", "repro", where=project)
    registered = json.loads((project / "artifacts" / "register" / "register.json").read_text())
    assert (registered["name"], registered["version"]) == ("mine", "1")
    tops = {path.name for path in project.iterdir()}
    assert tops <= {
        ".dvc", ".dvcignore", ".git", ".gitignore", ".umgclip", "artifacts", "data", "data.dvc", "dvc.lock", "dvc.yaml",
        "metrics", "mlartifacts", "mlflow.db", "params.yaml", "plots",
    }  # fmt: skip
    code = "import umgclip; print(umgclip.load('models:/mine/1').embed_texts(['dog']).shape, umgclip.__file__, sep='|')"
    shape, place = installed.run(installed.python, "-c", code, where=project).stdout.strip().split("|")
    assert shape == "(1, 16)"
    assert Path(place).is_relative_to(installed.python.parents[1])
    assert {path.name for path in installed.folder.iterdir()} == {"home", "mine", "tiny"}
