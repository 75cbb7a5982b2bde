"""The package's description: the README without pictures and links that resolve in the repository alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PLACE = r"(?!\w+:|#)([^)\s]+)"
_PICTURE = re.compile(rf"^!\[[^\]]*\]\({_PLACE}\)\n\n(?:\*[^*\n][^*]*\*\n\n)?", re.MULTILINE)
_LINK = re.compile(rf"(!?)\[([^\]]*)\]\({_PLACE}\)")


class Description(MetadataHookInterface):
    """Give the description as text, because the README in the repository has relative addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme` from README.md and the key `address` of pyproject.toml's hook."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        shown = described(text, str(self.config.get("address", "")))
        metadata["readme"] = {"content-type": "text/markdown", "text": shown}


def described(text: str, address: str) -> str:
    """Make relative addresses absolute; without an address drop pictures with their captions, and links around text.

    Args:
        text: Markdown of the README.
        address: where files of the repository are read, with a slash at its end; empty: nowhere yet.
    """
    if address:
        return _LINK.sub(lambda link: f"{link[1]}[{link[2]}]({address}{link[3]})", text)
    return _LINK.sub(lambda link: "" if link[1] else link[2], _PICTURE.sub("", text))
