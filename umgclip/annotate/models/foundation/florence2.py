"""Florence-2: captions of the image, boxes with labels or captions, captions of given boxes.

The model gives no confidence for a box. Every score here is the mean probability of the tokens of an answer, so all
boxes of an image share one. A filter or a region tagger by CLIP tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.generation import generate
from umgclip.annotate.models.foundation.pictures import pictures, sizes
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.proposal import Box, Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.rules.caption_text import whole_sentences
from umgclip.params.annotators import Florence2Params
from umgclip.records import Text

_BINS = 1000  # of a coordinate
_MOST = 100  # boxes per image; an answer of 512 tokens holds fewer


class Florence2:
    """Florence-2 as captioner, tagger, proposer and region captioner."""

    def __init__(self, params: Florence2Params, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        self._loaded = load(params, where, "Florence2ForConditionalGeneration", "Florence2Processor")
        self.name = self._loaded.name

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Text] | Failure]:
        """Return one caption of each image for each prompt of `captions`."""
        del proposals
        results: list[list[Text] | Failure] = [[] for _ in images]
        for task in self._params.captions:
            for row, answer in enumerate(self._ask([(pixels, task, "") for pixels in images])):
                captions = results[row]
                if isinstance(answer, Failure) or isinstance(captions, Failure):
                    results[row] = answer if isinstance(answer, Failure) else captions
                else:
                    captions.append(self._text(*answer, task))
        return results

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Return the labels that object detection gives, each once."""
        del captions
        results: list[list[Text] | Failure] = []
        for answer in self._ask([(pixels, "<OD>", "") for pixels in images]):
            if isinstance(answer, Failure):
                results.append(answer)
                continue
            parsed, score, _ = answer
            names = dict.fromkeys(name for name in parsed["labels"] if name)
            results.append([Text(text=n, score=score, source=with_prompt(self.name, "<OD>")) for n in names])
        return results

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes by the prompt `boxes`, with labels or captions if the prompt gives them."""
        del captions
        task = self._params.boxes
        results: list[list[Proposal] | Failure] = []
        for answer, size in zip(self._ask([(pixels, task, "") for pixels in images]), sizes(images), strict=True):
            results.append(answer if isinstance(answer, Failure) else self._proposals(*answer[:2], size))
        return results

    def _proposals(self, parsed: dict[str, Any], score: float, size: tuple[int, int]) -> list[Proposal]:
        task = self._params.boxes
        source = with_prompt(self.name, task)
        proposals: list[Proposal] = []
        for box, label in zip(parsed["bboxes"], parsed["labels"], strict=True):
            x0, y0, x1, y1 = (float(v) for v in box)
            detection = Detection((x0, y0, x1, y1), score, label if task == "<OD>" else None)
            for proposal in to_proposals([detection], size, source, 1):
                if task == "<DENSE_REGION_CAPTION>" and label:
                    proposal = replace(proposal, captions=(Text(text=label, score=score, source=source),))
                proposals.append(proposal)
        return proposals[:_MOST]

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return a phrase for each region by the prompt `regions`; the model sees the whole image."""
        task = self._params.regions
        asked = [
            (row, (pixels, task, locations(p.box_xyxy, (pixels.shape[0], pixels.shape[1]))))
            for row, (pixels, of_image) in enumerate(zip(images, proposals, strict=True))
            for p in of_image
        ]
        results: list[list[list[Text]] | Failure] = [[] for _ in images]
        for (row, _), answer in zip(asked, self._ask([one for _, one in asked]), strict=True):
            phrases = results[row]
            if isinstance(phrases, Failure):
                continue
            if isinstance(answer, Failure):
                results[row] = answer
            else:
                phrases.append([self._text(*answer, task)])
        return results

    def _text(self, answer: str, score: float, ended: bool, task: str) -> Text:
        text = answer if ended else whole_sentences(answer)
        return Text(text=text, score=score, source=with_prompt(self.name, task))

    def _ask(self, asked: Sequence[tuple[Pixels, str, str]]) -> list[tuple[Any, float, bool] | Failure]:
        return run_batches(asked, self._params.batch, self._answers)

    def _answers(self, asked: Sequence[tuple[Pixels, str, str]]) -> list[tuple[Any, float, bool]]:
        processor = self._loaded.processor
        images = [pixels for pixels, _, _ in asked]
        texts = [task + more for _, task, more in asked]
        inputs = self._loaded.on_device(
            processor(images=pictures(images), text=texts, padding=True, return_tensors="pt")
        )
        generated = generate(self._loaded, inputs, 0, self._params.max_new_tokens, self._params.beams)
        answers = []
        for (pixels, task, _), one in zip(asked, generated, strict=True):
            text = processor.batch_decode([one.ids], skip_special_tokens=False)[0].replace("<pad>", "")
            parsed = processor.post_process_generation(text, task=task, image_size=(pixels.shape[1], pixels.shape[0]))
            answers.append((parsed[task], one.score, one.ended))
        return answers


def locations(box_xyxy: Box, image_hw: tuple[int, int]) -> str:
    """Return a box as four location tokens: thousandths of the image's width and height."""
    height, width = image_hw
    shares = np.array(box_xyxy) / np.array([width, height, width, height])
    return "".join(f"<loc_{int(np.clip(np.floor(share * _BINS), 0, _BINS - 1))}>" for share in shares)
