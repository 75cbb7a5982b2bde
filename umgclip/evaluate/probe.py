"""Measure a tuned model on training images that were put aside, without knowing their truth.

Two rounds of a data engine are compared by what a caption says of its image, which no annotator wrote: whether image
and caption find each other among those of all images that were put aside, and whether the dense map finds the concepts
that the caption names among all others. Both are means over images, so two models are compared image by image.
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
from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.io.manifest import ClassList
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.layout import ADAPTER
from umgclip.model.clip.placement import device_of
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.tower import DenseClip
from umgclip.stage import LEFT_OUT, Summary

_BATCH = 16
_TEXTS = 256
_DIGITS = 6


@dataclass(frozen=True)
class ProbeInputs:
    """The annotated training set, validation's quarantine, the vocabulary, the base, and the folder of `train`."""

    annotations: Path
    quarantine: Path
    vocabulary: Path
    base: Path
    adapter: Path


@dataclass(frozen=True)
class _Slice:
    """The keys, captions and named concepts of the images that were put aside."""

    keys: list[str]
    captions: list[str]
    named: list[list[int]]


def run(inputs: ProbeInputs, out: Path, device: str = "auto") -> Summary:
    """Write the measures of a tuned model on the images put aside: means, and one score of each image.

    Args:
        inputs: the paths that are read.
        out: JSON file: `images`; `retrieval`, the mean reciprocal rank of an image among the captions and of its
            caption among the images; `tags`, the mean average precision of the concepts of a caption, all concepts
            ranked by their best cell of the dense map; `score`, the mean of both; `scores`, that of each image.
        device: where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        DataError: no image was put aside, or none of them has a caption; files are missing or do not fit.
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
    part = _Slice([], [], [])
    for batch in _batches(_samples(inputs)):
        embedded, dense = reader.read([sample.pixels for sample in batch])
        images.append(embedded.cpu().numpy())
        cells += [(concepts @ one.flatten(1).cpu().numpy()).max(1) for one in dense]
        for sample in batch:
            caption = _caption(sample)
            part.keys.append(sample.record.key)
            part.captions.append(caption)
            part.named.append([things.index(name) for name in vocabulary.find(caption)])
    if not part.keys:
        raise DataError(
            f"{inputs.quarantine}: expected images with a caption that were put aside (validate.leave_out), found none"
        )
    ranks = reciprocal_ranks(np.concatenate(images) @ _embedded(reader, part.captions).T, part.captions)
    precisions = [average_precision(scores, named) for scores, named in zip(cells, part.named, strict=True)]
    report = _report(part.keys, ranks, precisions)
    write_json(out, report)
    shown = ("images", "retrieval", "tags", "score")
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


def _report(keys: Sequence[str], ranks: Float[np.ndarray, "n"], precisions: Sequence[float | None]) -> dict[str, Any]:
    scores = [
        float(rank) if precision is None else (float(rank) + precision) / 2
        for rank, precision in zip(ranks, precisions, strict=True)
    ]
    known = [precision for precision in precisions if precision is not None]
    return {
        "images": len(keys),
        "retrieval": round(float(ranks.mean()), _DIGITS),
        "tags": round(float(np.mean(known)), _DIGITS) if known else None,
        "score": round(float(np.mean(scores)), _DIGITS),
        "scores": {key: round(score, _DIGITS) for key, score in sorted(zip(keys, scores, strict=True))},
    }


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
