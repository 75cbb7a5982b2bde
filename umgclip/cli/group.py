"""Typer groups whose commands share their habits: options, output, suggestions for mistyped names."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from typer.core import TyperGroup

from umgclip.cli.habits import output
from umgclip.cli.habits.completion import completion_options
from umgclip.cli.habits.panels import ordered, panel_of
from umgclip.cli.habits.progress import PULSE
from umgclip.cli.habits.shared import equip
from umgclip.cli.lines import notice
from umgclip.errors import InputError
from umgclip.suggestions import did_you_mean

_log = logging.getLogger("umgclip")


class Commands(TyperGroup):
    """Group of commands that suggests the nearest name when one is unknown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - types private to Typer
        """Find the command that the first argument names.

        Raises:
            InputError: no command has that name; suggests the nearest.
        """
        if args and args[0] not in self.commands:
            shown = [name for name, command in self.commands.items() if not command.hidden]
            above = " ".join(ctx.command_path.split()[1:])
            hint = did_you_mean(args[0], shown)
            listed = f"expected one of {', '.join(shown)}"
            raise InputError(
                f"unknown command {f'{above} {args[0]}'.strip()!r}{f'{hint} ({listed})' if hint else f'; {listed}'}"
            )
        return super().resolve_command(ctx, args)


class Umgclip(Commands):
    """The root of all commands: it equips them, begins and ends the output of the one that runs."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - Typer's own
        super().__init__(**options)
        self.commands = {name: self.commands[name] for name in ordered(list(self.commands))}
        for name, command in self.commands.items():
            command.rich_help_panel = panel_of(name)  # type: ignore[attr-defined]  # Typer's commands have it
        self.params += completion_options()
        equip(self)

    def make_context(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - types private to Typer
        """Begin with a fresh output and no overrides, then read the command line."""
        output.reset()
        _no_overrides()
        return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - types private to Typer
        """Run the command that the arguments name, then print its JSON document if one is asked for."""
        PULSE.begin()
        try:
            answer = super().invoke(ctx)
            _tell_unused()
            return answer
        finally:
            PULSE.end()
            output.write()
            running = output.current()
            _log.debug("%s: ended after %.2f s", running.command or "umgclip", time.monotonic() - running.started)


def _tell_unused() -> None:
    """Say which values of `--set` belong to sections that the command has not read."""
    module = sys.modules.get("umgclip.params.overrides")
    for one in module.unused() if module is not None else ():
        command = output.current().command
        notice(f"umgclip {command}: --set {one} had no effect, because {command} does not read that section")


def _no_overrides() -> None:
    """Forget the overrides of an earlier command of this process, unless their module was never needed."""
    if (module := sys.modules.get("umgclip.params.overrides")) is not None:
        module.replace([])
