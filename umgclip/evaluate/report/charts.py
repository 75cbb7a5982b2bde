"""Line charts as inline SVG; colours come from the page's style and follow its light and dark mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 250, 48, 40, 12, 18
_DOTS = 30  # up to so many points, each is marked


@dataclass(frozen=True)
class Series:
    """One line; a point is x, y and the ends of its interval, or None. `model` 0 is the base, 1 the tuned model."""

    name: str
    model: int
    points: tuple[tuple[float, float, float | None, float | None], ...]
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawn chart, with its numbers for a table beside it."""

    title: str
    note: str
    svg: Markup
    x_label: str
    series: tuple[Series, ...]

    def rows(self) -> list[tuple[float, list[float | None]]]:
        """Return each x with the values of all series there."""
        values = [{x: y for x, y, _, _ in one.points} for one in self.series]
        return [(x, [one.get(x) for one in values]) for x in sorted({x for one in values for x in one})]


def line_chart(title: str, note: str, labels: tuple[str, str], series: Sequence[Series]) -> Chart:
    """Draw lines on one pair of axes, of which y begins at 0.

    Args:
        title: title of the chart.
        note: how its numbers are computed.
        labels: labels of the x axis and the y axis.
        series: the lines.
    """
    xs = [x for one in series for x, *_ in one.points]
    ys = [value for one in series for _, *rest in one.points for value in rest if value is not None]
    frame = _Frame(_ticks(min(xs), max(xs)), _ticks(0.0, max(ys)))
    parts = [*frame.axes(labels), *(part for one in series for part in frame.line(one))]
    svg = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, title, Markup("").join(parts)
    )
    return Chart(title, note, svg, labels[0], tuple(series))


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Return round tick values that cover `low` to `high`."""
    return tuple(float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, max(high, low + 1e-3)))


@dataclass(frozen=True)
class _Frame:
    across: tuple[float, ...]
    down: tuple[float, ...]

    def x(self, value: float) -> str:
        low, high = self.across[0], self.across[-1]
        return f"{_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(self, value: float) -> str:
        return f"{_HEIGHT - _BOTTOM - value / self.down[-1] * (_HEIGHT - _BOTTOM - _TOP):.1f}"

    def axes(self, labels: tuple[str, str]) -> list[Markup]:
        parts = []
        for tick in self.down:
            y = self.y(tick)
            parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y))  # fmt: skip
            parts.append(_text(f"{tick:.3g}", "end", _LEFT - 6, float(y) + 4))
        parts += [_text(f"{tick:.3g}", "mid", self.x(tick), _HEIGHT - _BOTTOM + 16) for tick in self.across]
        parts.append(_text(labels[0], "mid", (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6))
        parts.append(Markup('<text class="tick mid" transform="translate(12 {}) rotate(-90)">{}</text>').format(
            (_TOP + _HEIGHT - _BOTTOM) / 2, labels[1]))  # fmt: skip
        return parts

    def line(self, series: Series) -> list[Markup]:
        style = f"m{series.model}{' dashed' if series.dashed else ''}"
        path = "L".join(f"{self.x(x)} {self.y(y)}" for x, y, _, _ in series.points)
        parts = [Markup('<path class="line {}" d="M{}"><title>{}</title></path>').format(style, path, series.name)]
        for x, y, low, high in series.points:
            if low is not None and high is not None:
                parts.append(Markup('<line class="line {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                    style, self.x(x), self.x(x), self.y(low), self.y(high)))  # fmt: skip
            if len(series.points) <= _DOTS:
                parts.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
                    style, self.x(x), self.y(y), f"{series.name}: {y:.3f}"))  # fmt: skip
        return parts


def _text(text: str, anchor: str, x: object, y: object) -> Markup:
    return Markup('<text class="tick {}" x="{}" y="{}">{}</text>').format(anchor, x, y, text)
