"""What a run of the pipeline costs: durations that MLflow has measured, times prices that you give.

No price is built in: they differ by contract, region and month. Give dollars (or whatever) an hour for the machine
that a stage runs on, and the date on which you read them.
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
    """One stage: how many finished runs were measured, their median duration, and what one run costs."""

    stage: str
    runs: int
    seconds: float
    price_per_hour: float | None
    overhead_s: float

    @property
    def cost(self) -> float | None:
        """The price of one run, start-up included; None without a price."""
        if self.price_per_hour is None:
            return None
        return (self.seconds + self.overhead_s) / 3600 * self.price_per_hour


def durations(store: Store) -> dict[str, list[float]]:
    """Seconds of each finished run of each stage.

    Raises:
        TrackingError: the store does not answer.
    """
    with explained(store):
        client = store.client()
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            return {}
        found: Iterable[Run] = client.search_runs(
            [experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=_MOST_RUNS
        )
    seconds = defaultdict(list)
    for run in found:
        stage = run.data.tags.get("umgclip.stage")
        if stage in STAGES and run.info.end_time is not None:
            seconds[stage].append((run.info.end_time - run.info.start_time) / 1000)
    return dict(seconds)


def costs(measured: Mapping[str, list[float]], prices: Mapping[str, float], overhead_s: float) -> list[Cost]:
    """One line a stage, in the pipeline's order.

    Args:
        measured: seconds of runs, by stage.
        prices: money an hour, by stage; `default` stands for those not named.
        overhead_s: of every stage on a machine of its own: starting it, cloning, downloading.
    """
    return [
        Cost(stage, len(seconds), statistics.median(seconds), prices.get(stage, prices.get(EVERY_OTHER)), overhead_s)
        for stage in STAGES
        if (seconds := measured.get(stage))
    ]


def read_prices(given: Iterable[str]) -> dict[str, float]:
    """Read `train=1.20` and the like.

    Raises:
        InputError: no stage of that name, or no price.
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
            raise InputError(f"--price: expected money an hour as in {stage}=1.20, got {text!r}") from error
        if not 0 <= prices[stage] < float("inf"):
            raise InputError(f"--price: expected 0 or more, got {text!r}")
    return prices


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    price: Annotated[list[str] | None, typer.Option(help="STAGE=MONEY an hour, or default=MONEY; repeat")] = None,
    on: Annotated[str, typer.Option(help="the date on which you read the prices, as 2026-11-22")] = "",
    currency: Annotated[str, typer.Option(help="what the prices are in")] = "USD",
    overhead_s: Annotated[float, typer.Option(min=0, help="seconds a stage's machine takes before and after")] = 0.0,
    runs: Annotated[int, typer.Option(min=1, help="runs of the pipeline to add up, of a month for instance")] = 1,
) -> None:
    """Print the table."""
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
