"""`umgclip promote` and `umgclip rollback`: tables of the gates and of the outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.terminal import Sheet
from umgclip.errors import PromotionError
from umgclip.params import RegisterParams
from umgclip.register import promotion
from umgclip.register.force import Force
from umgclip.register.gates import Decision
from umgclip.register.promotion import PromotionResult
from umgclip.tracking import store_from_env


def promote(params: RegisterParams, version: str | None, *, dry_run: bool, force: Force | None = None) -> None:
    """Promote a version and show the outcome.

    Args:
        params: the section `register`.
        version: number or alias; the challenger when None.
        dry_run: only show what would happen.
        force: who promotes it even if gates fail, and why.

    Raises:
        PromotionError: the gates keep the champion.
    """
    _show(promotion.promote(params, version, store_from_env(Path.cwd()), dry_run=dry_run, force=force))


def rollback(params: RegisterParams, *, dry_run: bool) -> None:
    """Restore the previous champion and show the outcome.

    Raises:
        PromotionError: there is no previous champion.
    """
    _show(promotion.rollback(params, store_from_env(Path.cwd()), dry_run=dry_run))


def _show(result: PromotionResult) -> None:
    sheets = [_gates(result.decision)] if result.decision.checks else []
    terminal.show(*sheets, _outcome(result), document=_document(result))
    if not result.accepted:
        raise PromotionError(result.reason)


def _document(result: PromotionResult) -> dict[str, Any]:
    return {
        "model": result.name,
        "version": result.version,
        "accepted": result.accepted,
        "moved": result.moved,
        "dry_run": result.dry_run,
        "champion_before": result.champion_before,
        "champion_after": result.champion_after,
        "reason": result.reason,
        "gates": [
            {"gate": one.gate, "of": one.metric, "expected": one.expected, "got": one.measured, "holds": one.holds}
            for one in result.decision.checks
        ],
    }


def _gates(decision: Decision) -> Sheet:
    table = Sheet("gate", "of", title="Gates")
    for column in ("expected", "got", "holds"):
        table.add_column(column, justify="right")
    for check in decision.checks:
        table.add_row(check.gate, check.metric, check.expected, check.measured, check.holds)
    return table


def _outcome(result: PromotionResult) -> Sheet:
    title = f"{result.name} v{result.version}" if result.version else result.name
    table = Sheet(title=title, show_header=False)
    before, after = (f"v{number}" if number else "none" for number in (result.champion_before, result.champion_after))
    if result.dry_run and result.decision.promote:
        champion = f"{before}; would be v{result.version} (dry run, nothing was moved)"
    elif result.moved:
        champion = f"{after}; {before} is previous_champion" if result.champion_before else after
    else:
        champion = f"{after} (unchanged)"
    table.add_row("champion", champion)
    table.add_row("reason", result.reason)
    return table
