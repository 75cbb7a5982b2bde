"""The datasets that a run was trained on: their digests, weights, and how many of their images were shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umgclip.data.mixture import UNNAMED, datasets_of
from umgclip.io.manifest import Manifest
from umgclip.learning.counts import SHOWN_OF


def digests(manifest: Manifest) -> dict[str, str]:
    """Return the digest of each dataset by name; none if no shard names its dataset."""
    parts = datasets_of(manifest)
    return {} if set(parts) == {UNNAMED} else {name: part.digest() for name, part in parts.items()}


def facts(manifest: Manifest, mixture: Mapping[str, float], seen: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return digest, images, weight and images shown of each dataset by name; none if no shard names its dataset."""
    parts = datasets_of(manifest)
    return {
        name: {
            "digest": digest,
            "images": parts[name].samples,
            "weight": mixture.get(name, 0.0) if mixture else 1.0,
            "shown": seen.get(f"{SHOWN_OF}{name}", 0),
        }
        for name, digest in digests(manifest).items()
    }


def rows(listed: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return a summary row for each dataset."""
    return tuple(
        (
            f"images shown of {name} (weight {one['weight']:g})",
            f"{one['shown']:,}, each of {one['images']:,} {one['shown'] / one['images']:.2f} times",
        )
        for name, one in listed.items()
    )
