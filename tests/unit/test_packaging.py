"""What a built package holds: types, templates, one version, and metadata that agree with it."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import umgclip

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built without a network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    (path,) = folder.iterdir()
    return path


def test_the_version_is_written_once():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    assert settings == {"path": "umgclip/__init__.py"}
    source = (ROOT / settings["path"]).read_text()
    assert re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE) == [umgclip.__version__]


def test_the_installed_metadata_has_the_same_version():
    assert importlib.metadata.version("umgclip") == umgclip.__version__, "run `make install`"


def test_the_command_prints_the_version():
    command = [sys.executable, "-W", "error", "-m", "umgclip", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"umgclip {umgclip.__version__}\n", "")


def test_types_are_published():
    assert (ROOT / "umgclip" / "py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_licence_is_an_expression_alone():
    """A licence classifier beside an SPDX expression is refused by package indexes (PEP 639)."""
    assert PROJECT["license"] == "Apache-2.0"
    assert [line for line in PROJECT["classifiers"] if line.startswith("License ::")] == []


def test_a_wheel_has_every_file_of_its_packages(wheel):
    files = (path for package in ("umgclip", "flows") for path in (ROOT / package).rglob("*") if path.is_file())
    there = {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert "umgclip/py.typed" in names
    assert names - there == {"umgclip/project/dvc.yaml", "umgclip/project/models.json", "umgclip/project/params.yaml"}
    assert there - names == set()


def test_a_wheel_says_what_the_package_is(wheel):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import json, importlib.metadata as m, umgclip\n"
        "about = m.metadata('umgclip').json\n"
        "print(json.dumps([umgclip.__file__, umgclip.__version__, about]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code, str(wheel)], capture_output=True, text=True, check=True
    )
    place, version, about = json.loads(done.stdout)
    assert place.startswith(str(wheel))
    assert version == about["version"] == umgclip.__version__
    assert sorted(about["classifier"]) == sorted(PROJECT["classifiers"])
    assert about["license_expression"] == "Apache-2.0"
    assert dict(url.split(", ", 1) for url in about["project_url"]) == PROJECT["urls"]
