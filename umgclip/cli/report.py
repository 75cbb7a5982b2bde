"""`umgclip report`: the results of a pipeline run as tables, from the files that it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.lines import say
from umgclip.cli.session import numbers
from umgclip.cli.terminal import Sheet
from umgclip.errors import DataError
from umgclip.io.json_file import read_object
from umgclip.metrics.protocol import require_same_protocol
from umgclip.params.register import BENCHMARKS

# the rows of the README's table: the benchmark, a readable name of the metric, and its key
_SHORT = (
    ("zero-shot classification", "top-1, single objects", "classification.top1"),
    ("retrieval", "image to text R@1", "retrieval.i2t_r1"),
    ("", "text to image R@1", "retrieval.t2i_r1"),
    ("tagging", "mAP, whole image", "tagging.map"),
    ("", "mAP, best cell of the dense map", "tagging.map_dense"),
    ("regions", "dense map, true boxes, top-1", "region.box_top1"),
    ("", "dense map, true masks, top-1", "region.mask_top1"),
    ("", "... held-out classes", "region.mask_top1_heldout"),
    ("", "plain crop, top-1", "region.crop_top1"),
    ("", "... held-out classes", "region.crop_top1_heldout"),
    ("", "masked-out crop, top-1", "region.maskout_top1"),
    ("semantic", "mIoU", "semantic.miou"),
    ("", "mIoU, refined", "semantic.miou_refined"),
    ("panoptic", "PQ, true masks", "panoptic.pq_true_masks"),
    ("", "PQ, own proposals", "panoptic.pq_proposals"),
)
_OPTIONAL = {"miou_refined", "map_dense"}
_WIDTH = 120


def markdown(evaluation: Path) -> str:
    """Return the main results as a Markdown table, for a README or a pull request.

    Raises:
        DataError: there is no evaluation, or the file is not one that `evaluate` writes.
    """
    metrics = evaluated(evaluation)
    lines = ["| benchmark | metric | base | tuned |", "|---|---|---|---|"]
    for benchmark, title, name in _SHORT:
        group, metric = name.split(".")
        values = [numbers(metrics[model].get(group, {})).get(metric) for model in ("base", "tuned")]
        if metric not in _OPTIONAL or values != [None, None]:
            lines.append(f"| {' | '.join((benchmark, title, *map(_shown, values)))} |")
    if quality := numbers(metrics.get("annotator", {})):
        lines += [
            "",
            f"The annotator against the truth: precision {quality['precision']:.2f}, recall {quality['recall']:.2f},",
            f"right label where the box is right {quality['label_precision']:.2f}, mask IoU {quality['mask_iou']:.2f}.",
        ]
    return "\n".join(lines)


def show_results(evaluation: Path, registration: Path) -> None:
    """Print base against tuned, the annotator's quality and the registered version.

    Raises:
        DataError: there is no evaluation, or the file is not one that `evaluate` writes.
    """
    metrics = evaluated(evaluation)
    table = _comparison(metrics["base"], metrics["tuned"], metrics.get("intervals", {}).get("change", {}))
    terminal.show(table, least_width=_WIDTH)
    if metrics.get("annotator"):
        terminal.show(_annotator(metrics["annotator"]), least_width=_WIDTH)
    if registration.is_file():
        terminal.show(_registered(read_object(registration)), least_width=_WIDTH)


def show_beside(evaluation: Path, others: Sequence[Path], allowed: Sequence[str]) -> None:
    """Print the tuned models of several evaluations, one column each.

    Args:
        evaluation: the metrics file that `evaluate` wrote.
        others: metrics files of other runs.
        allowed: fields of the protocols that may differ, such as `region.resolution`; they are listed below the table.

    Raises:
        DataError: there is no evaluation, or it was written before protocols were recorded.
        InputError: two were measured by different protocols; the message names the first field that differs.
    """
    paths = [evaluation, *others]
    results = [evaluated(path) for path in paths]
    for path, metrics in zip(paths, results, strict=True):
        if "protocols" not in metrics:
            raise DataError(f"{path}: expected 'protocols', got metrics without them; run `umgclip evaluate` again")
        names = (str(evaluation), str(path))
        require_same_protocol(results[0]["protocols"], metrics["protocols"], names, allowed)
    table = Sheet(title="Tuned models, shares of 1")
    for column in ("benchmark", "metric", *(str(path) for path in paths)):
        table.add_column(column, justify="left" if column in ("benchmark", "metric") else "right")
    for benchmark in BENCHMARKS:
        columns = [numbers(metrics["tuned"].get(benchmark, {})) for metrics in results]
        for row, metric in enumerate(dict.fromkeys(name for column in columns for name in column)):
            table.add_row(benchmark if row == 0 else "", metric, *(_shown(column.get(metric)) for column in columns))
        table.add_section()
    terminal.show(table, least_width=_WIDTH)
    for field in allowed:
        say(f"The protocols may differ in {field}, as --allow permits.", as_result=True)


def evaluated(path: Path) -> dict[str, Any]:
    """Read the metrics file of `evaluate`.

    Raises:
        DataError: there is none, or it is another file.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected the metrics of `umgclip evaluate`, found none; run `dvc repro` to make them")
    metrics = read_object(path)
    for name in ("base", "tuned"):
        if not isinstance(metrics.get(name), dict):
            raise DataError(f"{path}: expected metrics of {name!r}, got {sorted(metrics)}")
    return metrics


def _comparison(base: Mapping[str, Any], tuned: Mapping[str, Any], change: Mapping[str, Any]) -> Sheet:
    table = Sheet(title="Benchmarks, shares of 1")
    table.add_column("benchmark")
    table.add_column("metric")
    for column in ("base", "tuned", "change", "95 % of change"):
        table.add_column(column, justify="right")
    for benchmark in BENCHMARKS:
        before, after = numbers(base.get(benchmark, {})), numbers(tuned.get(benchmark, {}))
        for row, (metric, values) in enumerate(_pairs(before, after)):
            ends = change.get(benchmark, {}).get(metric)
            likely = f"{ends['low']:+.3f} to {ends['high']:+.3f}" if ends else ""
            table.add_row(benchmark if row == 0 else "", metric, *values, likely)
        table.add_section()
    return table


def _pairs(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for metric in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(metric), after.get(metric)
        change = "" if old is None or new is None else f"{new - old:+.3f}"
        yield metric, (_shown(old), _shown(new), change)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _annotator(quality: Mapping[str, Any]) -> Sheet:
    table = Sheet("annotator, against the truth", "value")
    for name, value in numbers(quality).items():
        table.add_row(name, f"{value:.3f}")
    return table


def _registered(report: Mapping[str, Any]) -> Sheet:
    aliases = [alias for alias, version in report.get("aliases", {}).items() if version == report.get("version")]
    table = Sheet("registered model", f"{report.get('name')} version {report.get('version')}")
    table.add_row("aliases", ", ".join(aliases) or "none")
    table.add_row("gates", str(report.get("gates", {}).get("reason", "")))
    table.add_row("MLflow", str(report.get("tracking_uri")))
    return table
