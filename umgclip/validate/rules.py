"""Rules: an expectation of Great Expectations beside the same condition as a row mask over a whole column.

The expectation counts and documents; the mask finds the rows, which Great Expectations does slowly or not completely.
Their counts must agree; the gate compares them on every run. Rows with a null in a column that the condition reads are
left to the rule that requires the column, so that one fault has one reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation
from jaxtyping import Bool
from numpy import ndarray

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Condition:
    """A condition on the rows of a table, as an expectation and as a row mask.

    Attributes:
        expectation: the class of Great Expectations that states it.
        kwargs: that class's arguments.
        columns: the columns that it reads; the quarantine shows their values.
        breaks: the mask of rows that break it, among rows without a null in `columns` unless `nulls` is set.
        nulls: the condition is about nulls, so every row counts as checked.
    """

    expectation: type[Expectation]
    kwargs: Mapping[str, Any]
    columns: tuple[str, ...]
    breaks: Callable[[pd.DataFrame], Bool[ndarray, " row"]]
    nulls: bool = False

    def applies(self, frame: pd.DataFrame) -> Bool[ndarray, " row"]:
        """Return the mask of rows that the condition applies to."""
        if self.nulls:
            return np.ones(len(frame), dtype=bool)
        return np.asarray(frame[list(self.columns)].notna().all(axis=1), dtype=bool)

    def failing(self, frame: pd.DataFrame) -> Bool[ndarray, " row"]:
        """Return the mask of rows that break the condition."""
        return np.asarray(self.breaks(frame) & self.applies(frame), dtype=bool)

    def says(self) -> str:
        """Describe the expectation on one line; long value sets appear as their size."""
        shown = [f"{k}={v if np.size(v) <= 4 else f'<{np.size(v)} values>'}" for k, v in self.kwargs.items()]
        return f"{self.expectation.__name__}({', '.join(shown)})"


@dataclass(frozen=True)
class Rule:
    """A named condition with its severity, its tolerance, and advice for a closed gate.

    Attributes:
        name: the reason that the quarantine gives, one of `umgclip.params.RuleName`.
        condition: what rows must meet.
        severity: `critical` closes the gate when too many rows fail, `warning` only counts and quarantines.
        tolerance: share of failing rows that is let through, if not that of the params.
        bounds: the params of the section `validate` that the condition is made of.
        hint: what else helps, where the bounds are right and the rows are not.
    """

    name: str
    condition: Condition
    severity: Severity = "critical"
    tolerance: float | None = None
    bounds: tuple[str, ...] = ()
    hint: str = ""


def present(column: str) -> Condition:
    """Require that a column has no nulls."""
    return Condition(
        gxe.ExpectColumnValuesToNotBeNull,
        {"column": column},
        (column,),
        lambda frame: frame[column].isna().to_numpy(),
        nulls=True,
    )


def absent(column: str) -> Condition:
    """Require that a column has nothing but nulls: it is a measure of faults."""
    return Condition(
        gxe.ExpectColumnValuesToBeNull,
        {"column": column},
        (column,),
        lambda frame: frame[column].notna().to_numpy(),
        nulls=True,
    )


def within(
    column: str, low: int | float | None = None, high: int | float | None = None, *, above: bool = False
) -> Condition:
    """Require numbers from `low` to `high`, both included; with `above`, `low` itself is too small."""

    def breaks(frame: pd.DataFrame) -> Bool[ndarray, " row"]:
        values = frame[column].to_numpy(dtype=float)
        bad = np.zeros(len(values), dtype=bool)
        if low is not None:
            bad |= (values <= low) if above else (values < low)
        if high is not None:
            bad |= values > high
        return bad

    kwargs: dict[str, Any] = {"column": column}
    kwargs |= {} if low is None else {"min_value": low, "strict_min": above}
    kwargs |= {} if high is None else {"max_value": high}
    return Condition(gxe.ExpectColumnValuesToBeBetween, kwargs, (column,), breaks)


def greater(column: str, than: str, *, or_equal: bool = False) -> Condition:
    """Require that one column's numbers are greater than another's in the same row."""

    def breaks(frame: pd.DataFrame) -> Bool[ndarray, " row"]:
        left, right = frame[column].to_numpy(dtype=float), frame[than].to_numpy(dtype=float)
        return (left < right) if or_equal else (left <= right)

    kwargs = {"column_A": column, "column_B": than, "or_equal": or_equal, "ignore_row_if": "either_value_is_missing"}
    return Condition(gxe.ExpectColumnPairValuesAToBeGreaterThanB, kwargs, (column, than), breaks)


def matching(column: str, pattern: str) -> Condition:
    """Require strings that match a regular expression from their start."""
    return Condition(
        gxe.ExpectColumnValuesToMatchRegex,
        {"column": column, "regex": pattern},
        (column,),
        lambda frame: ~frame[column].str.match(pattern, na=True).to_numpy(dtype=bool),
    )


def member(column: str, allowed: Iterable[str]) -> Condition:
    """Require strings of a closed set."""
    values = sorted(allowed)
    return Condition(
        gxe.ExpectColumnValuesToBeInSet,
        {"column": column, "value_set": values},
        (column,),
        lambda frame: ~frame[column].isin(values).to_numpy(),
    )


def not_member(column: str, forbidden: Iterable[str]) -> Condition:
    """Require strings that are not in a closed set."""
    values = sorted(forbidden)
    return Condition(
        gxe.ExpectColumnValuesToNotBeInSet,
        {"column": column, "value_set": values},
        (column,),
        lambda frame: frame[column].isin(values).to_numpy(),
    )


def unique(*columns: str) -> Condition:
    """Require that no two rows are alike in these columns; all copies fail.

    The frame must be the whole table.
    """

    def breaks(frame: pd.DataFrame) -> Bool[ndarray, " row"]:
        whole = frame[list(columns)].notna().all(axis=1)
        return (frame.duplicated(list(columns), keep=False) & whole).to_numpy()

    if len(columns) == 1:
        return Condition(gxe.ExpectColumnValuesToBeUnique, {"column": columns[0]}, columns, breaks)
    kwargs = {"column_list": list(columns), "ignore_row_if": "any_value_is_missing"}
    return Condition(gxe.ExpectCompoundColumnsToBeUnique, kwargs, columns, breaks)
