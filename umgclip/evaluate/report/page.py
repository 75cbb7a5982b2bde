"""The page `report.html`: one file that includes its style, script and pictures."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from umgclip import __version__
from umgclip.evaluate.benchmarks import annotator
from umgclip.evaluate.report import tables
from umgclip.evaluate.report.cases import Cases
from umgclip.evaluate.report.curves import curves
from umgclip.evaluate.suite import PROTOCOLS, Suite
from umgclip.io.atomic import write_bytes
from umgclip.pages.style import style_sheet

REPORT = "report.html"
_HERE = Path(__file__).parent
HEADLINES = (
    ("classification", "top1"),
    ("retrieval", "i2t_r1"),
    ("retrieval", "t2i_r1"),
    ("tagging", "map"),
    ("tagging", "map_dense"),
    ("region", "box_top1"),
    ("region", "mask_top1"),
    ("region", "mask_top1_heldout"),
    ("semantic", "miou"),
    ("patterns", "t2i"),
    ("panoptic", "pq_true_masks"),
    ("panoptic", "pq_proposals"),
)
GALLERIES = {
    "worst": "Least sure of the truth",
    "lost": "Lost most by tuning",
    "gained": "Gained most by tuning",
    "best": "Surest of the truth",
}


def write(path: Path, metrics: Mapping[str, Any], suites: Sequence[Suite], cases: Cases) -> None:
    """Write the page, and beside it `predictions.parquet` and `cases.json`; equal results give equal bytes.

    Args:
        path: the file to write.
        metrics: the content of `evaluate.json`.
        suites: the models after the benchmark, the base first and the tuned one last.
        cases: the images to show.
    """
    names = [suite.name for suite in suites]
    rows = {benchmark: tables.metric_rows(metrics, names, benchmark) for benchmark in PROTOCOLS}
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    page = _environment().get_template("page.html").render(
        version=__version__,
        models=names,
        style=style_sheet(_HERE / "page.css"),
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        titles=tables.TITLES,
        galleries=GALLERIES,
        headlines=[
            (f"{tables.TITLES[benchmark]}, {row.label}", benchmark, row)
            for benchmark, metric in HEADLINES
            for row in rows[benchmark]
            if row.metric == metric
        ],
        rows={benchmark: each for benchmark, each in rows.items() if each},
        charts=curves(metrics, suites, cases.sides),
        sentences={**PROTOCOLS, "annotator": annotator.PROTOCOL},
        protocols={benchmark: metrics.get("protocols", {}).get(benchmark) for benchmark in PROTOCOLS},
        protocol=metrics["protocol"],
        classes=tables.class_rows(suites),
        confusions=tables.confusions(metrics, suites),
        annotator=metrics["annotator"],
        cases=[
            (title, shown)
            for title, gallery in (("Scenes", cases.scenes), ("Single objects", cases.singles))
            if (shown := gallery.shown())
        ],
    )  # fmt: skip
    write_bytes(path, page.encode("utf-8"))
    cases.write(path.parent)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:z.3f}"
    environment.filters["signed"] = lambda value: "–" if value is None else f"{value:+z.3f}"
    return environment
