"""The cost of a shard for a worker, fitted to measured shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShardCost:
    """A shard of n images takes `per_shard_s + n * per_image_s` seconds, times a factor drawn from `spread`.

    Attributes:
        per_image_s: seconds per image: decoding, roles, writing.
        per_shard_s: seconds per shard: opening, tables, commit.
        spread: ratios of measured to fitted seconds of single shards, with a mean of about 1.
    """

    per_image_s: float
    per_shard_s: float = 0.0
    spread: tuple[float, ...] = (1.0,)

    def seconds(self, images: int) -> float:
        """Return the seconds of a shard with a number of images, without spread."""
        return self.per_shard_s + images * self.per_image_s


def fit(images: Sequence[int], seconds: Sequence[float]) -> ShardCost:
    """Fit the cost to measured shards by least squares; neither part may be below 0.

    Shards of at least two sizes are needed to separate the two parts; with one size, the images carry the whole cost.

    Args:
        images: images of each shard.
        seconds: seconds that each shard took one worker.

    Raises:
        ValueError: there are no shards, or not as many times as shards.
    """
    if not len(images) or len(images) != len(seconds):
        raise ValueError(f"expected as many times as shards, got {len(seconds)} for {len(images)}")
    count, taken = np.asarray(images, float), np.asarray(seconds, float)
    per_shard = 0.0
    if np.ptp(count) > 0:
        slope, intercept = np.polyfit(count, taken, 1)
        per_shard = float(np.clip(intercept, 0.0, taken.min())) if slope > 0 else 0.0
    per_image = float((taken - per_shard).sum() / count.sum())
    fitted = per_shard + per_image * count
    return ShardCost(per_image, per_shard, tuple((taken / fitted).tolist()))
