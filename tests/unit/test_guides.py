"""What the pages for maintainers say, against the code: pictures, paths, links, the example record, the citation."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import umgclip
from umgclip.records import parse_record

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
DECISIONS = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
INDEX = ROOT / "docs" / "decisions" / "README.md"
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "docs" / "architecture.md", INDEX, *DECISIONS]
HEADINGS = ["## Context", "## Decision", "## Consequences", "## Where in the code"]
_PATH = re.compile(r"`((?:umgclip|flows|infra|benchmarks|tests|docs)/[\w./-]*[\w/])`")
_NAMED = re.compile(r"`([\w/]+\.py)`: ((?:`\w+`(?:, | and )?)+)")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#[^)]*)?\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("architecture_figures", FIGURES / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.draw(ROOT)


@pytest.mark.parametrize("name", ["data-flow.svg", "layers.svg"])
def test_the_pictures_are_what_the_command_draws(pictures, name):
    drawn = (FIGURES / name).read_text(encoding="utf-8")
    assert drawn == pictures[name], "run `python docs/figures/architecture.py`"


def test_the_data_flow_shows_every_stage(pictures):
    for stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]:
        assert f">{stage}</text>" in pictures["data-flow.svg"]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_four_parts_and_is_short_and_listed(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("## ")] == HEADINGS
    assert len(lines) < 60
    assert f"[{lines[0].removeprefix('# ')}]({page.name})" in INDEX.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", DECISIONS, ids=lambda path: path.stem)
def test_a_file_has_the_names_that_a_decision_finds_in_it(page):
    for file, names in _NAMED.findall(page.read_text(encoding="utf-8")):
        code = (ROOT / file).read_text(encoding="utf-8")
        assert [name for name in re.findall(r"\w+", names) if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_links_exist_and_lines_are_short(page):
    text = page.read_text(encoding="utf-8")
    made = set(re.findall(r"^`([^`\n]+)`, a new file:$", text, re.MULTILINE))  # by a recipe
    assert [name for name in _PATH.findall(text) if name not in made and not (ROOT / name).exists()] == []
    assert [link for link in _LINK.findall(text) if link and not (page.parent / link).exists()] == []
    assert [line for line in text.splitlines() if len(line) >= 100] == []


def test_the_example_of_a_record_is_one():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    record = parse_record(json.loads(example), where="docs/architecture.md")
    assert json.loads(record.to_json()).keys() == json.loads(example).keys()


def test_the_citation_follows_its_schema_and_names_this_version():
    path = ROOT / "CITATION.cff"
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format", str(path)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    citation = YAML(typ="safe").load(path)
    assert citation["version"] == umgclip.__version__
    assert citation["license"] == "Apache-2.0"
    (paper,) = citation["references"]
    assert (paper["title"].split(":")[0], paper["year"], len(paper["authors"])) == ("UMG-CLIP", 2024, 11)
