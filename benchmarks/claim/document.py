"""The claim as Markdown, put between markers of a page."""

from __future__ import annotations

from pathlib import Path

from benchmarks.claim.models import BASE, LABELS, MULTI_GRAIN
from benchmarks.claim.results import COLUMNS, NEED_MASKS, Claim, Target, Value, summarise, targets
from umgclip.io.atomic import write_bytes

BEGIN, END = "<!-- claim -->", "<!-- /claim -->"


def markdown(claim: Claim) -> str:
    """Models, targets, read-outs and the way from the base to the tuned model."""
    lines = [
        "![Every model with its intervals, and the way from the base to the multi-grain model](claim.png)",
        "",
        f"Seeds {', '.join(str(seed) for seed in claim.seeds)} of the tuning. A cell is the mean over them, ± their "
        "standard deviation, and below it the 95 % interval of the benchmark's images. Refined: the same scores, "
        "averaged over pixels of like colour before the argmax (`evaluate.semantic.refine: pamr`).",
        "",
        *_models(claim),
        "",
        "| asked for | measured | least | |",
        "|---|---|---|---|",
        *(_target(target) for target in targets(claim)),
    ]
    if claim.readouts:
        lines += ["", *_readouts(claim)]
    if claim.sweep:
        lines += ["", *_sweep(claim)]
    return "\n".join(lines)


def _target(target: Target) -> str:
    reached = "reached" if target.reached else "**not reached**"
    return f"| {target.said} | {target.measured:+.3f} | {target.least:+.2f} | {reached} |"


def put(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_bytes(page, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


def _models(claim: Claim) -> list[str]:
    """One column a model would be too wide for a page: a row a benchmark, a column a model."""
    models = [name for name in LABELS if name in claim.models] + [name for name in claim.models if name not in LABELS]
    return [
        f"| | {' | '.join(LABELS.get(name, name) for name in models)} |",
        f"|---|{'---|' * len(models)}",
        *(
            f"| {said} | {' | '.join(_cell(claim.value(name, metric)) for name in models)} |"
            for said, metric in COLUMNS
        ),
    ]


def _cell(value: Value | None) -> str:
    if value is None:
        return "–"
    spread = "" if value.spread is None else f" ± {value.spread:.3f}"
    interval = "" if value.interval is None else f"<br>{value.interval[0]:z.3f} to {value.interval[1]:z.3f}"
    return f"{value.mean:.3f}{spread}{interval}"


def _readouts(claim: Claim) -> list[str]:
    lines = [
        f"Ways to read a region, of the {LABELS[BASE]} and of one seed of {LABELS[MULTI_GRAIN]}; the cost is that of "
        "all regions of an image, its forward included.",
        "",
        "| read-out | needs | base | ... held out | multi-grain | ... held out | ms an image |",
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
    left_out = ("tagging.map", "semantic.miou_refined", "panoptic.pq_proposals")
    columns = [entry for entry in COLUMNS if entry[1] not in left_out]
    ends = {0.0: claim.models[BASE], 1.0: claim.models[MULTI_GRAIN]}
    rows = [
        f"| {alpha:.1f} | {' | '.join(_mean(summarise(runs, metric)) for _, metric in columns)} |"
        for alpha, runs in sorted((claim.sweep | ends).items())
    ]
    return [
        "Weights on the line from the base (0) to the multi-grain model (1), mean over seeds:",
        "",
        f"| alpha | {' | '.join(said for said, _ in columns)} |",
        f"|---|{'---|' * len(columns)}",
        *rows,
    ]


def _mean(value: Value | None) -> str:
    return "–" if value is None else f"{value.mean:.3f}"
