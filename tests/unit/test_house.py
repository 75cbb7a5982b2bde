"""The house rules that a machine can check: sizes of folders, first lines of docstrings, names of classes."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("umgclip", "flows", "infra")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_MODULES = 25
LEAST_WORDS = 6
# a first line that begins with one of these is a fragment and tells what something is about, not what it does
FRAGMENTS = set(
    ["of", "what", "whether", "how", "where", "which", "who", "whose", "whom", "when", "those", "whoever", "whatever"]
)
NO_VERBS = FRAGMENTS | set(
    [
        "the",
        "a",
        "an",
        "all",
        "each",
        "every",
        "its",
        "as",
        "for",
        "in",
        "no",
        "one",
        "two",
        "several",
        "some",
        "any",
        "both",
        "same",
        "another",
        "other",
        "such",
        "if",
        "by",
        "from",
        "with",
        "without",
        "at",
    ]
)
# names that say nothing about what a variable holds
EMPTY_NAMES = {"found", "own", "said", "kept"}


def module(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def documented(path: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Kind, name, first line and publicity of everything in a file that has a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _lines(tree, "module", path.stem, public=True)
    yield from _inside(tree, public=True)


def _lines(node: ast.Module | ast.ClassDef | ast.FunctionDef, kind: str, name: str, *, public: bool):
    if text := ast.get_docstring(node):
        yield kind, name, text.strip().splitlines()[0], public


def _inside(node: ast.AST, *, public: bool):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            seen = public and not child.name.startswith("_")
            yield from _lines(child, "class", child.name, public=seen)
            yield from _inside(child, public=seen)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {getattr(mark, "id", getattr(mark, "attr", "")) for mark in child.decorator_list}
            kind = "property" if marks & {"property", "cached_property"} else "function"
            yield from _lines(child, kind, child.name, public=public and not child.name.startswith("_"))
            yield from _inside(child, public=False)
        elif isinstance(child, ast.If | ast.With | ast.Try):
            yield from _inside(child, public=public)


def test_no_folder_is_a_heap():
    counts = Counter(path.parent for path in FILES)
    assert {module(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_first_lines_say_what_is_done(package):
    remarks = []
    for path in (path for path in FILES if path.is_relative_to(ROOT / package)):
        for kind, name, line, public in documented(path):
            words = re.findall(r"[\w'`./*-]+", line)
            first = words[0].lower().strip("`")
            if public and len(words) < LEAST_WORDS:
                remarks.append(f"{module(path)} {kind} {name}: expected {LEAST_WORDS} words or more, got {line}")
            elif first in (NO_VERBS if kind == "function" else FRAGMENTS):
                remarks.append(f"{module(path)} {kind} {name}: expected a sentence, got {line}")
    assert remarks == []


@pytest.mark.parametrize("package", PACKAGES)
def test_names_of_variables_say_what_they_hold(package):
    remarks = {}
    for path in (path for path in FILES if path.is_relative_to(ROOT / package)):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        if empty := sorted(names & EMPTY_NAMES):
            remarks[module(path)] = empty
    assert remarks == {}


def test_public_classes_of_one_name_are_one_idea():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == SAME_IDEA


# class names that several modules share because they stand for the same idea there
SAME_IDEA: dict[str, list[str]] = {}
