"""The page of the curves: a table with exponents between its markers, and one figure."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.growth.costs import COSTS, Cost
from benchmarks.growth.fit import exponent, n_log_n
from umgclip.evaluate.report import drawing

STORED = Path(__file__).parent / "results.json"
BEGIN, END = "<!-- growth -->", "<!-- /growth -->"
FLAT = 0.15  # exponent of memory up to which it counts as flat
SLACK = 0.05  # of a fitted exponent, as measurements differ
_COLOURS = ("#0969da", "#1a7f37", "#bf8700", "#8250df", "#cf222e", "#8c959f", "#1b7c83", "#bc4c00", "#57606a")

Results = dict[str, dict[str, dict[str, Any]]]


def load(path: Path = STORED) -> Results:
    """Return the stored results: of each cost, of each size."""
    return dict(json.loads(path.read_text(encoding="utf-8"))["costs"]) if path.is_file() else {}


def store(results: Results, path: Path = STORED) -> None:
    """Store the results, costs in the order of the table and sizes rising."""
    ordered = {
        cost.name: dict(sorted(results[cost.name].items(), key=lambda one: int(one[0])))
        for cost in COSTS
        if cost.name in results
    }
    about = {"machine": f"{platform.machine()}, one thread"}
    path.write_text(json.dumps({**about, "costs": ordered}, indent=1) + "\n", encoding="utf-8")


def write(page: Path, results: Results) -> None:
    """Replace the text between the markers of a page, and draw the figure beside it.

    Raises:
        SystemExit: the page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{page}: expected {BEGIN} and {END}, found no such markers; add them")
    figure = page.with_suffix(".png")
    draw(figure, results)
    page.write_text(f"{before}{BEGIN}\n{markdown(results, figure.name)}\n{END}{after}", encoding="utf-8")


def markdown(results: Results, figure: str) -> str:
    """Return the figure and the table of all costs as Markdown."""
    lines = [
        f"![Processor time and peak memory of each cost over its size, both axes logarithmic]({figure})",
        "",
        "| cost | size | processor time | exponent | memory | exponent |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(cost, results[cost.name]) for cost in COSTS if cost.name in results]
    failed = [
        f"* {name} at {int(size):,}: {one['failed']}"
        for name, sizes in results.items()
        for size, one in sizes.items()
        if "failed" in one
    ]
    return "\n".join([*lines, *(["", "Not measured:", "", *failed] if failed else [])])


def _row(cost: Cost, of_size: Mapping[str, Mapping[str, Any]]) -> str:
    points = numbers(of_size)
    if not points:
        return f"| {cost.name} | | | | | |"
    sizes = [size for size, _, _ in points]
    first, last = points[0], points[-1]
    times, memory = exponents(cost, of_size)
    cells = (
        cost.name,
        f"{_size(sizes[0])} to {_size(sizes[-1])} {cost.axis}",
        f"{_number(first[1])} to {_number(last[1])} s",
        _shown(times),
        f"{first[2]:,.0f} to {last[2]:,.0f} MB",
        _shown(memory),
    )
    return f"| {' | '.join(cells)} |"


def numbers(of_size: Mapping[str, Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Return size, processor seconds and MB of every size that was measured, rising."""
    measured = [(int(size), one["cpu_s"], one["memory_mb"]) for size, one in of_size.items() if "failed" not in one]
    return sorted(measured)


def exponents(cost: Cost, of_size: Mapping[str, Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Return the exponents of processor time and of memory; a rise of a few MB is taken for none."""
    points = numbers(of_size)
    if len(points) < 2:
        return None, None
    sizes = [size for size, _, _ in points]
    return (
        exponent(sizes, [seconds for _, seconds, _ in points]),
        exponent(sizes, [memory + _NOISE_MB for _, _, memory in points]),
    )


_NOISE_MB = 50.0  # what an allocator may keep or not


def too_steep(cost: Cost, of_size: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return in words what grows faster than it may: time above n log n, memory that is not flat."""
    points = numbers(of_size)
    times, memory = exponents(cost, of_size)
    words = []
    if times is not None and not cost.quadratic:
        bar = n_log_n(max(2, points[-2][0]), points[-1][0]) + SLACK
        words += [f"{cost.name}: time grows with exponent {times:.2f}, above {bar:.2f}"] if times > bar else []
    if memory is not None and not cost.memory_grows and memory > FLAT:
        words.append(f"{cost.name}: memory grows with exponent {memory:.2f}, above {FLAT:g}")
    return words


def draw(path: Path, results: Results) -> None:
    """Draw one figure with two panels for each axis of size: processor time and memory."""
    axes_of: dict[str, list[Cost]] = {}
    for cost in COSTS:
        if cost.name in results and numbers(results[cost.name]):
            axes_of.setdefault(cost.axis, []).append(cost)
    if not axes_of:
        return
    figure = Figure(figsize=(3.0 * len(axes_of), 6.4), dpi=drawing.DPI, layout="constrained")
    panels = figure.subplots(2, len(axes_of), squeeze=False)
    for column, (axis, costs) in enumerate(axes_of.items()):
        for row, (which, label) in enumerate(((1, "processor time, s"), (2, "memory, MB"))):
            _panel(panels[row][column], costs, results, which)
            panels[row][column].set_xlabel(axis, fontsize=8)
            panels[row][column].set_ylabel(label if column == 0 else "", fontsize=8)
        panels[0][column].legend(fontsize=6, frameon=False, loc="upper left")
    drawing.save(figure, path)


def _panel(axes: Axes, costs: list[Cost], results: Results, which: int) -> None:
    for number, cost in enumerate(costs):
        points = numbers(results[cost.name])
        values = [max(point[which], 1.0e-3) for point in points]
        label = cost.name.replace("`", "")
        axes.plot([p[0] for p in points], values, "o-", markersize=2.5, linewidth=1, label=label,
                  color=_COLOURS[number % len(_COLOURS)])  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (60 if which == 1 else 3))  # room for the names
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _size(value: int) -> str:
    """Return a size, in thousands where it has some."""
    return f"{value // 1000:,}k" if value >= 1000 else f"{value}"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
