"""The pages that lead a reader through a task: their commands exist, with these options, and their parameters too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from umgclip.__main__ import app
from umgclip.params import AnnotateParams, BaseParams, EvaluateParams, TrainParams, load_section

ROOT = Path(__file__).parents[2]
PATHS = ("photographs", "served-model", "gpu", "cluster", "compare")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in (*PATHS, "daily", "projects", "limits"))]
SECTIONS = {"base": BaseParams, "annotate": AnnotateParams, "train": TrainParams, "evaluate": EvaluateParams}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LONGEST_README, LARGEST_PICTURE = 150, 150_000


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command that a page shows."""
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in ("sh", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.partition("  #")[0].split(" && "):
                    if words := shlex.split(part, comments=True):
                        yield words


COMMAND: Any = typer.main.get_command(app)


def require_command(words: list[str]) -> None:
    """Parse the words of an `umgclip` command as the command line does, without running it."""
    command = COMMAND
    names = ["umgclip"]
    context = command.make_context("umgclip", [], resilient_parsing=True)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{' '.join(names)}: no command {words[0]!r}"
        command = command.commands[words[0]]
        names.append(words[0])
        context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
        words = words[1:]
    command.make_parser(context).parse_args(list(words))  # names an option that is not there


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist_with_their_options(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(page):
        if words[0] == "umgclip":
            require_command(words[1:])
        elif words[0] == "make":
            assert words[1] in targets, words
        elif words[:2] == ["python", "-m"]:
            module = ROOT.joinpath(*words[2].split("."))
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), words
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_parameters_are_accepted(page, tmp_path):
    yaml = YAML(typ="safe")
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        shown = yaml.load(block) if language == "yaml" else {}
        for section in shown.keys() & SECTIONS.keys():
            everything = yaml.load(ROOT / "params.yaml")
            merge(everything[section], shown[section])
            path = tmp_path / "params.yaml"
            yaml.dump(everything, path)
            loaded = load_section(path, SECTIONS[section]).model_dump(mode="json")
            assert merged(loaded, shown[section]) == loaded, "the section has what the page shows"


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with changes put into a copy."""
    copy = deepcopy(dict(values))
    merge(copy, changes)
    return copy


def merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put changes into nested values."""
    for key, change in changes.items():
        if isinstance(change, Mapping) and isinstance(values.get(key), dict):
            merge(values[key], change)
        else:
            values[key] = change


def test_the_readme_is_short_and_leads_to_every_path():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < LONGEST_README
    for page in (*PATHS, "how-it-works", "limits", "reference/index"):
        assert f"(docs/{page}.md)" in readme, page


def test_pictures_of_the_pages_are_small():
    large = [
        name_of(path) for path in (ROOT / "docs" / "photographs").glob("*") if path.stat().st_size > LARGEST_PICTURE
    ]
    assert large == []
