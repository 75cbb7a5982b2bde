"""`umgclip report`: the results of a pipeline run as tables, from the files that it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.lines import notice
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
    lines += [f"| {' | '.join((row, title, *map(_shown, values)))} |" for row, title, _, values in _main(metrics)]
    if words := _annotator_in_words(metrics):
        lines += ["", *words]
    return "\n".join(lines)


def show_main(evaluation: Path, registration: Path, pages: Path) -> None:
    """Print the main results, those of the README's table, and the annotator's quality.

    Args:
        evaluation: the metrics file that `evaluate` wrote.
        registration: the report that `register` wrote, for the document of `--json`.
        pages: the page that `evaluate` wrote; it is named if it exists.

    Raises:
        DataError: there is no evaluation, or the file is not one that `evaluate` writes.
    """
    metrics = evaluated(evaluation)
    sheet = Sheet(title="Main results, shares of 1")
    for column in ("benchmark", "metric", "base", "tuned", "change"):
        sheet.add_column(column, justify="left" if column in ("benchmark", "metric") else "right")
    for row, (benchmark, title, _, values) in enumerate(_main(metrics)):
        if benchmark and row:
            sheet.add_section()
        before, after = values
        change = "" if before is None or after is None else f"{after - before:+.3f}"
        sheet.add_row(benchmark, title, *map(_shown, values), change)
    terminal.show(sheet, least_width=_WIDTH, document=document(metrics, registration))
    for line in _annotator_in_words(metrics):
        terminal.remark(line)
    seen = f"; {pages} shows them in pictures" if pages.is_file() else ""
    notice(f"`umgclip report --all` has every metric, its interval and the registered version{seen}")


def document(metrics: Mapping[str, Any], registration: Path) -> dict[str, Any]:
    """Return all results for `--json`: the main ones, every metric of each benchmark, the annotator, the version."""
    changes = metrics.get("intervals", {}).get("change", {})
    benchmarks: dict[str, dict[str, Any]] = {}
    for benchmark in BENCHMARKS:
        before, after = (numbers(metrics[model].get(benchmark, {})) for model in ("base", "tuned"))
        for metric in dict.fromkeys([*before, *after]):
            old, new = before.get(metric), after.get(metric)
            ends = changes.get(benchmark, {}).get(metric) or {}
            benchmarks.setdefault(benchmark, {})[metric] = {
                "base": old,
                "tuned": new,
                "change": None if old is None or new is None else round(new - old, 6),
                "low": ends.get("low"),
                "high": ends.get("high"),
            }
    main = [
        {"metric": key, "title": title, "base": values[0], "tuned": values[1]}
        for _, title, key, values in _main(metrics)
    ]
    registered = read_object(registration) if registration.is_file() else None
    return {
        "main": main,
        "benchmarks": benchmarks,
        "annotator": numbers(metrics.get("annotator") or {}),
        "registered": registered,
    }


def _main(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[float | None]]]:
    """Yield the rows of the README's table: benchmark, readable name, key, and the values of base and tuned."""
    for benchmark, title, name in _SHORT:
        group, metric = name.split(".")
        values = [numbers(metrics[model].get(group, {})).get(metric) for model in ("base", "tuned")]
        if metric not in _OPTIONAL or values != [None, None]:
            yield benchmark, title, name, values


def _annotator_in_words(metrics: Mapping[str, Any]) -> list[str]:
    quality = numbers(metrics.get("annotator") or {})
    if not quality:
        return []
    # an annotator that wrote no label has no precision
    shown = {name: _shown(quality.get(name), 2) for name in ("precision", "recall", "label_precision", "mask_iou")}
    return [
        f"The annotator against the truth: precision {shown['precision']}, recall {shown['recall']},",
        f"right label where the box is right {shown['label_precision']}, mask IoU {shown['mask_iou']}.",
    ]


def show_results(evaluation: Path, registration: Path) -> None:
    """Print base against tuned, the annotator's quality and the registered version.

    Raises:
        DataError: there is no evaluation, or the file is not one that `evaluate` writes.
    """
    metrics = evaluated(evaluation)
    table = _comparison(metrics["base"], metrics["tuned"], metrics.get("intervals", {}).get("change", {}))
    sheets = [table]
    if metrics.get("annotator"):
        sheets.append(_annotator(metrics["annotator"]))
    if registration.is_file():
        sheets.append(_registered(read_object(registration)))
    terminal.show(*sheets, least_width=_WIDTH, document=document(metrics, registration))


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
    tuned = {str(path): metrics["tuned"] for path, metrics in zip(paths, results, strict=True)}
    terminal.show(table, least_width=_WIDTH, document={"tuned": tuned, "may_differ": list(allowed)})
    for field in allowed:
        terminal.remark(f"The protocols may differ in {field}, as --allow permits.")


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


def _shown(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


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
