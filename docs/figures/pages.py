"""Pictures of the gallery and of the report for docs/, taken with Chromium after a run of the demo.

python docs/figures/pages.py     # in the folder with data/ and artifacts/
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1]
# of the report: the summary, and the scenes that gained most
ONLY = """<style>main > * { display: none !important }
main > #summary, #summary + ul + p, #summary + ul + p + .scroll, main > h3.shown { display: block !important }
main > #summary + ul { display: flex !important }
main > .cases.shown { display: grid !important }
.cases.shown li:nth-child(n+3) { display: none }</style>"""


def main() -> None:
    """Write browse.png, compare.png and evaluation.png."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        browse("artifacts/annotate/train", scratch / "train")
        browse("data/benchmark", scratch / "benchmark", "--predictions", "artifacts/evaluate")
        take(scratch / "train" / "index.html", "browse", 1100, 740)
        cases = json.loads(Path("artifacts/evaluate/cases.json").read_text(encoding="utf-8"))
        key = cases["scenes"]["gained"][1]
        take(scratch / "benchmark" / "index.html", "compare", 1100, 740, f"#image={key}")
        page = Path("artifacts/evaluate/report.html").read_text(encoding="utf-8")
        head, gained = "<h3>Gained most by tuning</h3>", '<ul class="cases">'
        start = page.index(head)
        page = page[:start] + page[start:].replace(head, head.replace("<h3>", '<h3 class="shown">'), 1).replace(
            gained, '<ul class="cases shown">', 1
        )
        (scratch / "report.html").write_text(page.replace("</head>", f"{ONLY}</head>", 1), encoding="utf-8")
        take(scratch / "report.html", "evaluation", 1000, 1490)


def browse(dataset: str, out: Path, *options: str) -> None:
    """Write a gallery of some images."""
    command = [sys.executable, "-m", "umgclip", "data", "browse", dataset, "--out", str(out), "-n", "60", *options]
    subprocess.run(command, check=True)  # noqa: S603 - built here


def take(page: Path, name: str, width: int, height: int, place: str = "") -> None:
    """Take a picture of a page, in light mode."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("expected Chromium, found none")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=4000"]
    size, picture = f"--window-size={width},{height}", f"--screenshot={DOCS / f'{name}.png'}"
    command = [chromium, *flags, size, picture, f"{page.as_uri()}{place}"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - built here


if __name__ == "__main__":
    main()
