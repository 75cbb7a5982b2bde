"""Count captions that the base truncates, because they have more tokens than its context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umgclip.data.byte_pairs import BytePairs
from umgclip.io import tables
from umgclip.model.clip.layout import CONFIG, text_length

_ENDS = 2  # tokens for the beginning and the end of a text
_MOST = 100_000  # images that are checked, which takes some seconds


def cut_captions(dataset: Path, base: Path) -> str | None:
    """Return in words how many captions of an annotated dataset the base truncates; None: none.

    Args:
        dataset: folder with the table of images, of which the first 100,000 are checked.
        base: folder with the base's config.
    """
    config = json.loads((base / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    length = text_length(config)
    first = next(tables.batches(dataset / "images.parquet", ["caption", "alt"], _MOST), None)
    captions = {text for column in (first.columns if first is not None else ()) for text in column.to_pylist() if text}
    # no token is shorter than a byte
    texts = [text for text in sorted(captions) if len(text.encode()) + _ENDS >= length]
    if not texts:
        return None
    cut = _cut(texts, length, config, base)
    if not cut:
        return None
    return f"{len(cut)} of {len(captions)} are longer than the base's {length} tokens; it does not read their end"


def _cut(texts: list[str], length: int, config: Mapping[str, Any], base: Path) -> list[str]:
    if not config.get("hf_tokenizer_name") and not config.get("tokenizer_kwargs"):
        count = BytePairs().count
        return [text for text in texts if count(text) + _ENDS > length]
    # open_clip takes seconds to import
    from umgclip.model.clip.tokenizer import Tokenizer

    return Tokenizer(length, config, base).cut(texts)
