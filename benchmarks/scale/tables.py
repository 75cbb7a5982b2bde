"""Render measured, checked and extrapolated costs as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scale.check import Check, Run
from benchmarks.scale.estimate import Estimate

_HOUR = 3600
_WIDTH = 98  # characters of a line of Markdown
_SHOWN_S = 0.0001


@dataclass(frozen=True)
class Prices:
    """Prices per hour in any currency; None: show hours only."""

    core: float | None = None
    gpu: float | None = None


def checked(one: Run, result: Check, machine: str) -> str:
    """Return the measurement and the error of the prediction as Markdown tables."""
    rate = sum(one.images[1:]) / sum(one.seconds[1:])
    spent = sorted({**one.roles, **one.beside}.items(), key=lambda item: -item[1])
    rows = [
        f"Measured on {machine} with {sum(one.images)} images of the demo in {len(one.images)} shards. One worker: "
        f"{rate:.1f} images/s.",
        "",
        "| fitted to one worker | time |",
        "|---|---|",
        f"| per image | {1000 * result.cost.per_image_s:.1f} ms |",
        *(f"| ... {name} | {1000 * seconds:.1f} ms |" for name, seconds in spent if seconds >= _SHOWN_S),
        f"| per shard | {result.cost.per_shard_s:.2f} s |",
        f"| worker start, with its models | {result.startup_s:.1f} s |",
        "",
        "| the same shards, two workers | |",
        "|---|---|",
        f"| predicted | {result.predicted_s:.1f} s |",
        f"| measured | {result.measured_s:.1f} s |",
        f"| **prediction error** | **{100 * result.error:+.1f} %** |",
        f"| time of a shard next to another, relative to alone | {result.slowdown:.2f} |",
    ]
    return "\n".join(rows)


def by_cores(rows: Mapping[int, Estimate], price: float | None) -> str:
    """Return a table of wall time and core-hours by number of cores."""
    lines = _head("| cores |", "core", price)
    lines += [f"| {cores:,} |{_estimate(estimate, price)}" for cores, estimate in rows.items()]
    return "\n".join(lines)


def by_recipe(rows: Mapping[tuple[str, int], Estimate], price: float | None) -> str:
    """Return a table of wall time and GPU-hours by recipe and number of GPUs."""
    lines = _head("| recipe | GPUs |", "GPU", price)
    lines += [f"| {recipe} | {gpus} |{_estimate(estimate, price)}" for (recipe, gpus), estimate in rows.items()]
    return "\n".join(lines)


def sources(roles: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the assumed time of each role as a table, and the sources of these times as a list."""
    rows = ["| role | model | seconds per image | GPU |", "|---|---|---|---|"]
    listed = ["", "Sources of these times:", ""]
    for name, role in roles.items():
        known = dict.fromkeys(role["seconds"] or ())
        seconds = " to ".join(f"{s:g}" for s in known) or "unknown, in no recipe"
        rows.append(f"| {name} | {role['model']} | {seconds} | {role['gpu'] or ''} |")
        text = f"* {name}: {role['source']}"
        listed += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return "\n".join(rows + listed)


def _head(first: str, unit: str, price: float | None) -> list[str]:
    head = f"{first} wall time | {unit}-hours |" + ("" if price is None else f" cost at {price:g} an hour |")
    return [head, "|" + "---|" * (head.count("|") - 1)]


def _estimate(estimate: Estimate, price: float | None) -> str:
    cells = f" {_time(estimate.wall_s)} | {_range(estimate.worker_s, 1 / _HOUR)} |"
    return cells if price is None else f"{cells} {_range(estimate.worker_s, price / _HOUR)} |"


def _time(seconds: Sequence[float]) -> str:
    middle = seconds[1] / _HOUR
    return f"{_range(seconds, 1 / _HOUR, 1)} h" if middle < 48 else f"{_range(seconds, 1 / _HOUR / 24, 1)} days"


def _range(seconds: Sequence[float], unit: float, digits: int = 0) -> str:
    low, middle, high = (f"{value * unit:,.{digits}f}" for value in seconds)
    return f"{middle} ({low} to {high})"
