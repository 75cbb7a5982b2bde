"""Commands that belong together."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from umgclip.errors import InputError


class Commands(TyperGroup):
    """Commands that name each other when one is unknown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - types private to Typer
        """The command that is meant.

        Raises:
            InputError: there is none of that name.
        """
        if args and args[0] not in self.commands:
            raise InputError(f"unknown command {args[0]!r}; expected one of {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)
