"""OWLv2: boxes for a vocabulary of any length, or class-agnostic boxes by objectness.

Texts and image meet only in the last product. So each text is embedded only once, and a batch of images costs one
forward pass, however many queries there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.pictures import sizes, small_pictures
from umgclip.annotate.models.foundation.queries import DetectorQueries
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.clip.prompts import fill_template
from umgclip.params.annotators import Owlv2Params

_TEXTS = 256  # embedded at once
_QUERIES = 1024  # compared with all boxes of an image at once
_LARGER = 2  # times the model's side: larger images are scaled down before its processor sees them


class Owlv2:
    """A proposer with labels of an open vocabulary."""

    def __init__(self, params: Owlv2Params, where: str, vocabulary: Vocabulary) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params, self._queries = params, DetectorQueries(params.queries, vocabulary)
        self._loaded = load(params, where, "Owlv2ForObjectDetection", "Owlv2Processor")
        self.name = with_prompt(self._loaded.name, params.template)
        self._texts: dict[str, Tensor] = {}

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes labelled with queries, or boxes by objectness for an image without queries."""
        wanted = [self._queries.for_caption(caption) for caption in captions]
        return run_batches(list(zip(images, wanted, strict=True)), self._params.batch, self._detect)

    def _detect(self, batch: Sequence[tuple[Pixels, list[str]]]) -> list[list[Proposal]]:
        images = [pixels for pixels, _ in batch]
        model = self._loaded.model
        # the processor blurs an image in its full size before it scales it down: seconds for 4000 pixels
        longest = _LARGER * int(self._loaded.processor.image_processor.size["height"])
        inputs = self._loaded.processor(images=small_pictures(images, longest), return_tensors="pt")
        pixels = self._loaded.on_device(inputs)["pixel_values"]
        grid, _ = model.image_embedder(pixel_values=pixels)
        features = grid.flatten(1, 2)
        boxes = model.box_predictor(features, grid).float().cpu()
        objectness = model.objectness_predictor(features).float().sigmoid().cpu()
        results = []
        for row, (image, queries) in enumerate(batch):
            labels: list[str | None]
            if queries:
                scores, rows = self._best(features[row : row + 1], queries)
                labels = [queries[i] for i in rows]
            else:
                scores, labels = objectness[row], [None] * len(objectness[row])
            results.append(self._proposals(image, boxes[row], scores, labels))
        return results

    def _best(self, features: Float[Tensor, "1 n d"], queries: Sequence[str]) -> tuple[Float[Tensor, "n"], list[int]]:
        """Return the score and the query of each box, some queries at once, because every box has a logit of each."""
        embedded = self._embedded(queries)
        best = features.new_full((features.shape[1],), -torch.inf, dtype=torch.float32)
        rows = torch.zeros(len(best), dtype=torch.long, device=best.device)
        for start in range(0, len(queries), _QUERIES):
            logits, _ = self._loaded.model.class_predictor(features, embedded[None, start : start + _QUERIES])
            some = logits[0].float().max(-1)
            better = some.values > best
            best = torch.where(better, some.values, best)
            rows = torch.where(better, some.indices + start, rows)
        return best.sigmoid().cpu(), rows.tolist()

    def _proposals(self, image: Pixels, boxes: Tensor, scores: Tensor, labels: Sequence[str | None]) -> list[Proposal]:
        ((height, width),) = sizes([image])
        side = max(height, width)  # the processor pads to a square, to the right and below
        detections = []
        for (x, y, w, h), score, label in zip(boxes.tolist(), scores.tolist(), labels, strict=True):
            if score >= self._params.threshold:
                corners = (x - w / 2) * side, (y - h / 2) * side, (x + w / 2) * side, (y + h / 2) * side
                is_stuff = label is not None and self._queries.is_stuff(label)
                detections.append(Detection(corners, score, label, is_stuff))
        return to_proposals(detections, (height, width), self.name, self._params.most, self._params.nms_iou)

    def _embedded(self, queries: Sequence[str]) -> Float[Tensor, "n d"]:
        missing = [query for query in queries if query not in self._texts]
        for start in range(0, len(missing), _TEXTS):
            names = missing[start : start + _TEXTS]
            texts = [fill_template(self._params.template, name) for name in names]
            tokenizer: Any = self._loaded.processor.tokenizer
            inputs = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
            out = self._loaded.model.owlv2.get_text_features(**self._loaded.on_device(inputs)).pooler_output
            self._texts.update(zip(names, torch.nn.functional.normalize(out, dim=-1), strict=True))
        return torch.stack([self._texts[query] for query in queries])
