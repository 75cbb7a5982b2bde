"""The core of the package and its extras: what inference imports, and what is said where a package is absent."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from umgclip import extras
from umgclip.__main__ import app
from umgclip.cli import exits
from umgclip.errors import MissingPackageError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {
    "torch", "torchvision", "open_clip_torch", "timm", "peft", "safetensors", "numpy", "pillow", "pydantic",
    "opencv-contrib-python-headless", "pycocotools", "jaxtyping", "ruamel.yaml", "typer", "rich", "tqdm", "psutil",
}  # fmt: skip
ALONE = """
import importlib.metadata as metadata
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from packaging.requirements import Requirement


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


installed = {plain(dist.metadata["Name"]): dist for dist in metadata.distributions()}
core, waiting = set(), sys.argv[1].split(",")
while waiting:
    name = plain(waiting.pop())
    if name in core or name not in installed:
        continue
    core.add(name)
    needs = map(Requirement, installed[name].requires or ())
    waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
there = metadata.packages_distributions()
outside = {top for top, names in there.items() if not core & set(map(plain, names))} - {"umgclip"}


class CoreFinder(PathFinder):
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in outside else PathFinder.find_spec(name, path, target)


sys.meta_path = [CoreFinder if finder is PathFinder else finder for finder in sys.meta_path]
assert {"pandas", "mlflow", "dvc", "prefect", "matplotlib", "scipy"} <= outside

import numpy as np
import torch
from PIL import Image

import umgclip
from umgclip.cli import exits
from umgclip.__main__ import app
from umgclip.model.clip import files
from umgclip.params import TowerParams

here = Path(sys.argv[2])
config = files.tower_config(
    TowerParams(width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16)
)
(here / "base").mkdir()
files.save(here / "base", files.build(config), config)
photo = Image.fromarray(np.full((48, 64, 3), 128, np.uint8))
photo.save(here / "photo.jpg")
model = umgclip.load(here / "base", device="cpu")
mask = np.ones((48, 64), bool)
assert model.classify(photo, ["dog", "cat"]).shape[-1] == 2
assert model.classify(photo, ["dog", "cat"], boxes_xyxy=[[0, 0, 20, 20]]).shape == (1, 2)
assert model.embed_images([photo]).shape == (1, 16)
assert model.embed_texts(["dog"]).shape == (1, 16)
assert len(model.embed_masks(photo, [mask])) == 1
model.similarity_map(photo, ["dog"])
model.save(here / "saved")
umgclip.load(here / "saved", device="cpu")
for words in (
    ["--help"],
    ["predict", str(here / "photo.jpg"), "--labels", "dog,cat", "--model", str(here / "saved")],
    ["recipe", "list"],
):
    assert exits.run(lambda: app(words, prog_name="umgclip", standalone_mode=False), "umgclip") == 0, words
"""


def test_the_core_has_these_dependencies():
    """A new one makes everybody who wants the model alone install it: it belongs into an extra."""
    assert {re.match(r"[\w.-]+", line)[0] for line in PROJECT["dependencies"]} == CORE


def test_inference_imports_the_core_alone(tmp_path):
    command = [sys.executable, "-c", ALONE, ",".join(sorted(CORE)), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in tmp_path.iterdir()} == {"base", "photo.jpg", "saved"}


@pytest.mark.parametrize("extra", [*extras.PACKAGES])
def test_an_extra_brings_the_packages_that_errors_name(extra):
    brought = {
        re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in PROJECT["optional-dependencies"][extra]
    }
    distributions = importlib.metadata.packages_distributions()
    for package in extras.PACKAGES[extra]:
        names = {name.lower().replace("_", "-") for name in distributions.get(package, [])}
        assert not names or names & brought, package


def test_texts_name_extras_that_exist():
    files = [*(ROOT / "umgclip").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    named = {name for text in texts for names in re.findall(r"umgclip\[([a-z,]+)\]", text) for name in names.split(",")}
    assert named <= set(PROJECT["optional-dependencies"])
    assert set(extras.PACKAGES) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("program", ["umgclip.flows.sweep", "flows.sweep"])
def test_a_flow_that_is_run_without_prefect_says_how_to_install_it(program, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name=program))
    with pytest.raises(SystemExit) as end, extras.needed_by("umgclip.flows"):
        raise ModuleNotFoundError("No module named 'prefect'", name="prefect")
    assert end.value.code == 2
    assert capsys.readouterr().err == f'{program} needs prefect; run: pip install "umgclip[flows]"\n'


def test_a_flow_that_is_imported_without_prefect_raises(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="pytest.__main__"))
    with pytest.raises(MissingPackageError, match="umgclip.flows needs prefect"), extras.needed_by("umgclip.flows"):
        raise ModuleNotFoundError("No module named 'prefect'", name="prefect")


@pytest.mark.parametrize("name", ["sweep", "promote", "refresh", "take_part", "light"])
def test_modules_of_flows_import_prefect_within_the_block_that_explains(name):
    """`python -m umgclip.flows.NAME` would end with a traceback otherwise."""
    lines = (ROOT / "umgclip" / "flows" / f"{name}.py").read_text().splitlines()
    assert [line for line in lines if line.startswith(("from prefect", "import prefect"))] == []
    assert any(line.strip() == 'with extras.needed_by("umgclip.flows"):' for line in lines)


def leaves(command, words=()):
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from leaves(each, (*words, name))
        else:
            yield (*words, name), each


CHOSEN = {"data export --to": "coco", "review export --to": "cvat"}
COMMAND = typer.main.get_command(app)
COMMANDS = dict(leaves(COMMAND))


def smallest_call(words, command):
    """The words of a call with the arguments and options that the command requires."""
    call = list(words)
    for parameter in command.params:
        if parameter.required:
            value = CHOSEN.get(f"{' '.join(words)} {parameter.opts[0]}", "x")
            call += [value] if parameter.param_type_name == "argument" else [parameter.opts[0], value]
    return call


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] in extras.COMMANDS], ids=" ".join)
def test_a_command_without_its_packages_says_how_to_install_them(words, tmp_path, monkeypatch, capsys):
    extra = extras.COMMANDS[words[0]]
    package = extras.PACKAGES[extra][0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    call = smallest_call(words, COMMANDS[words])
    assert exits.run(lambda: COMMAND(call, prog_name="umgclip", standalone_mode=False), "umgclip") == 2
    said = capsys.readouterr().err
    assert said == f'umgclip {" ".join(words)} needs {package}; run: pip install "umgclip[{extra}]"\n'
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_missed_later_is_named_in_the_same_way(monkeypatch, capsys):
    def missed():
        raise ModuleNotFoundError("No module named 'mlflow.client'", name="mlflow.client")

    assert exits.run(missed, "umgclip predict") == 2
    assert 'needs mlflow; run: pip install "umgclip[pipeline]"' in capsys.readouterr().err


def test_an_import_that_nobody_knows_keeps_its_traceback():
    def missed():
        raise ModuleNotFoundError("No module named 'umgclip.nothing'", name="umgclip.nothing")

    with pytest.raises(ModuleNotFoundError):
        exits.run(missed, "umgclip predict")
