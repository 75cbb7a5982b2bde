"""A Typer group that lists its commands when it is called with an unknown one."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from umgclip.errors import InputError


class Commands(TyperGroup):
    """Group of commands that lists their names when one is unknown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - types private to Typer
        """Find the command that the first argument names.

        Raises:
            InputError: no command has that name.
        """
        if args and args[0] not in self.commands:
            raise InputError(f"unknown command {args[0]!r}; expected one of {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)
