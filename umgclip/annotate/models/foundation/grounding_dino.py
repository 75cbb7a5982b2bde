"""Grounding DINO and MM Grounding DINO: boxes for phrases, each box for exactly one of them.

The processor of transformers joins all tokens above a threshold to one label, so that a box may come out as "cat dog"
or with no label at all. Here a box belongs to the phrase with the best mean score over its tokens, as in the authors'
own evaluation on benchmarks with fixed classes. Phrases that do not fit into the text encoder together are divided
into turns, each with a forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.pictures import sizes, stretched_pictures
from umgclip.annotate.models.foundation.queries import DetectorQueries, in_groups
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.params.annotators import GroundingDinoParams

_CLASSES = {
    "grounding_dino": "GroundingDinoForObjectDetection",
    "mm_grounding_dino": "MMGroundingDinoForObjectDetection",
}


class GroundingDino:
    """A proposer with labels of an open vocabulary."""

    def __init__(self, params: GroundingDinoParams, where: str, vocabulary: Vocabulary) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params, self._queries = params, DetectorQueries(params.queries, vocabulary)
        self._loaded = load(params, where, _CLASSES[params.kind], "GroundingDinoProcessor")
        self.name = self._loaded.name
        self._tokenizer = self._loaded.processor.tokenizer
        self._dot = self._tokenizer.convert_tokens_to_ids(".")
        self._room = int(self._loaded.model.config.max_text_len) - 2  # [CLS] and [SEP]

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes labelled with the queries of each image."""
        results: list[list[Proposal] | Failure] = [[] for _ in images]
        for queries, rows in in_groups(captions, self._queries).items():
            turns = self._turns(queries)

            def detect(batch: Sequence[Pixels], turns: list[list[str]] = turns) -> list[list[Proposal]]:
                return self._detect(batch, turns)

            answers = run_batches([images[row] for row in rows], self._params.batch, detect)
            for row, answer in zip(rows, answers, strict=True):
                results[row] = answer
        return results

    def _turns(self, queries: Sequence[str]) -> list[list[str]]:
        """Divide phrases into groups that fit into the text encoder together; queries without a word are left out."""
        turns: list[list[str]] = []
        used = self._room + 1
        for query in queries:
            phrase = _phrase(query)
            if not phrase:
                continue
            cost = len(self._tokenizer(phrase, add_special_tokens=False).input_ids) + 1
            if used + cost > self._room:
                turns.append([])
                used = 0
            turns[-1].append(query)
            used += cost
        return turns

    def _detect(self, images: Sequence[Pixels], turns: list[list[str]]) -> list[list[Proposal]]:
        detections: list[list[Detection]] = [[] for _ in images]
        processor = self._loaded.processor
        pixels = self._loaded.on_device(processor.image_processor(stretched_pictures(images), return_tensors="pt"))
        for queries in turns:
            texts = [[_phrase(query) for query in queries]] * len(images)
            inputs = processor(text=texts, padding=True, return_tensors="pt")
            outputs = self._loaded.model(**pixels, **self._loaded.on_device(inputs))
            spans = phrase_spans(inputs["input_ids"][0], self._dot)
            for of_image, size, logits, boxes in zip(
                detections, sizes(images), outputs.logits.float().cpu(), outputs.pred_boxes.float().cpu(), strict=True
            ):
                scores, rows = best_phrase(logits.sigmoid(), spans[: len(queries)])
                for score, row, box in zip(scores.tolist(), rows.tolist(), boxes.tolist(), strict=True):
                    if score >= self._params.threshold:
                        is_stuff = self._queries.is_stuff(queries[row])
                        of_image.append(Detection(_pixels(box, size), score, queries[row], is_stuff))
        most, iou = self._params.most, self._params.nms_iou
        return [
            to_proposals(of_image, size, self.name, most, iou)
            for of_image, size in zip(detections, sizes(images), strict=True)
        ]


def phrase_spans(input_ids: Int[Tensor, "t"], dot: int) -> list[tuple[int, int]]:
    """Return the half-open span of tokens of each phrase, in a text whose phrases end with a dot; [CLS] comes first."""
    spans, start = [], 1
    for position, token in enumerate(input_ids.tolist()):
        if token == dot:
            if position > start:
                spans.append((start, position))
            start = position + 1
    return spans


def best_phrase(
    probabilities: Float[Tensor, "q t"], spans: Sequence[tuple[int, int]]
) -> tuple[Float[Tensor, "q"], Int[Tensor, "q"]]:
    """Return the score and the phrase of each box.

    The phrase is the one with the largest mean over its tokens; the score is the largest of its tokens.

    Args:
        probabilities: of each box with each token.
        spans: the half-open spans of the phrases.
    """
    if not spans:
        nothing = torch.zeros(len(probabilities))
        return nothing, nothing.long()
    means = torch.stack([probabilities[:, low:high].mean(1) for low, high in spans], 1)
    highest = torch.stack([probabilities[:, low:high].amax(1) for low, high in spans], 1)
    rows = means.argmax(1)
    return highest.gather(1, rows[:, None])[:, 0], rows


def _phrase(query: str) -> str:
    return " ".join(query.replace(".", " ").replace("?", " ").lower().split())


def _pixels(box_cxcywh: Sequence[float], size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    x, y, w, h = box_cxcywh
    height, width = size_hw
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
