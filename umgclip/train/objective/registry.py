"""The table of all objectives: to add one takes a file with its loss, a row here and a weight in `LossWeights`."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from umgclip.model.clip.files import Tokenizer
from umgclip.model.clip.tower import ClipOutput
from umgclip.params import LossWeights
from umgclip.train.batch import Batch
from umgclip.train.objective import (
    cmr,
    distill,
    hard_negatives,
    image_text,
    pixel,
    region_tags,
    region_text,
    tags,
    tic,
)
from umgclip.train.objective.features import Features, Pooled, Slots, read_out
from umgclip.train.objective.labels import Labels, label
from umgclip.train.objective.term import Objective


def _captions(batch: Batch) -> Int[Tensor, "n"]:
    return batch.caption[batch.caption >= 0]


def _tags(batch: Batch) -> Int[Tensor, "v"]:
    return batch.tag_texts


def _region_texts(batch: Batch) -> Int[Tensor, "n"]:
    return batch.region_text[batch.region_text >= 0]


def _long_captions(batch: Batch) -> Int[Tensor, "n"]:
    return batch.long_caption[batch.long_caption >= 0]


def _right_and_wrong_texts(batch: Batch) -> Int[Tensor, "n"]:
    right = batch.region_text[batch.region_of_negative]
    return torch.cat([right, batch.negative_text])[(right >= 0).repeat(2)]


_TOKENS: Final = frozenset[Pooled]({"tokens"})
_MASKS: Final = frozenset[Pooled]({"by_mask"})
_MASKS_AND_BOXES: Final = frozenset[Pooled]({"by_mask", "by_box"})

OBJECTIVES: Final = (
    Objective("image_text", image_text.term, texts=_captions),
    Objective("long_text", image_text.long_term, texts=_long_captions),
    Objective("tags", tags.term, texts=_tags),
    Objective("pixel", pixel.term, texts=_region_texts, pooled=_TOKENS, rows=lambda part: part.token_weight_sum),
    Objective("region_text", region_text.term, texts=_region_texts, pooled=_MASKS_AND_BOXES),
    Objective(
        "hard_negatives",
        hard_negatives.term,
        texts=_right_and_wrong_texts,
        pooled=_MASKS_AND_BOXES,
        rows=lambda part: part.rows_with_negatives,
    ),
    Objective(
        "cmr",
        cmr.term,
        texts=_right_and_wrong_texts,
        pooled=_MASKS_AND_BOXES,
        rows=lambda part: part.pairs_with_negatives,
        state=cmr.state,
    ),
    Objective("tic", tic.term, texts=_region_texts),
    Objective("region_tags", region_tags.term, texts=_tags, pooled=_MASKS),
    Objective("distill", distill.distill_term, pooled=_MASKS, rows=lambda part: part.taught_regions),
    Objective("relational", distill.relational_term, pooled=_MASKS),
    Objective("keep", distill.keep_term, rows=lambda part: part.taught_images),
)
"""In the order in which they are computed and summed."""


def wanted(weights: LossWeights) -> tuple[Objective, ...]:
    """Return the objectives whose weight is above 0."""
    return tuple(objective for objective in OBJECTIVES if getattr(weights, objective.name))


def labels_of(batch: Batch, weights: LossWeights, tokenizer: Tokenizer) -> Labels:
    """Return the labels of a batch for the terms whose weight is above 0."""
    looked_at = [objective.texts(batch) for objective in wanted(weights) if objective.texts is not None]
    places = torch.cat(looked_at) if looked_at else torch.zeros(0, dtype=torch.long)
    return label(batch, places, tokenizer, with_teacher=bool(weights.relational))


def features_of(out: ClipOutput, batch: Batch, weights: LossWeights, slots: Slots | None = None) -> Features:
    """Read out of a forward's dense map what the terms look at whose weight is above 0; see `read_out`."""
    pooled = frozenset[Pooled]().union(*(objective.pooled for objective in wanted(weights)))
    return read_out(out, batch, pooled, slots)


def states_of(weights: LossWeights) -> dict[str, Tensor]:
    """Make what the terms whose weight is above 0 remember from step to step, by their names."""
    return {objective.name: objective.state() for objective in wanted(weights) if objective.state is not None}
