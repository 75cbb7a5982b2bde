"""What training met and took in its stride: counted as it goes on, told at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from umgclip.data.sides import may_be_mirrored
from umgclip.model.clip.tokenizer import Tokenizer
from umgclip.records import ImageRecord
from umgclip.train.batch import Batch

IMAGES, UNMIRRORED, REGIONS, SLIVERS, TEXTS, CUT = "images", "unmirrored", "regions", "slivers", "texts", "cut"
_LEAST_PX = 0.5  # side of a box of which a dense map can still say something


def of_samples(records: Iterable[ImageRecord], batch: Batch) -> Counter[str]:
    """Counts of samples as they were shown: images, regions, and what stands out among them."""
    records = list(records)
    height, width = batch.images.shape[2:]
    x0, y0, x1, y1 = batch.boxes_xyxy.unbind(1)
    slivers = ((x1 - x0) * width < _LEAST_PX) | ((y1 - y0) * height < _LEAST_PX)
    return Counter(
        {
            IMAGES: len(records),
            UNMIRRORED: sum(not may_be_mirrored(record) for record in records),
            REGIONS: len(slivers),
            SLIVERS: int(slivers.sum()),
        }
    )


def of_texts(texts: Iterable[str], tokenizer: Tokenizer) -> Counter[str]:
    """Counts of texts as they were encoded."""
    texts = list(texts)
    return Counter({TEXTS: len(texts), CUT: len(tokenizer.cut(texts))})


def rows_of(seen: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Rows of a summary, for what was met at all; each time that it was shown counts."""
    told = (
        ("never mirrored", UNMIRRORED, IMAGES, "images shown, for a text says left or right"),
        ("texts cut", CUT, TEXTS, "texts encoded, longer than the model's context"),
        ("boxes under half a pixel", SLIVERS, REGIONS, "regions shown"),
    )
    return tuple(
        (name, f"{seen[what]:,} of {seen.get(of, 0):,} {more}") for name, what, of, more in told if seen.get(what)
    )
