"""The style of a page: the sheet that all pages share, before the page's own."""

from __future__ import annotations

from pathlib import Path

_COMMON = Path(__file__).with_name("common.css")


def style_sheet(sheet: Path) -> str:
    """Return the shared rules (colours in both themes, focus, type) and then those of a page's own sheet.

    Args:
        sheet: CSS file of the page.
    """
    return _COMMON.read_text(encoding="utf-8") + sheet.read_text(encoding="utf-8")
