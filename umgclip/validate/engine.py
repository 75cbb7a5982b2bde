"""Great Expectations in memory: no files but the Data Docs, no progress bars, no usage statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation import Expectation

from umgclip.validate import docs_view
from umgclip.validate.rules import Rule

SITE = "docs"


@dataclass(frozen=True)
class Verdict:
    """Result of one rule on one frame by Great Expectations: rows that break it, or why it could not tell."""

    failed: int | None
    error: str | None = None


class Engine:
    """Runner of rules on frames; it keeps the results for the Data Docs."""

    def __init__(self, docs: Path) -> None:
        """Set up a context whose Data Docs will be written to the folder `docs`."""
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
        view, list_view = ({"module_name": docs_view.MODULE, "class_name": name} for name in ("PageView", "IndexView"))
        index = {"class_name": "DefaultSiteIndexBuilder", "view": list_view}
        sections = {name: {"view": view} for name in ("expectations", "validations", "profiling")}
        site = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": store}
        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
            data_docs_sites={SITE: {**site, "site_index_builder": index, "site_section_builders": sections}},
        )
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        self._source = self._context.data_sources.add_pandas("annotations")
        self._definitions: dict[str, gx.ValidationDefinition] = {}

    def check(
        self, table: str, rules: Sequence[Rule], frame: pd.DataFrame, tolerances: Mapping[str, float], *, chunk: int = 0
    ) -> dict[str, Verdict]:
        """Count the rows of a frame that break each rule.

        Args:
            table: the suite's name; it must come with the same rules every time.
            rules: the rules to run.
            frame: the rows.
            tolerances: share of failing rows up to which the Data Docs show a rule as met, by rule. They show one
                chunk at a time; the gate counts the whole table.
            chunk: the frame's number within its table.

        Returns:
            One verdict for each rule's name.
        """
        if not rules:
            return {}
        if table not in self._definitions:
            self._definitions[table] = self._define(table, rules, tolerances)
        try:
            outcome = self._definitions[table].run(
                batch_parameters={"dataframe": frame},
                result_format="SUMMARY",
                run_id=gx.RunIdentifier(run_name=f"chunk-{chunk:05d}"),
            )
        except GreatExpectationsError as error:
            return {rule.name: Verdict(None, f"{type(error).__name__}: {error}") for rule in rules}
        finally:
            self._forget_frames()
        verdicts = {r.expectation_config.meta["rule"]: _verdict(r) for r in outcome.results if r.expectation_config}
        return {rule.name: verdicts.get(rule.name, Verdict(None, "no result came back")) for rule in rules}

    def write_docs(self) -> None:
        """Write the Data Docs of everything that was checked; their first page is `index.html`."""
        self._context.build_data_docs([SITE])

    def _forget_frames(self) -> None:
        """Let go of the frame, which Great Expectations holds until another one of the same table comes."""
        batches = self._source.get_execution_engine().batch_manager
        batches.reset_batch_cache()
        batches.batch_data_cache.clear()

    def _define(self, table: str, rules: Sequence[Rule], tolerances: Mapping[str, float]) -> gx.ValidationDefinition:
        expectations = [_expectation(rule, tolerances[rule.name]) for rule in rules]
        suite = self._context.suites.add(gx.ExpectationSuite(name=table, expectations=expectations))
        asset = self._source.add_dataframe_asset(table)
        batch: BatchDefinition[Any] = asset.add_batch_definition_whole_dataframe("all")
        definition = gx.ValidationDefinition(name=table, data=batch, suite=suite)
        return self._context.validation_definitions.add(definition)


def _expectation(rule: Rule, tolerance: float) -> Expectation:
    arguments: dict[str, Any] = {
        **rule.condition.kwargs,
        "mostly": 1.0 - tolerance,
        "severity": rule.severity,
        "meta": {"rule": rule.name},
        "notes": f"Rule {rule.name}, {rule.severity}, tolerance {tolerance:g}",
    }
    return rule.condition.expectation(**arguments)


def _verdict(result: Any) -> Verdict:  # noqa: ANN401 - its class is not exported
    # A failed metric comes as {metric id: {...}}, any other failure directly; both leave the result empty.
    info = result.exception_info or {}
    causes = [info] if "raised_exception" in info else [v for v in info.values() if isinstance(v, dict)]
    messages = [str(c.get("exception_message")) for c in causes if c.get("raised_exception")]
    if messages:
        return Verdict(None, messages[0])
    count = result.result.get("unexpected_count")
    return Verdict(None, "no count came back") if count is None else Verdict(int(count))
