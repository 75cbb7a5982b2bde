"""Measures: columns computed before the rules run, such as lengths, overhangs and faults in texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from umgclip.params import ValidateParams
from umgclip.validate.captions import refusing

# Tokens of language models ("</s>", "<|endoftext|>", "<loc_12>", "[PAD]") and control or replacement characters.
DIRT = re.compile(r"<[^<>\s]{1,40}>|\[/?(?:CLS|SEP|PAD|UNK|MASK|BOS|EOS|INST)\]|[\x00-\x1f\x7f-\x9f\ufffd]")
BOX = ("x0", "y0", "x1", "y1")
MASK_BOX = ("mask_x0", "mask_y0", "mask_x1", "mask_y1")


@dataclass(frozen=True)
class Measure:
    """A computed column: its name, the columns that it needs, and one value per row (null: nothing to say)."""

    name: str
    needs: tuple[str, ...]
    compute: Callable[[pd.DataFrame], pd.Series]


def add_measures(frame: pd.DataFrame, measures: Iterable[Measure]) -> pd.DataFrame:
    """Add every measure whose columns the frame has."""
    ready = {m.name: m.compute(frame) for m in measures if set(m.needs) <= set(frame.columns)}
    return frame.assign(**ready)


def image_measures(params: ValidateParams, known: Collection[str], canned: Collection[str] = ()) -> tuple[Measure, ...]:
    """Return the measures of a row of the images' table.

    Args:
        params: the section `validate`.
        known: the concepts that may be tags.
        canned: captions that `captions.canned` has found.
    """
    return (
        *_caption_measures(params, canned),
        Measure("unknown_tags", ("tags",), lambda f: unknown_tags(f["tags"], known)),
    )


def region_measures(params: ValidateParams, canned: Collection[str] = ()) -> tuple[Measure, ...]:
    """Return the measures of a row of the regions' table; `canned` are captions that `captions.canned` has found."""
    size = ("width", "height")
    flags = ("is_stuff", "labelled", "has_mask")
    mask = ("mask_area", *MASK_BOX)
    return (
        *_caption_measures(params, canned),
        Measure("box_nulls", (*BOX, *size), lambda f: nulls_of(f, (*BOX, *size))),
        Measure("flag_nulls", flags, lambda f: nulls_of(f, flags)),
        Measure(
            "label_nulls",
            ("labelled", "label", "label_score"),
            lambda f: nulls_of(f, ("label", "label_score")).where(f["labelled"] == 1),
        ),
        Measure("mask_nulls", ("has_mask", *mask), lambda f: nulls_of(f, mask).where(f["has_mask"] == 1)),
        Measure("mask_overhang_px", (*BOX, *MASK_BOX), lambda f: pd.Series(mask_overhang_px(f), index=f.index)),
    )


def content_measures(benchmark: Mapping[str, str], copies: Callable[[pd.DataFrame], pd.Series]) -> tuple[Measure, ...]:
    """Return the measures of content hashes.

    Args:
        benchmark: the key of each image of the benchmark, by its SHA-256.
        copies: returns the key of the first image with the same content, among all images.
    """
    return (
        Measure("first_copy", ("key", "sha256"), copies),
        Measure("benchmark_key", ("sha256",), lambda f: _text(f["sha256"].map(dict(benchmark)))),
    )


def owner_measures(image_keys: pd.Series | None) -> tuple[Measure, ...]:
    """Return the measure of orphans: the key of a region whose image is not in the images' table.

    The keys of that table are known to the rules as `images.key`.
    """
    if image_keys is None:
        return (Measure("orphan_key", ("images.key",), lambda f: f["key"]),)
    return (Measure("orphan_key", ("key",), lambda f: f["key"].where(~f["key"].isin(image_keys))),)


def nulls_of(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Count the nulls of a row in these columns, as float."""
    return frame[list(columns)].isna().sum(axis=1).astype(float)


def mask_overhang_px(frame: pd.DataFrame) -> Float[ndarray, " row"]:
    """Measure how far a mask's tight box leaves the region's box, in pixels; NaN where there is no mask."""
    box = frame[list(BOX)].to_numpy(dtype=float)
    tight = frame[list(MASK_BOX)].to_numpy(dtype=float)
    overhang = np.concatenate([box[:, :2] - tight[:, :2], tight[:, 2:] - box[:, 2:]], axis=1)
    return np.asarray(overhang.max(axis=1).clip(min=0.0), dtype=float)


def words(texts: pd.Series) -> pd.Series:
    """Count words separated by white space; NaN where there is no text."""
    return texts.str.count(r"\S+").astype(float)


def caption_dirt(texts: pd.Series) -> pd.Series:
    """Find the first control character or special token, quoted and escaped; null if there is none."""
    return _each(texts, lambda text: ascii(match.group()) if (match := DIRT.search(text)) else None)


def caption_loop(texts: pd.Series, repeats_max: int) -> pd.Series:
    """Find the first phrase of one to four words repeated more than `repeats_max` times; null if there is none.

    Example: with `repeats_max=2`, "a dog a dog a dog" gives "a dog" and "a very very old dog" gives null.
    """
    # Possessive words (`\w++`): a word is never split, so long captions cannot make the search explode.
    pattern = re.compile(r"(?i)\b(\w++(?:\W++\w++){0,3}?)(?:\W++\1\b)" + f"{{{repeats_max}}}")
    return _each(texts, lambda text: match.group(1) if (match := pattern.search(text)) else None)


def unknown_tags(tags: pd.Series, known: Collection[str]) -> pd.Series:
    """Return the tags (joined by `|`) that are not known concepts; null if all are known."""
    concepts = frozenset(known)
    return _each(tags, lambda joined: "|".join(t for t in joined.split("|") if t not in concepts) if joined else None)


def first_copy(frame: pd.DataFrame) -> pd.Series:
    """Return the key of the first image with the same content; null for that first image itself."""
    later = frame["sha256"].notna() & frame.duplicated("sha256", keep="first")
    first = frame.drop_duplicates("sha256", keep="first").set_index("sha256")["key"]
    # An image without a key can be the first one too: the copy still needs something to show.
    return _text(frame["sha256"].map(first).fillna("?").where(later))


def _caption_measures(params: ValidateParams, canned: Collection[str]) -> tuple[Measure, ...]:
    return (
        Measure("caption_words", ("caption",), lambda f: words(f["caption"])),
        Measure("caption_dirt", ("caption",), lambda f: caption_dirt(f["caption"])),
        Measure("caption_loop", ("caption",), lambda f: caption_loop(f["caption"], params.phrase_repeats_max)),
        Measure("caption_refusal", ("caption",), lambda f: refusing(f["caption"], f.get("caption_source"))),
        Measure("caption_canned", ("caption",), lambda f: _text(f["caption"].where(f["caption"].isin(canned)))),
    )


def _each(texts: pd.Series, find: Callable[[str], str | None]) -> pd.Series:
    return _text(pd.Series([find(t) or None if isinstance(t, str) else None for t in texts], index=texts.index))


def _text(values: pd.Series) -> pd.Series:
    # Without a fixed type, a column of nulls only would be an object column, and a chunk's type would vary.
    return values.astype("str")
