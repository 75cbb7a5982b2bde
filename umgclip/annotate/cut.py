"""Captions that the base cannot read to their end, because they have more tokens than its context."""

from __future__ import annotations

import json
from pathlib import Path

from umgclip.io import tables
from umgclip.model.clip.layout import CONFIG

_ENDS = 2  # tokens around a text
_MOST = 100_000  # images that are looked at, as many as take some seconds


def cut_captions(dataset: Path, base: Path) -> str | None:
    """How many captions of an annotated dataset are cut where the base reads them, in words; None: none is.

    Args:
        dataset: with its table of images, of which the first 100,000 are looked at.
        base: folder with the base's config.
    """
    config = json.loads((base / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    length = int(config.get("context_length", 77))
    table = tables.read_columns(dataset / "images.parquet", ["caption", "alt"]).slice(0, _MOST)
    said = {text for name in table.column_names for text in table[name].to_pylist() if text}
    texts = [text for text in sorted(said) if len(text.encode()) + _ENDS >= length]  # no token is shorter than a byte
    if not texts:
        return None
    # open_clip takes seconds to import, and most captions are short
    from umgclip.model.clip.tokenizer import Tokenizer

    cut = Tokenizer(length, config, base).cut(texts)
    if not cut:
        return None
    return f"{len(cut)} of {len(said)} are longer than the base's {length} tokens; it does not read their end"
