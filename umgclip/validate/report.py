"""Texts and numbers about a validation: the report, the metrics, and the gate's message; none of them holds a time."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from umgclip.params import ValidateParams
from umgclip.validate.gate import RuleOutcome


@dataclass(frozen=True)
class Passed:
    """Counts of a table's rows: all, those with a fault of their own, and those that may be trained on."""

    total: int
    quarantined: int
    passed: int

    @property
    def share(self) -> float:
        """Rows that passed, as a share of all rows."""
        return self.passed / self.total if self.total else 0.0

    def __add__(self, other: Passed) -> Passed:
        """Return the counts of two parts of a table together."""
        counts = (mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        return Passed(*counts)

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts as plain values for a JSON file."""
        return {"total": self.total, "quarantined": self.quarantined, "passed": self.passed, "share": self.share}


def count_passed(images: pd.DataFrame, regions: pd.DataFrame, faults: pd.DataFrame) -> tuple[Passed, Passed]:
    """Count images and regions that no quarantined row touches.

    A region passes if neither it nor its image is quarantined. A row without a key (or a region without an id)
    cannot be addressed, so it never passes, and a region without an id takes its image with it.

    Args:
        images: `key` of every image.
        regions: `key` and `region_id` of every region.
        faults: `key` and `region_id` of every fault, as text.

    Returns:
        The images' and the regions' counts.
    """
    of_image = faults["region_id"].isna()
    images, regions = images.reindex(columns=["key"]), regions.reindex(columns=["key", "region_id"])
    bad_keys = faults.loc[of_image, "key"].dropna()
    bad_pairs = pd.MultiIndex.from_frame(faults[~of_image])
    image_bad = images["key"].isna() | images["key"].isin(bad_keys)
    has_fault = regions.isna().any(axis=1) | pd.MultiIndex.from_frame(regions).isin(bad_pairs)
    lost = has_fault | regions["key"].isin(bad_keys)
    return (
        Passed(len(images), int(image_bad.sum()), int((~image_bad).sum())),
        Passed(len(regions), int(has_fault.sum()), int((~lost).sum())),
    )


def make_report(outcomes: list[RuleOutcome], images: Passed, regions: Passed, annotate: pd.DataFrame) -> dict[str, Any]:
    """Build the report of a validation as plain values.

    Args:
        outcomes: the outcome of every rule.
        images: counts of images.
        regions: counts of regions.
        annotate: `region_id` and `reason` of everything that annotation had quarantined.
    """
    reasons = annotate["reason"].fillna("unknown").value_counts()
    return {
        "passed": not any(outcome.closes_gate for outcome in outcomes),
        "images": images.as_dict(),
        "regions": regions.as_dict(),
        "annotate_quarantine": {
            "images": int(annotate["region_id"].isna().sum()),
            "regions": int(annotate["region_id"].notna().sum()),
            "reasons": {str(reason): int(count) for reason, count in reasons.items()},
        },
        "rules": {outcome.rule.name: _rule(outcome) for outcome in outcomes},
    }


def make_metrics(report: dict[str, Any]) -> dict[str, Any]:
    """Select the numbers of a report that are worth following from run to run; an unchecked rule is null."""
    rules = report["rules"]
    return {
        "passed": int(report["passed"]),
        "images": report["images"],
        "regions": report["regions"],
        "annotate_quarantined": {k: report["annotate_quarantine"][k] for k in ("images", "regions")},
        "failed": {n: None if r["status"] == "error" else r["failed"] for n, r in rules.items()},
        "errors": sum(r["status"] == "error" for r in rules.values()),
    }


def gate_message(outcomes: list[RuleOutcome], docs: Path, params: ValidateParams) -> str:
    """Build the message of a closed gate: each rule with its measurement, its limit, and the keys to change.

    Args:
        outcomes: the outcome of every rule.
        docs: folder of the Data Docs.
        params: the section `validate`, whose keys and values the message names.
    """
    closing = [outcome for outcome in outcomes if outcome.closes_gate]
    lines = [f"validation gate closed: {len(closing)} of {len(outcomes)} rules; see {docs / 'index.html'}"]
    return "\n  ".join([*lines, *(_line(outcome, params) for outcome in closing)])


def _line(outcome: RuleOutcome, params: ValidateParams) -> str:
    rule = outcome.rule
    name = f"{rule.name} [{rule.condition.says()}]"
    if outcome.error is not None:
        return f"{name}: ERROR {outcome.error}"
    if outcome.table == "dataset":
        measured = f"{name}: measured {', '.join(outcome.examples)}"
    else:
        measured = (
            f"{name}: {outcome.failed} of {outcome.checked} rows failed ({outcome.share:.2%}), "
            f"tolerance {outcome.tolerance:.2%}; e.g. {', '.join(outcome.examples)}"
        )
    return "\n    ".join([measured, f"-> {mend(outcome, params)}"])


def mend(outcome: RuleOutcome, params: ValidateParams) -> str:
    """Describe the fix: the keys of `params.yaml` that decide, with their values, and what else helps."""
    rule = outcome.rule
    keys = [f"validate.{name} ({getattr(params, name):g})" for name in rule.bounds]
    if outcome.table != "dataset":
        keys.append(f"validate.tolerances.{rule.name} ({outcome.tolerance:g})")
    return "; ".join([f"change {' or '.join(keys)} in params.yaml", *([rule.hint] if rule.hint else [])])


def _rule(outcome: RuleOutcome) -> dict[str, Any]:
    return {
        "table": outcome.table,
        "expectation": outcome.rule.condition.says(),
        "severity": outcome.rule.severity,
        "bounds": [f"validate.{name}" for name in outcome.rule.bounds],
        "tolerance": outcome.tolerance,
        "checked": outcome.checked,
        "failed": outcome.failed,
        "share": outcome.share,
        "status": outcome.status,
        "examples": outcome.examples,
        "error": outcome.error,
    }
