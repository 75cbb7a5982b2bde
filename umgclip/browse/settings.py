"""Settings of a gallery: how much of a dataset it shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from umgclip.errors import InputError

MOST = 20_000  # most images that a browser lists easily
_LEAST = {"count": 1, "quarantined": 0, "shards": 1, "seed": 0, "side_px": 64}


@dataclass(frozen=True)
class Selection:
    """Size of the sample that a gallery shows; the same selection of the same dataset gives the same gallery.

    Attributes:
        count: images of the dataset, drawn at random.
        quarantined: further images, each with a row in a quarantine.
        shards: most shards read for `count`, and again as many for `quarantined`.
        seed: seed of the draws.
        side_px: longer side of a picture in pixels; smaller images keep their size.
    """

    count: int = 300
    quarantined: int = 100
    shards: int = 16
    seed: int = 0
    side_px: int = 512

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < _LEAST[name]:
                raise InputError(f"{name}: expected at least {_LEAST[name]}, got {value}")
        if max(self.count, self.quarantined) > MOST:
            raise InputError(f"count, quarantined: expected at most {MOST}, got {max(self.count, self.quarantined)}")
