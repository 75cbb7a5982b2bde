"""One line for a command line that makes no sense, with the nearest name where a name is wrong."""

from __future__ import annotations

import re
from typing import Any

import typer

from umgclip.suggestions import did_you_mean

WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[1]
"""The error of Typer's parser for any wrong usage, of which `typer.BadParameter` is one."""
_NOT_ONE_OF = re.compile(r"'(?P<value>[^']*)' is not one of (?P<choices>.*)$")


def in_words(error: Any) -> str | None:  # noqa: ANN401 - types private to Typer
    """Return what is wrong and where to look it up; None if the error only shows the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    message = re.sub(r"\s+", " ", error.format_message()).strip().rstrip(".").replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    name = getattr(error, "option_name", None)
    if name is not None and type(error).__name__ == "NoSuchOption":
        words = [word for each in (context.command.params if context else ()) for word in each.opts]
        message = f"no such option {name}{did_you_mean(name, [*words, '--help'])}"
    elif choice := _NOT_ONE_OF.search(message):
        message += did_you_mean(choice["value"], re.findall(r"'([^']*)'", choice["choices"]))
    message = f"{message[:1].lower()}{message[1:]}"
    return message if context is None else f"{message} ({context.command_path} -h shows the usage)"
