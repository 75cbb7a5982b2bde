"""Figures about the whole dataset as a table of one row, so that rules can bound them like any other value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

import pandas as pd

# The columns of the images' and regions' tables that each figure is made of.
FACT_NEEDS: Mapping[str, tuple[str, ...]] = {
    "label_score_mean": ("key", "caption", "labelled", "label_score"),
    "captioned_image_share": ("caption",),
    "labelled_image_share": ("key", "caption", "labelled"),
    "annotated_image_share": ("key",),
}


class DatasetFacts:
    """The figures about a dataset, counted over parts of it that hold all rows of their images.

    Labels come from captions, so an image with neither a caption nor a label of its own does not count towards them. A
    dataset without any captions is not required to have some.

    Args:
        dropped: `key` and `region_id` of all that annotation quarantined.
        withheld: keys of images of which `annotate.label.precision` kept a label back. Something was recognised there,
            so they count as labelled.
    """

    def __init__(self, dropped: pd.DataFrame, withheld: Collection[str] = ()) -> None:
        self._lost = dropped.loc[dropped["region_id"].isna(), "key"].dropna().drop_duplicates()
        self._there = pd.Series(data=False, index=self._lost.index)
        self._withheld = list(withheld)
        self._counts: Counter[str] = Counter()
        self._columns: set[str] = set()
        self._scores = 0.0

    def add(self, images: pd.DataFrame, regions: pd.DataFrame) -> None:
        """Count the images of a part, and their regions.

        Args:
            images: `key` and `caption` of every image.
            regions: `key`, `labelled` and `label_score` of every region.
        """
        self._columns |= {*(f"images.{name}" for name in images), *(f"regions.{name}" for name in regions)}
        self._counts["images"] += len(images)
        if "key" in images:
            self._there |= self._lost.isin(images["key"])
        if "caption" not in images:
            return
        captioned = images["caption"].fillna("").str.strip() != ""
        self._counts["captioned"] += int(captioned.sum())
        if "key" in images and {"key", "labelled"} <= set(regions):
            labelled = regions["labelled"] == 1
            has_label = images["key"].isin(regions.loc[labelled, "key"].dropna())
            has_label |= images["key"].isin(self._withheld)
            asked = captioned | has_label
            self._counts["asked"] += int(asked.sum())
            self._counts["labelled"] += int((has_label & asked).sum())
            if "label_score" in regions:
                scores = regions.loc[labelled, "label_score"].dropna()
                self._scores += float(scores.sum())
                self._counts["scores"] += len(scores)

    def frame(self) -> pd.DataFrame:
        """Return the figures for which the columns exist; null if they would be about nothing.

        Returns:
            One row: the mean label score over labelled regions (0 if none is labelled), the share of images with a
            caption, the share of images with at least one labelled region, and the share of images that annotation did
            not drop.
        """
        counts, columns = self._counts, self._columns
        facts: dict[str, float] = {}
        if "images.caption" in columns:
            facts["captioned_image_share"] = _share(counts["captioned"], counts["images"] * bool(counts["captioned"]))
            if {"images.key", "regions.key", "regions.labelled"} <= columns:
                facts["labelled_image_share"] = _share(counts["labelled"], counts["asked"])
                if "regions.label_score" in columns:
                    # Without a label there is no mean, and a null would pass any bound.
                    no_label = 0.0 if counts["asked"] and not self._withheld else math.nan
                    facts["label_score_mean"] = self._scores / counts["scores"] if counts["scores"] else no_label
        if "images.key" in columns:
            missing = int((~self._there).sum())
            facts["annotated_image_share"] = counts["images"] / (counts["images"] + missing)
        return pd.DataFrame([facts])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
