"""The page of a prediction: one HTML file beside the thumbnails, which a browser opens from the disk."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from umgclip.inference.detecting.detector import Detector
from umgclip.io.atomic import atomic_file
from umgclip.pages.style import style_sheet
from umgclip.predictions.drawing import colour_of
from umgclip.predictions.journal import Line
from umgclip.safe_text import without_secrets

PAGE = "index.html"
MOST = 20_000  # images that a browser lists easily
_STATIC = Path(__file__).with_name("static")
_DATA = "<!-- data -->"


def write_page(path: Path, lines: Iterable[Line], detector: Detector, model: str) -> None:
    """Write the page; of more than 20,000 images it shows the first.

    The data are text in a script that is not run, and the only script and style that run are those whose digests the
    page's policy names, so nothing in a label or a file's name can run.

    Args:
        path: of the page.
        lines: of the journal.
        detector: the labels and the threshold.
        model: what the model was called.

    Raises:
        OutputError: it cannot be written.
    """
    style, script = style_sheet(_STATIC / "page.css"), (_STATIC / "page.js").read_text(encoding="utf-8")
    parts = {
        "style": style,
        "script": script,
        "style-digest": _digest(style),
        "script-digest": _digest(script),
        "model": escape(without_secrets(model)),
    }
    page = (_STATIC / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    before, after = page.split(_DATA)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write(before + '{"labels":[')
        labels = [[label, _hex(number)] for number, label in enumerate(detector.labels)]
        handle.write(",".join(map(_text, labels)))
        handle.write(f'],"threshold":{detector.settings.threshold},"images":[')
        number = 0
        for number, line in enumerate(lines, 1):
            if number <= MOST:
                handle.write(("," if number > 1 else "") + "\n" + _text(_card(line)))
        handle.write(f'],"count":{number}}}{after}')


def _card(line: Line) -> dict[str, Any]:
    if "error" in line:
        return {"name": line["image"], "error": line["error"]}
    return {
        "name": line["image"],
        "wh": line["size_wh"],
        "thumb": _address(line["thumbnail"]),
        "picture": _address(line["picture"]) if "picture" in line else None,
        "found": [[one["label_id"], one["score"], one["box_xyxy"]] for one in line["detections"]],
    }


def _address(name: str) -> str:
    return quote(name, errors="surrogateescape")


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON in which nothing ends a script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _hex(label: int) -> str:
    red, green, blue = colour_of(label)
    return f"#{red:02x}{green:02x}{blue:02x}"
