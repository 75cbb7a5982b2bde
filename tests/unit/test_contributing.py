"""The recipes of CONTRIBUTING.md, applied to a copy of the repository as a reader would apply them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("umgclip", "tests", "pyproject.toml", "params.yaml", "dvc.yaml")
RECIPES = ("Add a dataset format", "Add a benchmark", "Add an annotator kind")
_BLOCK = re.compile(r"^`([^`\n]+)`(?:, a new file)?:\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def edited(text: str, block: str, where: str) -> str:
    """Apply a block of diff lines without line numbers: what it shows stands in the file once."""
    lines = [(line[:1] or " ", line[1:] + "\n") for line in block.splitlines()]
    assert {mark for mark, _ in lines} <= {" ", "+", "-"}, where
    before, after = ("".join(words for mark, words in lines if mark in marks) for marks in (" -", " +"))
    assert text.count(before) == 1, f"{where}: expected once:\n{before}"
    return text.replace(before, after)


def apply(recipe: str, root: Path) -> list[Path]:
    """Write and edit the files that a recipe names; return the Python files."""
    touched = []
    for name, language, block in _BLOCK.findall(recipe):
        path = root / name
        if language == "diff":
            path.write_text(edited(path.read_text(encoding="utf-8"), block, name), encoding="utf-8")
        else:
            assert not path.exists(), name
            path.write_text(block, encoding="utf-8")
        touched.append(path)
    return [path for path in touched if path.suffix == ".py"]


def commands(recipe: str) -> Iterator[list[str]]:
    for block in _COMMANDS.findall(recipe):
        for line in block.splitlines():
            yield line.partition("#")[0].split()


def run(root: Path, *words: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=root, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works_as_written(title, tmp_path):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            # bytecode comes along, but for files that another process is writing
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy(source, tmp_path / name)
    recipe = section(title)
    touched = apply(recipe, tmp_path)
    assert touched
    run(tmp_path, "ruff", "check", "--no-cache", *touched)
    run(tmp_path, "ruff", "format", "--no-cache", "--check", *touched)
    for words in commands(recipe):
        assert words[0] in ("pytest", "umgclip"), words
        run(tmp_path, *words, *(["-n", "0", "-p", "no:cacheprovider"] if words[0] == "pytest" else []))


def test_every_target_of_make_that_is_named_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
