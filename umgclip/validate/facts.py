"""Figures about the whole dataset as a table of one row, so that rules can bound them like any other value."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import pandas as pd

# The columns of the images' and regions' tables that each figure is made of.
FACT_NEEDS: Mapping[str, tuple[str, ...]] = {
    "label_score_mean": ("key", "caption", "labelled", "label_score"),
    "captioned_image_share": ("caption",),
    "labelled_image_share": ("key", "caption", "labelled"),
    "annotated_image_share": ("key",),
}


def dataset_facts(
    images: pd.DataFrame, regions: pd.DataFrame, dropped: pd.DataFrame, withheld: Collection[str] = ()
) -> pd.DataFrame:
    """Compute the figures for which the columns exist; null if they would be about nothing.

    Labels come from captions, so an image with neither a caption nor a label of its own does not count towards them. A
    dataset without any captions is not required to have some.

    Args:
        images: `key` and `caption` of every image.
        regions: `key`, `labelled` and `label_score` of every region.
        dropped: `key` and `region_id` of all that annotation quarantined.
        withheld: keys of images of which `annotate.label.precision` kept a label back. Something was recognised there,
            so they count as labelled.

    Returns:
        One row: the mean label score over labelled regions (0 if none is labelled), the share of images with a
        caption, the share of images with at least one labelled region, and the share of images that annotation did
        not drop.
    """
    facts: dict[str, float] = {}
    if "caption" in images:
        captioned = images["caption"].fillna("").str.strip() != ""
        facts["captioned_image_share"] = float(captioned.mean()) if captioned.any() else math.nan
        if "key" in images and {"key", "labelled"} <= set(regions):
            has_label = images["key"].isin(regions.loc[regions["labelled"] == 1, "key"].dropna())
            has_label |= images["key"].isin(list(withheld))
            asked = captioned | has_label
            facts["labelled_image_share"] = float(has_label[asked].mean()) if asked.any() else math.nan
            if "label_score" in regions:
                scores = regions.loc[regions["labelled"] == 1, "label_score"].dropna()
                # Without a label there is no mean, and a null would pass any bound.
                facts["label_score_mean"] = (
                    float(scores.mean()) if len(scores) else 0.0 if asked.any() and not withheld else math.nan
                )
    if "key" in images:
        lost = dropped.loc[dropped["region_id"].isna(), "key"].dropna()
        missing = lost[~lost.isin(images["key"])].nunique()
        facts["annotated_image_share"] = len(images) / (len(images) + missing)
    return pd.DataFrame([facts])
