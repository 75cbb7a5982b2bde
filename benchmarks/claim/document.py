"""Render the measured claim as Markdown and insert it between the markers of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from benchmarks.claim.models import BASE, CONTROL, FULL, LABELS, MULTI_GRAIN, TRUE
from benchmarks.claim.results import COLUMNS, NEED_MASKS, Claim, Target, Value, summarise, targets
from umgclip.io.atomic import write_bytes

BEGIN, END = "<!-- claim -->", "<!-- /claim -->"
_WIDTH = 98  # characters of a line of Markdown
_HEADINGS = {
    BASE: "base",
    CONTROL: "control",
    MULTI_GRAIN: "multi-grain",
    TRUE: "true annotations",
    FULL: "all weights",
}


def markdown(claim: Claim) -> str:
    """Return the tables of models, targets, read-outs and interpolated weights as Markdown."""
    seeds = ", ".join(str(seed) for seed in claim.seeds)
    lines = [
        "![Metrics of every model with intervals, and of weights between base and multi-grain](claim.png)",
        "",
        "### Models",
        "",
        *_wrapped(
            f"Mean over the tuning seeds {seeds}, ± their standard deviation. mIoU, refined: the same scores, averaged "
            "over pixels of similar colour before the argmax (`evaluate.semantic.refine: pamr`)."
        ),
        "",
        *_models(claim, _mean_and_spread),
        "",
        *_wrapped(
            "95% bootstrap intervals (low, high) over the benchmark's images; both ends are means over the seeds."
        ),
        "",
        *_models(claim, _interval),
        "",
        "### Targets",
        *_targets("Targets reached", [target for target in targets(claim) if target.reached]),
        *_targets("Targets **not reached**", [target for target in targets(claim) if not target.reached]),
    ]
    if claim.readouts:
        lines += ["", *_readouts(claim)]
    if claim.sweep:
        lines += ["", *_sweep(claim)]
    return "\n".join(lines)


def _targets(title: str, those: list[Target]) -> list[str]:
    """Return a titled list of targets, or no line if there are none."""
    if not those:
        return []
    lines = ["", f"{title}, with the measured value and the required minimum:", ""]
    for target in those:
        text = f"* {target.statement}: {target.measured:+.3f} (minimum {target.least:+.2f})"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def put(page: Path, text: str) -> None:
    """Replace the text between the markers of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_bytes(page, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


def _models(claim: Claim, cell: Callable[[Value | None], str]) -> list[str]:
    """Return a table with one row per metric and one column per model; the transpose would be too wide."""
    models = [name for name in LABELS if name in claim.models] + [name for name in claim.models if name not in LABELS]
    return [
        f"| | {' | '.join(_HEADINGS.get(name, name) for name in models)} |",
        f"|---|{'---|' * len(models)}",
        *(
            f"| {label} | {' | '.join(cell(claim.value(name, metric)) for name in models)} |"
            for label, metric in COLUMNS
        ),
    ]


def _mean_and_spread(value: Value | None) -> str:
    if value is None:
        return "–"
    return f"{value.mean:.3f}" + ("" if value.spread is None else f" ± {value.spread:.3f}")


def _interval(value: Value | None) -> str:
    if value is None or value.interval is None:
        return "–"
    return f"{value.interval[0]:z.3f}, {value.interval[1]:z.3f}"


def _readouts(claim: Claim) -> list[str]:
    lines = [
        "### Region read-outs",
        "",
        *_wrapped(
            f"Top-1 of each region read-out, for the {LABELS[BASE]} and for one seed of {LABELS[MULTI_GRAIN]}. The "
            "cost covers all regions of an image and includes the image's forward pass."
        ),
        "",
        "| read-out | needs | base | ... held out | multi-grain | ... held out | ms per image |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in claim.readouts:
        needs = "a mask" if one.name in NEED_MASKS else "a box"
        numbers = (one.base, one.base_held_out, one.tuned, one.tuned_held_out)
        shown = " | ".join("–" if number is None else f"{number:.3f}" for number in numbers)
        cost = "–" if one.cost_ms is None else f"{one.cost_ms:.1f}"
        lines.append(f"| {one.name} | {needs} | {shown} | {cost} |")
    return lines


def _sweep(claim: Claim) -> list[str]:
    left_out = ("tagging.map", "tagging.map_dense", "semantic.miou_refined", "panoptic.pq_proposals")
    ends = {0.0: claim.models[BASE], 1.0: claim.models[MULTI_GRAIN]}
    steps = sorted((claim.sweep | ends).items())
    return [
        "### Interpolated weights",
        "",
        *_wrapped(
            "Weights interpolated linearly between the base (alpha 0) and the multi-grain model (alpha 1); "
            "mean over seeds."
        ),
        "",
        f"| alpha | {' | '.join(f'{alpha:.1f}' for alpha, _ in steps)} |",
        f"|---|{'---|' * len(steps)}",
        *(
            f"| {label} | {' | '.join(_mean(summarise(runs, metric)) for _, runs in steps)} |"
            for label, metric in COLUMNS
            if metric not in left_out
        ),
    ]


def _mean(value: Value | None) -> str:
    return "–" if value is None else f"{value.mean:.3f}"
