"""Pictures: one per benchmark, and an overview, of the first examples instead of chosen ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from umgclip.evaluate.benchmarks.panoptic import PanopticMap, name_proposals
from umgclip.evaluate.benchmarks.region import covering_readouts
from umgclip.evaluate.benchmarks.semantic import label_map, true_labels
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Dense
from umgclip.evaluate.report import drawing
from umgclip.evaluate.report.drawing import Line
from umgclip.evaluate.suite import Suite
from umgclip.records import Region

_TOP_CAPTIONS, _TOP_TAGS, _OVERVIEW_ROWS = 3, 5, 3
_BARS = (
    ("classification", "top1", "zero-shot top-1"),
    ("retrieval", "i2t_r1", "image to text R@1"),
    ("retrieval", "t2i_r1", "text to image R@1"),
    ("tagging", "map", "tagging mAP"),
    ("region", "box_top1", "region top-1, box"),
    ("region", "mask_top1", "region top-1, mask"),
    ("region", "mask_top1_heldout", "  of held-out classes"),
    ("semantic", "miou", "semantic mIoU"),
    ("patterns", "t2i", "visual patterns, text to image"),
    ("panoptic", "pq_true_masks", "PQ, true masks"),
    ("panoptic", "pq_proposals", "PQ, own proposals"),
)
_COLOURS = {"base": "#8c959f", "tuned": "#0969da"}


@dataclass(frozen=True)
class Shown:
    """The content of the pictures: both models after the benchmark, and the examples with pixels."""

    metrics: Mapping[str, Any]
    suites: Sequence[Suite]
    singles: Sequence[Example]
    scenes: Sequence[Example]
    proposals: Mapping[str, Sequence[Region]]
    _dense: dict[str, Dense] = field(default_factory=dict)

    def dense(self, suite: Suite) -> Dense:
        """Return a model's dense maps of the scenes, computed once for all pictures."""
        if suite.name not in self._dense:
            self._dense[suite.name] = suite.reader.see(self.scenes).dense
        return self._dense[suite.name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all classes of the benchmark."""
        return self.suites[0].reader.classes.names

    def has(self, benchmark: str) -> bool:
        """Return True if a benchmark has both results and examples."""
        examples = self.singles if benchmark == "classification" else self.scenes
        return bool(examples) and all(benchmark in self.metrics[suite.name] for suite in self.suites)


def write(folder: Path, shown: Shown) -> None:
    """Write `BENCHMARK.png` and `overview.png` into a new folder; a benchmark without results gets no picture."""
    folder.mkdir()
    for name, draw in (
        ("classification", _classification),
        ("retrieval", _retrieval),
        ("tagging", _tagging),
        ("region", _region),
        ("semantic", _semantic),
        ("patterns", _patterns),
        ("panoptic", _panoptic),
    ):
        if shown.has(name):
            drawing.save(draw(shown), folder / f"{name}.png")
    drawing.save(_overview(shown), folder / "overview.png")


def _classification(shown: Shown) -> Figure:
    truth = [example.tags[0] for example in shown.singles]
    columns: dict[str, list[list[Line]]] = {"truth": [[Line(shown.names[label])] for label in truth]}
    for suite in shown.suites:
        scores = suite.classification.scores()[0][: len(truth)]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_TOP_TAGS]
        columns[suite.name] = [
            [Line(f"{shown.names[label]} {scores[row, label]:.2f}", bool(label == truth[row])) for label in labels]
            for row, labels in enumerate(best)
        ]
    return _beside(shown.singles, columns, 1.6)


def _beside(examples: Sequence[Example], columns: Mapping[str, Sequence[Sequence[Line]]], width_in: float) -> Figure:
    """Draw each example's image with columns of lines beside it, `columns[title][row]`."""
    figure, axes = drawing.rows_with_text(len(examples), len(columns), width_in)
    for row, example in enumerate(examples):
        drawing.image(axes[row], example.pixels)
        for column, (title, texts) in enumerate(columns.items()):
            drawing.lines_beside(axes[row], texts[row], column * width_in, title if row == 0 else "")
    return figure


def _retrieval(shown: Shown) -> Figure:
    scenes = [example for example in shown.scenes if example.captions]
    columns = {"captions": [[Line(text) for text in example.captions] for example in scenes]}
    for suite in shown.suites:
        best = np.argsort(-suite.retrieval.similarity(len(scenes)), axis=1, kind="stable")[:, :_TOP_CAPTIONS]
        columns[f"{suite.name}: nearest captions"] = [
            [Line(suite.retrieval.captions[i], suite.retrieval.captions[i] in example.captions) for i in row]
            for row, example in zip(best, scenes, strict=True)
        ]
    return _beside(scenes, columns, 3.6)


def _tagging(shown: Shown) -> Figure:
    columns = {"tags": [[Line(shown.names[tag]) for tag in example.tags] for example in shown.scenes]}
    for suite in shown.suites:
        scores, target = suite.tagging.scores()
        best = np.argsort(-scores[: len(shown.scenes)], axis=1, kind="stable")[:, :_TOP_TAGS]
        columns[f"{suite.name}: best scored"] = [
            [Line(f"{shown.names[tag]} {scores[row, tag]:.2f}", bool(target[row, tag])) for tag in tags]
            for row, tags in enumerate(best)
        ]
    return _beside(shown.scenes, columns, 1.6)


def _region(shown: Shown) -> Figure:
    things = [shown.suites[0].reader.counted(example) for example in shown.scenes]
    starts = np.cumsum([0, *(len(each) for each in things)])
    columns = {"truth": [_numbered([r.label for r in each], shown.names) for each in things]}
    readouts = covering_readouts([s.region for s in shown.suites], ("mask", "maskout", "box", "crop"))[:2]
    for suite in shown.suites:
        for readout in readouts:
            labels = suite.region.predictions(readout).tolist()
            columns[f"{suite.name}: {readout}"] = [
                _numbered(labels[start : start + len(each)], shown.names, [r.label for r in each])
                for start, each in zip(starts, things, strict=False)
            ]
    figure = _beside(shown.scenes, columns, 1.5)
    for each, axes in zip(things, figure.axes, strict=True):
        drawing.boxes(axes, [region.box_xyxy for region in each], [str(i + 1) for i in range(len(each))])
    return figure


def _numbered(labels: Sequence[int], names: Sequence[str], truth: Sequence[int] | None = None) -> list[Line]:
    return [
        Line(f"{number + 1} {names[label]}", None if truth is None else bool(label == truth[number]))
        for number, label in enumerate(labels)
    ]


def _semantic(shown: Shown) -> Figure:
    figure, axes = drawing.grid(len(shown.scenes), 2 + len(shown.suites), 1.9)
    _semantic_rows(shown, shown.scenes, axes)
    return figure


def _semantic_rows(shown: Shown, scenes: Sequence[Example], axes: np.ndarray) -> None:
    """Draw image, truth and each model's label map, one row per scene."""
    titles = ("image", "truth", *(suite.name for suite in shown.suites))
    maps = [[true_labels(example) for example in scenes]]
    for suite in shown.suites:
        dense = shown.dense(suite)[: len(scenes)]
        maps.append([label_map(suite.reader, d, e.pixels.shape[:2]) for d, e in zip(dense, scenes, strict=True)])
    for row, example in enumerate(scenes):
        title = titles if row == 0 else ("",) * len(titles)
        drawing.image(axes[row, 0], example.pixels, title[0])
        for column, labels in enumerate((each[row] for each in maps), start=1):
            present = {int(label): shown.names[label] for label in np.unique(labels) if label >= 0}
            _areas(axes[row, column], example, (labels, labels, present), shown, title[column])


def _patterns(shown: Shown) -> Figure:
    choices = {suite.name: suite.patterns.choices() for suite in shown.suites}
    paired = [example for example in shown.scenes if all(example.key in each for each in choices.values())]
    columns = {"its text": [[Line(choices[shown.suites[0].name][e.key].true)] for e in paired]}
    for name, each in choices.items():
        columns[f"{name}: nearer text"] = [[Line(each[e.key].chosen, each[e.key].right)] for e in paired]
    return _beside(paired, columns, 3.0)


def _panoptic(shown: Shown) -> Figure:
    titles = ("image", "truth", *(f"{suite.name}, own proposals" for suite in shown.suites))
    figure, axes = drawing.grid(len(shown.scenes), len(titles), 1.9)
    maps = [[PanopticMap(*example.segments) for example in shown.scenes]]
    for suite in shown.suites:
        dense = shown.dense(suite)
        maps.append(
            [
                name_proposals(suite.reader, d, e, shown.proposals.get(e.key, ()))
                for d, e in zip(dense, shown.scenes, strict=True)
            ]
        )
    for row, example in enumerate(shown.scenes):
        title = titles if row == 0 else ("",) * len(titles)
        drawing.image(axes[row, 0], example.pixels, title[0])
        for column, each in enumerate((of_model[row] for of_model in maps), start=1):
            table = np.full(max(each.label_of, default=0) + 1, -1)
            table[list(each.label_of)] = list(each.label_of.values())
            names = {segment: shown.names[label] for segment, label in each.label_of.items()}
            _areas(axes[row, column], example, (each.ids, table[each.ids], names), shown, title[column])
    return figure


def _areas(
    axes: Axes, example: Example, areas: tuple[np.ndarray, np.ndarray, dict[int, str]], shown: Shown, title: str
) -> None:
    """Draw an overlay of areas, given as (segment ids, labels, name of each segment)."""
    ids, labels, names = areas
    drawing.image(axes, drawing.overlay(example.pixels, labels, drawing.colours(len(shown.names))), title)
    drawing.name_areas(axes, ids, names)


def _overview(shown: Shown) -> Figure:
    scenes = shown.scenes[:_OVERVIEW_ROWS]
    columns = 2 + len(shown.suites)
    figure = Figure(figsize=(11, 5), dpi=drawing.DPI)
    _bars(figure.add_axes((0.13, 0.08, 0.26, 0.86)), shown)
    if scenes and shown.has("semantic"):
        axes = figure.subplots(
            len(scenes),
            columns,
            squeeze=False,
            gridspec_kw={"left": 0.42, "right": 0.995, "bottom": 0.01, "top": 0.94, "wspace": 0.03, "hspace": 0.04},
        )
        _semantic_rows(shown, scenes, axes)
    return figure


def _bars(axes: Axes, shown: Shown) -> None:
    rows = [bar for bar in _BARS if all(bar[1] in shown.metrics[s.name].get(bar[0], {}) for s in shown.suites)]
    height = 0.8 / len(shown.suites)
    for number, suite in enumerate(shown.suites):
        values = [shown.metrics[suite.name][benchmark][metric] for benchmark, metric, _ in rows]
        positions = np.arange(len(rows)) + (number - (len(shown.suites) - 1) / 2) * height
        bars = axes.barh(positions, values, height, label=suite.name, color=_COLOURS.get(suite.name))
        axes.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=6.5, padding=1)
    axes.set_yticks(np.arange(len(rows)), [label for _, _, label in rows], fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
