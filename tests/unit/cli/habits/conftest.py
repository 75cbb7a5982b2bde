"""All commands of the command line, as Typer makes them."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from umgclip.__main__ import app


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Commands that do something, with the words that call them."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
    for name, each in (inner or {}).items():
        yield from walk(each, (*words, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.fixture(params=sorted(COMMANDS), ids=" ".join)
def each_command(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], Any]:
    """Every command in turn: its words, and the command."""
    return request.param, COMMANDS[request.param]


@pytest.fixture
def run():
    """Runs a command line; gives its exit code, stdout, stderr and exception."""

    def invoke(*words: object):
        return CliRunner().invoke(app, [*map(str, words)])

    return invoke


@pytest.fixture
def commands() -> dict[tuple[str, ...], Any]:
    """All commands by the words that call them."""
    return COMMANDS
