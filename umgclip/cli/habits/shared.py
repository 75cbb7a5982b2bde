"""Options that every command has: `--quiet`, `--verbose`, and where they make sense `--json` and `--set`.

Groups have all of them, so that they may stand before the name of a command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import typer

from umgclip import extras
from umgclip.cli.habits import completion, output
from umgclip.errors import InputError

PANEL = "Options of every command"
NO_RESULT = {"serve"}
"""Commands that print no result, because they run until they are stopped."""
FILE_ITSELF = {"follow"}
"""Commands that are about the parameter file itself, where values beside it would be lost."""
_SET_HELP = (
    "use another value of params.yaml in this run, such as train.steps=300; repeatable. Values are YAML. DVC does not "
    "notice it: `dvc exp run -S KEY=VALUE` is the tracked way"
)


def _quiet(wanted: bool) -> bool:
    if wanted:
        output.choose("quiet")
    return wanted


def _verbose(wanted: bool) -> bool:
    if wanted:
        output.choose("verbose")
    return wanted


def _json(wanted: bool) -> bool:
    if wanted:
        output.current().as_json = True
    return wanted


def _set(words: list[str] | None) -> list[str] | None:
    if words:
        from umgclip.params import SECTIONS, overrides

        # those before the name of the command, then those behind it
        overrides.replace([*overrides.active(), *overrides.read_assignments(words, SECTIONS)])
    return words


@cache
def _parameters() -> dict[str, Any]:
    """Return the shared options as Typer makes them, by name; commands take the objects themselves."""

    def shared(
        quiet: Annotated[
            bool,
            typer.Option(
                "--quiet", "-q", help="show results and errors alone",
                callback=_quiet, expose_value=False, is_eager=True, rich_help_panel=PANEL,
            ),
        ] = False,
        verbose: Annotated[
            bool,
            typer.Option(
                "--verbose", "-v", help="also show what is done, how long it takes, and tracebacks of errors",
                callback=_verbose, expose_value=False, is_eager=True, rich_help_panel=PANEL,
            ),
        ] = False,
        as_json: Annotated[
            bool,
            typer.Option(
                "--json", help="print the result as one JSON document",
                callback=_json, expose_value=False, rich_help_panel=PANEL,
            ),
        ] = False,
        set_: Annotated[
            list[str] | None,
            typer.Option(
                "--set", metavar="KEY=VALUE", help=_SET_HELP,
                callback=_set, expose_value=False, autocompletion=completion.assignments,
            ),
        ] = None,
    ) -> None:  # fmt: skip
        pass

    app = typer.Typer(add_completion=False)
    app.command()(shared)
    command = typer.main.get_command(app)
    return {parameter.opts[0]: parameter for parameter in command.params}


def equip(command: Any) -> None:  # noqa: ANN401 - a command or a group, whose types are private to Typer
    """Give a command the shared options that it lacks, and a group of commands all of theirs."""
    inner = getattr(command, "commands", None)
    given = {word for parameter in command.params for word in parameter.opts}
    wanted = ["--quiet", "--verbose"]
    if command.name not in NO_RESULT:
        wanted.append("--json")
    if inner is not None or ("--params" in given and command.name not in FILE_ITSELF):
        command.params.append(_parameters()["--set"])
    command.params += [_parameters()[name] for name in wanted if name not in given]
    for name, each in (inner or {}).items():
        equip(each)
        each.make_context = _named(name, each.make_context)
        if not hasattr(each, "commands"):
            each.invoke = _checked(each, each.invoke)


def _named(name: str, make_context: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the beginning of a command, to know its name where its output is made."""

    def named(*args: Any, **extra: Any) -> Any:  # noqa: ANN401 - types private to Typer
        output.current().command += f" {name}" if output.current().command else name
        return make_context(*args, **extra)

    return named


def _checked(command: Any, invoke: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ANN401 - as above
    """Wrap the work of a command, to check its shared options and packages before it begins."""
    options = {word for parameter in command.params for word in parameter.opts}

    def checked(*args: Any, **extra: Any) -> Any:  # noqa: ANN401 - types private to Typer
        _require(options)
        extras.require_for(output.current().command)
        return invoke(*args, **extra)

    return checked


def _require(options: set[str]) -> None:
    """Refuse shared options that stood before the name of a command without them."""
    module = sys.modules.get("umgclip.params.overrides")
    given = {"--json": output.current().as_json, "--set": module is not None and bool(module.active())}
    for name, is_given in given.items():
        if is_given and name not in options:
            command = output.current().command
            raise InputError(f"no such option {name}; `umgclip {command} -h` shows those of {command}")
