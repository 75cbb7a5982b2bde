"""The documentation: links, anchors, line lengths, the navigation of the site, and the site itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "docs/mkdocs/mkdocs.yml"
FOLDERS = "benchmarks", "docs", "examples", "flows", "infra", "tests", "umgclip"
WIDTH = 99
HEADING = re.compile(r"^#{1,6} +(.*?)(?: *#+)? *$", re.MULTILINE)
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$", re.DOTALL | re.MULTILINE)


def _hooks() -> Any:
    spec = importlib.util.spec_from_file_location("site_hooks", CONFIG.parent / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = _hooks()


def _markdown() -> list[str]:
    """Paths of the repository's Markdown files; folders of tools and of runs are left out."""
    paths = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def _navigation() -> list[str]:
    return hooks.listed(hooks.expand(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["nav"]))


@cache
def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings that GitHub and the site agree on."""
    github: set[str] = set()
    site: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        text = re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "]", heading)).strip().lower()
        _add(github, text.replace(" ", "-"), "-")
        _add(site, re.sub(r"[-\s]+", "-", text), "_")
    return github & site


def _add(anchors: set[str], anchor: str, joint: str) -> None:
    """Add an anchor, numbered where the page has it already."""
    numbered = (f"{anchor}{joint}{number}" for number in range(1, 1000))
    anchors.add(next(each for each in [anchor, *numbered] if each not in anchors))


def _broken(page: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in hooks.links(text):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.is_file():
            yield f"{page}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
            yield f"{page}: {link}: no such heading, on GitHub or on the site"


@pytest.mark.parametrize("page", _markdown())
def test_links_and_anchors_lead_somewhere(page: str):
    assert list(_broken(page)) == []


@pytest.mark.parametrize("page", _markdown())
def test_lines_outside_code_are_short(page: str):
    text = FENCE.sub(lambda match: "\n" * match[0].count("\n"), (ROOT / page).read_text(encoding="utf-8"))
    lines = [f"{page}:{number}: {len(line)}" for number, line in enumerate(text.split("\n"), 1) if len(line) > WIDTH]

    assert lines == []


def test_every_page_is_in_the_navigation_once():
    pages = _navigation()

    assert sorted(pages) == [page for page in _markdown() if not page.startswith("tests/")]


def test_a_pattern_of_the_navigation_becomes_the_pages_that_it_matches():
    nav = ["README.md", {"Packages": ["umgclip/*/README.md"]}, {"None": ["docs/nowhere/*.md"]}, {"One": "NOTICE"}]

    pages = hooks.expand(nav)

    assert pages[0] == "README.md"
    assert pages[-1] == {"One": "NOTICE"}
    assert {"None": []} not in pages
    assert len(pages) == 3 or not list(ROOT.glob("umgclip/*/README.md"))


def test_links_in_code_are_not_followed():
    text = "[a](b.md#c) `[d](e.md)` ![f](g.png) [h](https://i.example)\n```\n[j](k.md)\n```\n[l](#m)"

    assert hooks.links(text) == ["b.md#c", "g.png", "#m"]


def test_the_reference_names_modules_that_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md"))
    names = re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)

    assert {"umgclip.api.load", "umgclip.api.Model", "umgclip.records", "umgclip.errors"} <= set(names)
    for name in names:
        path = ROOT / name.replace(".", "/")
        modules = [path / "__init__.py", path.with_suffix(".py"), path.parent / "__init__.py"]
        assert any(module.is_file() for module in [*modules, path.parent.with_suffix(".py")]), name


def test_the_reference_has_every_section_of_the_parameters():
    text = (ROOT / "docs/reference/params.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "umgclip/params").glob("*.py")}
    without_sections = {"__init__", "machine", "overrides", "reading", "section", "typed_yaml"}

    assert set(re.findall(r"^::: umgclip\.params\.(\w+)$", text, flags=re.MULTILINE)) == modules - without_sections


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a warning of MkDocs ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", CONFIG, "--site-dir", folder]
    done = subprocess.run(
        command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_all_pages_and_loads_nothing_from_elsewhere(site: Path):
    home = (site / "index.html").read_text(encoding="utf-8")

    for page in map(Path, _navigation()):
        folder = page.parent if page.stem in {"README", "index"} else page.with_suffix("")
        assert (site / folder / "index.html").is_file()
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', home)


def test_the_search_finds_pages_and_docstrings(site: Path):
    entries = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    found = {entry["location"] for entry in entries}

    assert "docs/training/" in found
    assert any(location.startswith("docs/reference/model/#") and "classify" in location for location in found)


def test_fields_of_parameters_are_a_table_with_types_meanings_and_defaults(site: Path):
    page = (site / "docs/reference/params/index.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))

    assert re.search(r"region_tags Weight [\w ,;]{20,} 2\.0 ", text)
    assert re.search(r"device Device auto: a GPU if there is one ", text)


def test_lists_and_tables_are_rendered_as_such(site: Path):
    raw = re.compile(r"<(p|li)>(?:(?!</?(?:p|li|ul|ol|table)>).)*?\n\s*(?:[*+-] |1\. |\|)[^\n]*", re.DOTALL)
    for path in site.rglob("*.html"):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        hit = raw.search(text)
        assert hit is None, f"{path.relative_to(site)}: put an empty line before, or four spaces: {hit and hit[0]!r}"
