"""The `index.html` of a validation: one file that needs no network, whether the gate is open or closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from umgclip.io.atomic import write_bytes
from umgclip.params import ValidateParams
from umgclip.validate.gate import RuleOutcome
from umgclip.validate.report import mend

PAGE = "index.html"
DOCS = "great_expectations"  # the folder of the Data Docs beside it


def write_page(
    folder: Path, report: Mapping[str, Any], outcomes: Sequence[RuleOutcome], params: ValidateParams
) -> None:
    """Write the page into the folder of the Data Docs.

    Args:
        folder: the folder of the Data Docs.
        report: the report as plain values.
        outcomes: the outcome of every rule.
        params: the section `validate`; its keys are named beside rules that fail.
    """
    closing = [(outcome, mend(outcome, params)) for outcome in outcomes if outcome.closes_gate]
    touched = [(t, "") for t in outcomes if not t.closes_gate and t.status != "pass"]
    passed = [(outcome, "") for outcome in outcomes if outcome.status == "pass"]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html").render(
        report=report,
        groups=[
            ("Rules that close the gate", closing),
            ("Rules with tolerated failures", touched),
            ("Rules without failures", passed),
        ],
        docs=f"{DOCS}/index.html",
    )
    write_bytes(folder / PAGE, page.encode("utf-8"))
