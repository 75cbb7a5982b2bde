"""The gate: run the rules of one table after another, count failures, and keep the rows at fault."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
import pyarrow as pa

from umgclip.params import ValidateParams
from umgclip.validate.divided import ROW
from umgclip.validate.engine import Engine, Verdict
from umgclip.validate.rules import Rule

STAGE = "validate"
EXAMPLES = 5
QUARANTINE = pa.schema([(name, pa.string()) for name in ("key", "region_id", "stage", "reason", "detail")])
Status = Literal["pass", "tolerated", "warning", "fail", "error"]


@dataclass(frozen=True)
class TableCheck:
    """The rules and rows of one table that the gate checks.

    Attributes:
        table: its name in the report and in the Data Docs.
        rules: what to check.
        frames: its rows, in one or more pieces, with measures added.
        problems: what is wrong with a source column, by its name.
        needs: the source columns of each computed column.
        rows_have_keys: its rows are images or regions, so that a row at fault can be quarantined.
    """

    table: str
    rules: tuple[Rule, ...]
    frames: Iterable[pd.DataFrame]
    problems: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows_have_keys: bool = True

    def problem(self, rule: Rule) -> str | None:
        """Return why a rule cannot be checked, with the column; None if it can."""
        sources = [source for column in rule.condition.columns for source in self.needs.get(column, (column,))]
        return next((self.problems[source] for source in sources if source in self.problems), None)


@dataclass
class RuleOutcome:
    """Outcome of one rule over a whole table."""

    table: str
    rule: Rule
    tolerance: float
    checked: int = 0
    failed: int = 0
    examples: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def share(self) -> float:
        """Failing rows as a share of the rows that the rule applies to; 0 if there are none."""
        return self.failed / self.checked if self.checked else 0.0

    @property
    def status(self) -> Status:
        """Status of the rule; one that could not be checked is an error, never a pass."""
        if self.error is not None:
            return "error"
        if self.failed == 0:
            return "pass"
        if self.share <= self.tolerance:
            return "tolerated"
        return "fail" if self.rule.severity == "critical" else "warning"

    @property
    def closes_gate(self) -> bool:
        """True if training must not start because of this rule."""
        return self.status in ("fail", "error")


class Gate:
    """Collector of outcomes and quarantined rows over all tables.

    Attributes:
        outcomes: one for each rule so far, in order.
    """

    def __init__(self, engine: Engine, params: ValidateParams) -> None:
        """Set up a gate with an engine and the tolerances of the params."""
        self._engine = engine
        self._params = params
        self._rows: list[pa.Table] = []
        self.outcomes: list[RuleOutcome] = []

    def check(self, table_check: TableCheck) -> None:
        """Check all rules of one table and add their outcomes."""
        outcomes = [
            RuleOutcome(table_check.table, rule, self._tolerance(rule), error=table_check.problem(rule))
            for rule in table_check.rules
        ]
        self.outcomes += outcomes
        ready = [outcome for outcome in outcomes if outcome.error is None]
        tolerances = {outcome.rule.name: outcome.tolerance for outcome in ready}
        at_fault: dict[str, list[pa.Table]] = {}
        for number, frame in enumerate(table_check.frames):
            verdicts = self._engine.check(
                table_check.table, [outcome.rule for outcome in ready], frame, tolerances, chunk=number
            )
            for outcome in ready:
                rows = self._count(outcome, frame, verdicts[outcome.rule.name], keyed=table_check.rows_have_keys)
                if rows is None:
                    continue
                if ROW in frame:
                    at_fault.setdefault(outcome.rule.name, []).append(rows)
                else:
                    self._add(outcome, rows)
        for outcome in ready:  # parts of a table come in another order than its own
            if parts := at_fault.get(outcome.rule.name):
                self._add(outcome, pa.concat_tables(parts).sort_by(ROW).select(QUARANTINE.names))

    def quarantine(self) -> pa.Table:
        """Return one row for each fault: key, region_id (null: the image), stage, reason, detail."""
        return pa.concat_tables([QUARANTINE.empty_table(), *self._rows])

    def _tolerance(self, rule: Rule) -> float:
        default = self._params.tolerance if rule.tolerance is None else rule.tolerance
        by_name = {str(name): tolerance for name, tolerance in self._params.tolerances.items()}
        return by_name.get(rule.name, default)

    def _count(self, outcome: RuleOutcome, frame: pd.DataFrame, verdict: Verdict, *, keyed: bool) -> pa.Table | None:
        """Count a frame's rows that break a rule, and return those that can be quarantined; None: there are none."""
        condition = outcome.rule.condition
        mask = condition.failing(frame)
        failed = int(mask.sum())
        outcome.checked += int(condition.applies(frame).sum())
        outcome.failed += failed
        if verdict.error is not None or verdict.failed != failed:
            message = verdict.error or f"the expectation counts {verdict.failed} failing rows, the row mask {failed}"
            outcome.error = outcome.error or f"columns {', '.join(condition.columns)}: {message}"
        if not failed:
            return None
        bad = frame[mask]
        details = [
            _detail(condition.columns, row) for row in bad[list(condition.columns)].itertuples(index=False, name=None)
        ]
        if not keyed:
            outcome.examples += details[: EXAMPLES - len(outcome.examples)]
            return None
        keys, ids = (_column(bad, name) for name in ("key", "region_id"))
        reasons = [outcome.rule.name] * failed
        rows = pa.table([keys, ids, [STAGE] * failed, reasons, details], schema=QUARANTINE)
        return rows.append_column(ROW, pa.array(bad[ROW])) if ROW in bad else rows

    def _add(self, outcome: RuleOutcome, rows: pa.Table) -> None:
        """Quarantine rows, and show the first of them as examples."""
        for row in rows.slice(0, EXAMPLES - len(outcome.examples)).to_pylist():
            key, region = row["key"], row["region_id"]
            outcome.examples.append(f"{key}" if region is None else f"{key}/{region}")
        self._rows.append(rows)


def _column(frame: pd.DataFrame, name: str) -> list[str | None]:
    if name not in frame:
        return [None] * len(frame)
    return [value if isinstance(value, str) else None for value in frame[name]]


def _detail(columns: tuple[str, ...], values: tuple[object, ...]) -> str:
    return ", ".join(f"{c}={_shown(value)}" for c, value in zip(columns, values, strict=True))


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "null" if math.isnan(value) else f"{value:g}"
    return str(value)
