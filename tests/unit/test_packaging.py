"""What a built package holds: types, templates, one version, and metadata that agree with it."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
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
    assert PROJECT["dynamic"] == ["version", "readme"]
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
    files = (path for path in (ROOT / "umgclip").rglob("*") if path.is_file())
    there = {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert "umgclip/py.typed" in names
    assert names - there == {"umgclip/project/dvc.yaml", "umgclip/project/models.json", "umgclip/project/params.yaml"}
    assert there - names == set()


def test_a_wheel_has_what_it_needs_outside_the_repository(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(about).decode()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"umgclip"}
    inside = {name.partition(".dist-info/licenses/")[2] for name in names}
    assert {"LICENSE", "NOTICE"} <= inside
    for part in ("browse", "predictions", "recipes", "search", "evaluate/report"):
        assert any(name.startswith(f"umgclip/{part}/") and not name.endswith(".py") for name in names), part
    assert re.findall(r"\]\((?!\w+:|#)|src=\"(?!https:)", text) == [], "the description's addresses must be absolute"
    assert "pip install umgclip" in text


def test_a_source_archive_builds_the_same_wheel_and_has_no_data(wheel, tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    (path,) = tmp_path.iterdir()
    with tarfile.open(path) as archive:
        # Python 3.12 and Debian's 3.11.2 warn of, and lack, what the other one wants
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (folder,) = (each for each in tmp_path.iterdir() if each.is_dir())
    tops = {each.name for each in folder.iterdir()}
    assert tops <= {
        "umgclip", "params.yaml", "dvc.yaml", ".dvc", "hatch_build.py", "README.md", "CHANGELOG.md", "LICENSE",
        "NOTICE", "pyproject.toml", "PKG-INFO", ".gitignore",
    }  # fmt: skip
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "again")]
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    with ZipFile(wheel) as one, ZipFile(next((tmp_path / "again").iterdir())) as other:
        assert set(one.namelist()) == set(other.namelist())


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
