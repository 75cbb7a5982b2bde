"""The flows `promote` and `rollback`: check gates, request approval if required, and move one alias at a time.

Run them from a checkout with `python -m flows.promote promote --dry-run` and `python -m flows.promote rollback`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import typer
from pydantic import Field

from umgclip import extras

with extras.needed_by("umgclip.flows"):
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.concurrency.sync import concurrency
    from prefect.exceptions import FlowPauseTimeout
    from prefect.flow_runs import pause_flow_run
    from prefect.input import RunInput

from umgclip.cli import exits
from umgclip.errors import InputError, PromotionError
from umgclip.flows import runtime
from umgclip.flows.dvc.workspace import PARAMS, find_root
from umgclip.flows.settings import load_settings
from umgclip.params import RegisterParams, load_section
from umgclip.register import promotion
from umgclip.register.force import Force
from umgclip.register.promotion import PromotionResult
from umgclip.tracking import Store, store_from_env

LIMIT = "umgclip-promotion"  # Prefect's global concurrency limit; MLflow has no compare-and-set
_POLL_S = 5


class Approval(RunInput):
    """The approval form that the flow waits for."""

    approve: bool = Field(default=False, description="approve moving the alias champion")
    approver: str = Field(min_length=1, description="name of the person who decides")
    reason: str = Field(default="", description="stored with the flow run")


@flow(name="promote", persist_result=False)
def promote(
    version: str | int | None = None,
    dry_run: bool = False,
    approval: bool | None = None,
    force: bool = False,
    reason: str | None = None,
) -> dict[str, Any]:
    """Make a version the champion if its gates pass, and return the result.

    Args:
        version: number or alias; none: the challenger.
        dry_run: show what would happen, and stop.
        approval: require a person's approval; none: as in the flow settings.
        force: promote even if gates fail; requires a reason.
        reason: reason for forcing, stored with the version.
    """
    params, store = _registry()
    look = partial(promotion.promote, params, store=store, force=Force.from_options(force, reason))
    # Prefect's command line parses `--param version=2` as a number
    seen = look(version=None if version is None else str(version), dry_run=True)
    # only the version that was shown may be promoted, so it is identified by its number from here on
    return _carry_out(seen, partial(look, version=seen.version), dry_run, approval)


@flow(name="rollback", persist_result=False)
def rollback(dry_run: bool = False, approval: bool | None = None) -> dict[str, Any]:
    """Restore the previous champion without checking gates, and return the result.

    Args:
        dry_run: show what would happen, and stop.
        approval: require a person's approval; none: as in the flow settings.
    """
    params, store = _registry()
    move = partial(promotion.rollback, params, store)
    return _carry_out(move(dry_run=True), move, dry_run, approval)


def _registry() -> tuple[RegisterParams, Store]:
    root = find_root()
    return load_section(root / PARAMS, RegisterParams), store_from_env(root)


def _carry_out(
    seen: PromotionResult, move: Callable[..., PromotionResult], dry_run: bool, approval: bool | None
) -> dict[str, Any]:
    """Show the planned move, request approval, check that nothing changed meanwhile, and move the alias.

    Raises:
        PromotionError: the gates fail, a person refuses, or the champion changed meanwhile.
    """
    settings = load_settings().promotion
    _show(seen)
    if dry_run or not seen.decision.promote:
        return _checked(seen)
    if settings.approval if approval is None else approval:
        _ask(seen, settings.approval_timeout_s)
    with _alone():
        now = move(dry_run=True)
        if (now.version, now.champion_before) != (seen.version, seen.champion_before):
            raise PromotionError(f"expected {_step(seen)}, but it would now be {_step(now)}; run again")
        moved = move()
    _show(moved)
    return _checked(moved)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock that allows one alias move at a time among all machines that share the Prefect server."""
    if not runtime.running():
        yield
        return
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)
    with concurrency(LIMIT, occupy=1, strict=True):
        yield


def _ask(seen: PromotionResult, timeout_s: float) -> None:
    """Wait for a person's approval in Prefect's UI, or on the terminal without a server.

    Raises:
        PromotionError: the person refused or did not answer in time.
        InputError: there is neither a server nor a terminal to ask on.
    """
    what = _step(seen)
    if not runtime.running():
        if not sys.stdin.isatty():
            raise InputError(f"approval: expected a Prefect server or a terminal for the question, got neither; {what}")
        answer = Approval(approve=typer.confirm(f"{what}\n{seen.reason}\nApprove?"), approver="terminal")
    else:
        form = _form(f"**{what}**\n\n{seen.reason}")
        try:
            answer = pause_flow_run(wait_for_input=form, timeout=int(timeout_s), poll_interval=_POLL_S)
        except FlowPauseTimeout as error:
            raise PromotionError(
                f"{what}: nobody answered within {timeout_s:g} s; no alias was moved, run again"
            ) from error
    if not answer.approve:
        raise PromotionError(f"{what}: refused by {answer.approver}: {answer.reason or 'no reason given'}")
    runtime.log().info("%s: approved by %s: %s", what, answer.approver, answer.reason or "no reason given")


def _form(text: str) -> type[Approval]:
    """Return the approval form with a text above it.

    `with_initial_data(approve=False)` would remove the field's description.
    """
    return Approval.with_initial_data(description=text)


def _step(result: PromotionResult) -> str:
    return f"{result.name}: champion {_number(result.champion_before)} -> {_number(result.version)}"


def _number(version: str | None) -> str:
    return f"v{version}" if version else "none"


def _show(result: PromotionResult) -> None:
    rows = [
        {
            "gate": check.gate,
            "of": check.metric,
            "expected": check.expected,
            "got": check.measured,
            "holds": check.holds,
        }
        for check in result.decision.checks
    ]
    runtime.table("umgclip-gates", rows, f"Gates of {result.name} v{result.version}")
    became = _number(result.champion_after)
    change = f"would become {_number(result.version)}" if result.dry_run and result.decision.promote else f"is {became}"
    text = f"* {result.name}: champion {_number(result.champion_before)} {change}\n* {result.reason}"
    runtime.markdown("umgclip-promotion", text, "Promotion")


def _checked(result: PromotionResult) -> dict[str, Any]:
    if not result.accepted:
        raise PromotionError(result.reason)
    return {
        "name": result.name,
        "version": result.version,
        "moved": result.moved,
        "champion": result.champion_after,
        "reason": result.reason,
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would happen, and stop")]
Ask = Annotated[bool | None, typer.Option("--approval/--no-approval", help="require a person's approval")]


@app.command("promote")
def _promote(
    version: Annotated[str | None, typer.Argument(help="number or alias; default: the challenger")] = None,
    dry_run: DryRun = False,
    approval: Ask = None,
    force: Annotated[bool, typer.Option("--force", help="promote even if gates fail; requires --reason")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="reason for --force, stored with the version")] = None,
) -> None:
    """Make a version the champion if its gates pass."""
    runtime.start(promote, version, dry_run, approval, force, reason)


@app.command("rollback")
def _rollback(dry_run: DryRun = False, approval: Ask = None) -> None:
    """Restore the previous champion without checking gates."""
    runtime.start(rollback, dry_run, approval)


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.promote")


if __name__ == "__main__":
    sys.exit(main())
