"""Compute the cost of a pipeline run from durations that MLflow has measured and prices that you give.

No prices are built in, because they differ by contract, region and month. Give the price per hour of the machine on
which a stage runs, in any currency, and the date of the price.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from umgclip.__main__ import STAGES
from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.tracking import Store, explained, store_from_env

if TYPE_CHECKING:
    from mlflow.entities import Run

EVERY_OTHER = "default"
_MOST_RUNS = 5000


@dataclass(frozen=True)
class Cost:
    """The cost of one stage: the number of measured runs, their median duration, and the price of one run."""

    stage: str
    runs: int
    seconds: float
    price_per_hour: float | None
    overhead_s: float

    @property
    def cost(self) -> float | None:
        """The price of one run including start-up; None without a price."""
        if self.price_per_hour is None:
            return None
        return (self.seconds + self.overhead_s) / 3600 * self.price_per_hour


def durations(store: Store) -> dict[str, list[float]]:
    """Return the seconds of each finished run by stage.

    Raises:
        TrackingError: the MLflow store does not answer.
    """
    with explained(store):
        client = store.client()
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            return {}
        runs: Iterable[Run] = client.search_runs(
            [experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=_MOST_RUNS
        )
    seconds = defaultdict(list)
    for run in runs:
        stage = run.data.tags.get("umgclip.stage")
        if stage in STAGES and run.info.end_time is not None:
            seconds[stage].append((run.info.end_time - run.info.start_time) / 1000)
    return dict(seconds)


def costs(measured: Mapping[str, list[float]], prices: Mapping[str, float], overhead_s: float) -> list[Cost]:
    """Return the cost of each measured stage, in the order of the pipeline.

    Args:
        measured: seconds of runs by stage.
        prices: price per hour by stage; `default` applies to stages that are not named.
        overhead_s: seconds per stage on a separate machine for starting it, cloning and downloading.
    """
    return [
        Cost(stage, len(seconds), statistics.median(seconds), prices.get(stage, prices.get(EVERY_OTHER)), overhead_s)
        for stage in STAGES
        if (seconds := measured.get(stage))
    ]


def read_prices(given: Iterable[str]) -> dict[str, float]:
    """Parse prices such as `train=1.20` into a mapping by stage.

    Raises:
        InputError: there is no stage of that name, or the price is invalid.
    """
    prices = {}
    for text in given:
        stage, _, number = text.partition("=")
        if stage not in (*STAGES, EVERY_OTHER):
            raise InputError(
                f"--price: expected a stage ({', '.join(STAGES)}) or {EVERY_OTHER} before '=', got {text!r}"
            )
        try:
            prices[stage] = float(number)
        except ValueError as error:
            raise InputError(f"--price: expected a price per hour as in {stage}=1.20, got {text!r}") from error
        if not 0 <= prices[stage] < float("inf"):
            raise InputError(f"--price: expected 0 or more, got {text!r}")
    return prices


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    price: Annotated[
        list[str] | None, typer.Option(help="STAGE=PRICE per hour, or default=PRICE; may be repeated")
    ] = None,
    on: Annotated[str, typer.Option(help="date of the prices, as 2026-11-22")] = "",
    currency: Annotated[str, typer.Option(help="currency of the prices")] = "USD",
    overhead_s: Annotated[
        float, typer.Option(min=0, help="seconds that a stage's machine needs before and after")
    ] = 0.0,
    runs: Annotated[int, typer.Option(min=1, help="number of pipeline runs to add up, for example per month")] = 1,
) -> None:
    """Print a table of durations and costs by stage."""
    prices = read_prices(price or [])
    if prices and not on:
        raise InputError("--on: expected the date of the prices, as 2026-11-22, got none; prices change")
    store = store_from_env(Path.cwd())
    lines = costs(durations(store), prices, overhead_s)
    if not lines:
        raise InputError(
            f"MLflow at {store.name}, experiment {store.experiment!r}: expected finished runs of stages, found none"
        )
    missing = [line.stage for line in lines if line.price_per_hour is None]
    if prices and missing:
        raise InputError(
            f"--price: expected one for every stage, or {EVERY_OTHER}=..., got none for {', '.join(missing)}"
        )
    table = Table(title=_title(prices, currency, on, overhead_s), title_justify="left")
    for column in ("stage", "runs measured", "median s", f"{currency} an hour", f"{currency} a run"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for line in lines:
        shown = ["-" if value is None else f"{value:.4f}" for value in (line.price_per_hour, line.cost)]
        table.add_row(line.stage, str(line.runs), f"{line.seconds:.1f}", *shown)
    total = sum(line.cost or 0.0 for line in lines)
    table.add_section()
    table.add_row("all, once", "", f"{sum(line.seconds for line in lines):.1f}", "", f"{total:.4f}" if prices else "-")
    if runs > 1:
        table.add_row(f"all, {runs} times", "", "", "", f"{total * runs:.2f}" if prices else "-")
    Console().print(table)


def _title(prices: Mapping[str, float], currency: str, on: str, overhead_s: float) -> str:
    formula = (
        f"(median + {overhead_s:g} s) / 3600 x {currency} an hour" if prices else "no price given: --price default=..."
    )
    return f"{formula}, prices of {on}" if on else formula


if __name__ == "__main__":
    sys.exit(exits.run(app, "costs"))
