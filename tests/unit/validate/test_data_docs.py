"""Pages about data that were written to run something: nothing of theirs does."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from umgclip.errors import GateError
from umgclip.params import ValidateParams
from umgclip.validate.stage import ValidateInputs, run

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "</td></table><svg/onload=alert(3)>",
    "' onclick=alert(4) \"",
    "<iframe srcdoc='<script>alert(5)</script>'>", "[link](javascript:alert(6))", "${HOSTILE} $PARAMETER {{ 7 * 7 }}",
)  # fmt: skip
HANDLERS = {"showAllValidations()", "hideSucceededValidations()"}


class Page(HTMLParser):
    """A parser that reads a page roughly as a browser would."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def policy(self) -> str:
        (meta,) = [m for m in self.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
        return meta["content"] or ""


@pytest.fixture
def docs(tables: Any, store: Callable[[Any], ValidateInputs], tmp_path: Path) -> list[Path]:  # noqa: ANN401
    """Render all pages about a dataset whose captions, labels, tags and keys are hostile and break rules."""
    for row, text in enumerate(HOSTILE):
        tables.plant("images", row, caption=f"{text} {text} {text} {text}", tags=text, sha256=text)
        tables.plant("regions", 40 + 2 * row, label=text, caption=f"{text}</s>", region_id=text)
    inputs = store(tables)
    with pytest.raises(GateError):
        run(ValidateParams(), inputs, tmp_path / "out")
    pages = sorted(inputs.data_docs.rglob("*.html"))
    assert len(pages) > 5
    return pages


def test_data_run_nothing_in_any_page(docs: list[Path]) -> None:
    shown = ""
    numbers = set()
    for path in docs:
        page = Page(path)
        shown += page.text
        assert "default-src 'none'" in page.policy
        assert "script-src 'unsafe-inline'" not in page.policy
        number = (re.findall(r"'nonce-([\w-]{16,})'", page.policy) or [None])[0]
        numbers.add(number)
        assert all(number is not None and script["nonce"] == number for script in page.of("script"))
        assert not page.of("iframe")
        assert not page.of("svg")
        assert all(image.get("src") != "x" for image in page.of("img"))
        called = {value for _, attributes in page.tags for name, value in attributes.items() if name.startswith("on")}
        assert called <= HANDLERS | {None} or path.name == "index.html"
        links = [link.get("href") or "" for link in page.of("a")]
        assert not [link for link in links if link.lower().startswith("javascript:")]
    assert len(numbers) == len(docs)  # of each page its own; the first has no scripts
    assert all(text in shown for text in HOSTILE)


def test_the_first_page_needs_no_other_file(docs: list[Path]) -> None:
    first = min(docs, key=lambda path: len(path.parents))
    page = Page(first)
    assert page.policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not [tag for tag, attributes in page.tags if tag in ("script", "link", "img") or "src" in attributes]
