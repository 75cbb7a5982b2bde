"""The page of all commands, made from the command line itself when the site is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

MARK = "<!-- commands -->"
SHARED = {"--quiet", "--verbose", "--json", "--set", "--help"}


def reference() -> str:
    """Return Markdown with a section for each panel of `umgclip -h` and a part for each command."""
    import typer

    from umgclip.__main__ import app
    from umgclip.cli.habits.panels import PANELS

    root: Any = typer.main.get_command(app)
    lines: list[str] = []
    for panel, names in PANELS.items():
        lines += [f"## {panel}", ""]
        for name in names:
            if (command := root.commands.get(name)) is not None and not command.hidden:
                lines += _command(f"umgclip {name}", command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - types private to Typer
    inner = {key: each for key, each in getattr(command, "commands", {}).items() if not each.hidden}
    yield from (f"### {name}", "", *_text(command.help), "")
    if inner:
        for key, each in inner.items():
            yield from _command(f"{name} {key}", each)
        return
    shown = [each for each in command.params if not SHARED & set(each.opts) and not each.hidden]
    if shown:
        yield from ("| argument or option | meaning | default |", "|---|---|---|")
    for each in shown:
        words = (
            ", ".join(f"`{word}`" for word in [*each.opts, *each.secondary_opts])
            if each.param_type_name == "option"
            else _argument(each)
        )
        meaning = " ".join((each.help or "").split())
        yield f"| {words} | {_cell(meaning)} | {_default(each)} |"
    yield ""


def _text(text: str | None) -> list[str]:
    """Return a help text as paragraphs of plain words."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return [_cell(" ".join(one.split())) + "\n" for one in paragraphs]


def _argument(parameter: Any) -> str:  # noqa: ANN401 - types private to Typer
    return f"`{(parameter.metavar or parameter.name).upper()}`"


def _default(parameter: Any) -> str:  # noqa: ANN401 - types private to Typer
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value in (None, False, ()) or callable(value) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\\[", "[")
