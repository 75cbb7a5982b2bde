"""Measure a tuned model on training images that were put aside, without knowing their truth.

Two rounds of a data engine are compared by three measures: whether image and caption find each other among those of all
images that were put aside, whether the dense map finds the concepts that the caption names among all others, and
whether it names the regions that the first round labelled. The captions were written by no annotator, and the regions
stay the same, so that no model is measured by labels of its own. All are means over images, so two models are compared
image by image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from umgclip.data.stream import Sample, decode, read_raw
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.evaluate.slice_regions import SliceRegion, labelled, read_regions, write_regions
from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.io.manifest import ClassList
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.layout import ADAPTER
from umgclip.model.clip.placement import device_of
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.readout import cell_weights, pool_masks_of_one
from umgclip.model.clip.tower import DenseClip
from umgclip.stage import LEFT_OUT, Summary

_BATCH = 16
_TEXTS = 256
_DIGITS = 6


@dataclass(frozen=True)
class ProbeInputs:
    """The annotated training set, validation's quarantine, the vocabulary, the base, and the folder of `train`.

    `regions` is a file of labelled regions that several models are measured by: the first measurement writes it out of
    its annotations, and the others read it. Without one, each has the regions of its own annotations.
    """

    annotations: Path
    quarantine: Path
    vocabulary: Path
    base: Path
    adapter: Path
    regions: Path | None = None


@dataclass(frozen=True)
class _Slice:
    """The keys, captions and named concepts of the images that were put aside, and how many regions are named right."""

    keys: list[str]
    captions: list[str]
    named: list[list[int]]
    regions: list[float | None]


def run(inputs: ProbeInputs, out: Path, device: str = "auto") -> Summary:
    """Write the measures of a tuned model on the images put aside: means, and one score of each image.

    Args:
        inputs: the paths that are read.
        out: JSON file: `images`; `retrieval`, the mean reciprocal rank of an image among the captions and of its
            caption among the images; `tags`, the mean average precision of the concepts of a caption, all concepts
            ranked by their best cell of the dense map; `regions`, the share of labelled regions whose name is first
            of all things, pooled over the cells of their masks; `score`, the mean of the last two, which regions
            teach; `scores` and `guards`, the score and the retrieval of each image.
        device: where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        DataError: no image was put aside, or none of them has a caption; files are missing, damaged or do not fit.
        InputError: there is no such device.
    """
    things = ClassList.model_validate_json(inputs.vocabulary.read_bytes()).things
    vocabulary = Vocabulary(tuple(things), ())
    place = device_of(device, "probe")
    tower = DenseClip(load_tuned(inputs.base, inputs.adapter / ADAPTER)).eval().to(place)
    reader = ClipReader(tower, tower.tokenizer, ImageInput.of(tower).of_regions, place)
    concepts = _embedded(reader, [with_article(name) for name in things])
    images: list[Float[np.ndarray, "b d"]] = []
    cells: list[Float[np.ndarray, "v"]] = []
    part = _Slice([], [], [], [])
    given = read_regions(inputs.regions) if inputs.regions is not None and inputs.regions.is_file() else None
    used: dict[str, list[SliceRegion]] = {}
    for batch in _batches(_samples(inputs)):
        embedded, dense = reader.read([sample.pixels for sample in batch])
        images.append(embedded.cpu().numpy())
        cells += [(concepts @ one.flatten(1).cpu().numpy()).max(1) for one in dense]
        for sample, map_of_one in zip(batch, dense, strict=True):
            key, caption = sample.record.key, _caption(sample)
            used[key] = labelled(sample.record, things) if given is None else list(given.get(key, ()))
            part.regions.append(named_right(map_of_one.cpu(), concepts, things, used[key]))
            part.keys.append(key)
            part.captions.append(caption)
            part.named.append([things.index(name) for name in vocabulary.find(caption)])
    if not part.keys:
        raise DataError(
            f"{inputs.quarantine}: expected images with a caption that were put aside (validate.leave_out), found none"
        )
    ranks = reciprocal_ranks(np.concatenate(images) @ _embedded(reader, part.captions).T, part.captions)
    precisions = [average_precision(scores, named) for scores, named in zip(cells, part.named, strict=True)]
    if inputs.regions is not None and given is None:
        write_regions(inputs.regions, used)
    report = _report(part.keys, list(map(float, ranks)), precisions, part.regions)
    write_json(out, report)
    shown = ("images", "retrieval", "tags", "regions", "score")
    return Summary("probe", tuple((name, f"{report[name]}") for name in shown))


def reciprocal_ranks(similarity: Float[np.ndarray, "n n"], captions: Sequence[str]) -> Float[np.ndarray, "n"]:
    """Return the mean reciprocal rank of each image's caption and of each caption's image, 0 to 1.

    An equal caption of another image is no wrong answer.

    Args:
        similarity: of each image with each caption; the diagonal holds the pairs.
        captions: the texts.
    """
    texts = np.array(captions)
    other: Bool[np.ndarray, "n n"] = texts[:, None] != texts[None, :]
    of_pair = similarity.diagonal()
    of_image = 1 + ((similarity >= of_pair[:, None]) & other).sum(1)
    of_caption = 1 + ((similarity >= of_pair[None, :]) & other).sum(0)
    return (1 / of_image + 1 / of_caption) / 2


def average_precision(scores: Float[np.ndarray, "v"], named: Sequence[int]) -> float | None:
    """Return the average precision of the named concepts among all, 0 to 1; None: none is named."""
    if not named:
        return None
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(np.isin(order, list(named)))
    return float(np.mean((np.arange(len(places)) + 1) / (places + 1)))


def named_right(
    dense: Float[torch.Tensor, "d h w"],
    concepts: Float[np.ndarray, "v d"],
    things: Sequence[str],
    regions: Sequence[SliceRegion],
) -> float | None:
    """Return the share of regions whose name is the first of all things, 0 to 1; None: there is no region to ask.

    Args:
        dense: dense map of the image, each cell L2-normalised.
        concepts: embeddings of the things.
        things: their names; regions with other names are left out.
        regions: of the image.
    """
    asked = [region for region in regions if region.name in things]
    if not asked:
        return None
    weights = cell_weights([region.pixels() for region in asked], (dense.shape[1], dense.shape[2]))
    best = (pool_masks_of_one(dense, weights).float().numpy() @ concepts.T).argmax(1)
    return float(np.mean([things[int(row)] == region.name for row, region in zip(best, asked, strict=True)]))


def _report(
    keys: Sequence[str],
    retrieval: Sequence[float],
    tags: Sequence[float | None],
    regions: Sequence[float | None],
) -> dict[str, Any]:
    """Return the means over the images; an image that names nothing and has no region is scored by its retrieval."""
    scores = [_mean([tag, region]) for tag, region in zip(tags, regions, strict=True)]
    whole = [rank if score is None else score for rank, score in zip(retrieval, scores, strict=True)]
    parts = {"retrieval": retrieval, "tags": tags, "regions": regions, "score": whole}
    return {
        "images": len(keys),
        **{name: _mean(values) for name, values in parts.items()},
        "scores": {key: round(score, _DIGITS) for key, score in sorted(zip(keys, whole, strict=True))},
        "guards": {key: round(rank, _DIGITS) for key, rank in sorted(zip(keys, retrieval, strict=True))},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), _DIGITS) if known else None


def _samples(inputs: ProbeInputs) -> Iterator[Sample]:
    if not inputs.quarantine.is_file():
        raise DataError(f"{inputs.quarantine}: expected validation's quarantine, found none; run `umgclip validate`")
    rows = tables.read_columns(inputs.quarantine, ["key", "reason"]).to_pylist()
    keys = {row["key"] for row in rows if row["reason"] == LEFT_OUT}
    for shard, raw in read_raw(inputs.annotations):
        if raw.key in keys:
            sample = decode(raw, f"{inputs.annotations / shard}")
            if _caption(sample):
                yield sample


def _caption(sample: Sample) -> str:
    """Return the caption that came with an image; empty: none did, and what a model wrote measures nothing."""
    texts = sample.record.captions or []
    return next((text.text for text in texts if text.source in ("alt", "human")), "")


def _batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    while batch := list(islice(samples, _BATCH)):
        yield batch


def _embedded(reader: ClipReader, texts: Sequence[str]) -> Float[np.ndarray, "t d"]:
    rows = [reader.texts(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
    return torch.cat(rows).numpy() if rows else np.zeros((0, 1), np.float32)
