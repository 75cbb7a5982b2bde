"""The content that a benchmark needs so that a metric of `evaluate` can be measured."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

NO_MASKS = "no images whose regions all have masks"
LACKS: Mapping[str, str] = {
    "classification": "no images of a single object",
    "retrieval": "no captions",
    "tagging": "no tags",
    "region": "no labelled regions of things",
    "fine_grained": "no regions with a true text and perturbed ones",
    "detection": "no boxes of things, or no boxes to name",
    "semantic": NO_MASKS,
    "patterns": "no pairs of images",
    "panoptic": NO_MASKS,
}
_REGION = re.compile(r"(?P<readout>\w+?)_(?P<metric>top1|top5|per_class|stuff_top1)(?P<kind>_\w+)?")
_KINDS = {"things": "no segments of things", "stuff": "no segments of stuff"}


def lacking(metric: str, measured: Collection[str], readouts: Collection[str]) -> str | None:
    """Return what the benchmark lacks for a metric that was not measured; None if it is not the reason.

    Args:
        metric: as in `region.mask_top1`.
        measured: all metrics that were measured.
        readouts: the requested read-outs of regions; empty: not known.

    Example:
        >>> lacking("retrieval.i2t_r1", measured=["classification.top1"], readouts=[])
        'no captions'
    """
    family, _, name = metric.partition(".")
    if not any(other.startswith(f"{family}.") for other in measured):
        return LACKS.get(family)
    if family == "region":
        return _of_region(name, measured, readouts)
    kind = name.split("_")[1] if name.count("_") > 1 else ""
    return _KINDS.get(kind) if family == "panoptic" else None


def _of_region(name: str, measured: Collection[str], readouts: Collection[str]) -> str | None:
    parts = _REGION.fullmatch(name)
    if parts is None or (readouts and parts["readout"] not in readouts):
        return None
    if f"region.{parts['readout']}_top1" not in measured:
        return "no masks of regions"
    kind = "stuff" if parts["metric"] == "stuff_top1" else (parts["kind"] or "").lstrip("_")
    return f"no regions of the kind {kind}" if kind else None
