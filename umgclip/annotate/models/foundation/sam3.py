"""SAM 3: masks of all things that a word names, of the stuff that it names, and for given boxes.

The image is encoded once for all words, and a word once for all images. What remains for each pair of an image and a
word are the detector and the mask decoder. The model takes one word at a time, so that every region has exactly one;
what two words claim is decided here, because the model asks nobody: the better one stays (`rules.rivals`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.masking import refine_things, with_mask
from umgclip.annotate.models.foundation.pictures import pictures, sizes
from umgclip.annotate.models.foundation.queries import DetectorQueries
from umgclip.annotate.models.foundation.sam3_outputs import Sam3Outputs, at_size
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Partly
from umgclip.annotate.rules.negation import is_negated
from umgclip.annotate.rules.rivals import apart, best_names
from umgclip.data.vocabulary import Vocabulary
from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.model.clip.placement import placement
from umgclip.params.annotators import Sam3Params
from umgclip.records import Text

_TEXTS = 256  # embedded at once
_BOX_WORD = "visual"  # what the model was trained to read where a box is the only prompt
_NAMED = 10  # refused words that a row of `rejected` names


@dataclass
class _Regions:
    """The regions that the words of one image have given so far."""

    things: list[Proposal] = field(default_factory=list)
    stuff: list[Proposal] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)


class Sam3:
    """A proposer of things and stuff by words, and a masker."""

    def __init__(self, params: Sam3Params, where: str, vocabulary: Vocabulary) -> None:
        """Load the weights; a word is embedded when it is first looked for.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params, self._queries = params, DetectorQueries(params.queries, vocabulary)
        _, self._dtype = placement(params, where)
        full = params.model_copy(update={"dtype": "fp32"})
        self._loaded = load(full, where, "Sam3Model", "Sam3Processor")
        self.name = self._loaded.name
        self._texts: dict[str, Tensor] = {}

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return masks with the words of each image: things, then stuff, each in descending score.

        Negated words are not looked for. They are refused and reported with the answer, as are masks without a pixel
        and what a better word claims.
        """
        wanted = [self._queries.for_caption(caption) for caption in captions]
        return run_batches(list(zip(images, wanted, strict=True)), self._params.batch, self._propose)

    def refine_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Return the proposals with a mask for every thing; stuff stays as it is.

        A mask whose box has a lower IoU with the proposal's than `min_box_iou` is not taken.
        """
        return refine_things(images, proposals, self._params.batch, self._refine)

    def _propose(self, batch: Sequence[tuple[Pixels, list[str]]]) -> list[list[Proposal] | Failure]:
        vision = self._encoded([pixels for pixels, _ in batch])
        image_hw = sizes([pixels for pixels, _ in batch])
        negated = [[word for word in words if is_negated(word)] for _, words in batch]
        pairs = [(row, word) for row, (_, words) in enumerate(batch) for word in words if not is_negated(word)]

        def look(some: Sequence[tuple[int, str]]) -> list[_Regions]:
            rows = [row for row, _ in some]
            outputs = self._decoded(vision, rows, [word for _, word in some])
            return [
                self._regions(Sam3Outputs.of(outputs, number), word, image_hw[row])
                for number, (row, word) in enumerate(some)
            ]

        answers = run_batches(pairs, self._params.batch, look)
        _free_memory(answers, len(batch))
        regions = [_Regions(refused=[_not_asked(words, self.name)] if words else []) for words in negated]
        failures: dict[int, Failure] = {}
        for (row, _), answer in zip(pairs, answers, strict=True):
            if isinstance(answer, Failure):
                failures[row] = answer
                continue
            regions[row].things += answer.things
            regions[row].stuff += answer.stuff
            regions[row].refused += answer.refused
        return [failures.get(row) or self._without_rivals(one) for row, one in enumerate(regions)]

    def _without_rivals(self, regions: _Regions) -> list[Proposal]:
        things, rivals = best_names(regions.things, self._params.rival_iou, self._params.most)
        stuff, covered = apart(regions.stuff, self._params.overlap)
        proposals = [*things, *stuff[: self._params.most - len(things)]]
        refused = [*regions.refused, *rivals, *covered]
        return Partly(proposals, refused) if refused else proposals

    def _regions(self, outputs: Sam3Outputs, word: str, image_hw: tuple[int, int]) -> _Regions:
        """Return what a word has found in an image."""
        regions = _Regions()
        if self._queries.is_stuff(word):
            probabilities = at_size(outputs.stuff, image_hw)
            inside = probabilities > self._params.mask_threshold
            score = outputs.presence * (float(probabilities[inside].mean()) if inside.any() else 0.0)
            if score >= self._params.stuff_threshold and inside.any():
                regions.stuff.append(self._proposal(inside.cpu().numpy(), score, word, is_stuff=True))
            return regions
        scores = outputs.scores.numpy()
        order = [int(row) for row in np.argsort(-scores, kind="stable") if scores[row] >= self._params.threshold]
        for row in order[: self._params.most]:
            score = float(scores[row])
            mask = outputs.mask(row, image_hw, self._params.mask_threshold)
            if mask.any():
                regions.things.append(self._proposal(mask, score, word))
            else:
                regions.refused.append(outputs.empty(row, word, image_hw, self.name))
        return regions

    def _proposal(self, mask: Bool[np.ndarray, "h w"], score: float, word: str, is_stuff: bool = False) -> Proposal:
        tag = Text(text=word, score=score, source=self.name)
        stored = mask_ops.encode(mask)
        return Proposal(stored, score, is_stuff, (tag,), source=self.name, mask_source=self.name)

    def _refine(self, batch: Sequence[tuple[Pixels, list[Proposal]]]) -> list[list[Proposal] | Failure]:
        """Return the things of each image, with the masks that fit them."""
        vision = self._encoded([pixels for pixels, _ in batch])
        image_hw = sizes([pixels for pixels, _ in batch])
        pairs = [(row, thing) for row, (_, things) in enumerate(batch) for thing in things]

        def draw(some: Sequence[tuple[int, Proposal]]) -> list[Proposal]:
            rows = [row for row, _ in some]
            boxes = np.array([_shares(thing, image_hw[row]) for row, thing in some])
            outputs = self._decoded(vision, rows, [_BOX_WORD] * len(some), boxes)
            drawn = []
            for number, (row, thing) in enumerate(some):
                one = Sam3Outputs.of(outputs, number)
                overlaps = box_ops.iou(boxes[number : number + 1], one.boxes.double().numpy())[0]
                best = int((overlaps * one.scores.numpy()).argmax())
                mask = one.mask(best, image_hw[row], self._params.mask_threshold)
                drawn.append(with_mask(thing, mask, self.name, self._params.min_box_iou))
            return drawn

        answers = run_batches(pairs, self._params.batch, draw)
        _free_memory(answers, len(batch))
        results: list[list[Proposal] | Failure] = [[] for _ in batch]
        for (row, _), answer in zip(pairs, answers, strict=True):
            of_image = results[row]
            if isinstance(answer, Failure):
                results[row] = answer
            elif not isinstance(of_image, Failure):
                of_image.append(answer)
        return results

    def _half(self) -> torch.autocast:
        """Compute costly parts in the precision of the params; coordinates and scores stay in float32."""
        return torch.autocast(self._loaded.device.type, self._dtype, enabled=self._dtype != torch.float32)

    def _encoded(self, images: Sequence[Pixels]) -> Sam3VisionEncoderOutput:
        """Return the levels of the images; their positions are the same for all, and held once."""
        inputs = self._loaded.on_device(self._loaded.processor(images=pictures(images), return_tensors="pt"))
        with self._half():
            vision = self._loaded.model.get_vision_features(pixel_values=inputs["pixel_values"])
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=vision.fpn_hidden_states,
            fpn_position_encoding=tuple(level[:1] for level in vision.fpn_position_encoding),
        )

    def _decoded(
        self,
        vision: Sam3VisionEncoderOutput,
        rows: Sequence[int],
        words: Sequence[str],
        boxes_xyxy: Float[np.ndarray, "n 4"] | None = None,
    ) -> Any:  # noqa: ANN401 - an output of transformers
        """Return what the model says of pairs of an image and a word, and a box if there are any.

        Args:
            vision: the images.
            rows: the image of each pair.
            words: the word of each pair.
            boxes_xyxy: the box of each pair, as shares of the image's sides.
        """
        device = self._loaded.device
        index = torch.tensor(rows, device=device)
        precision = self._half() if boxes_xyxy is None else contextlib.nullcontext()  # boxes would lose theirs
        levels = tuple(level.index_select(0, index) for level in vision.fpn_hidden_states)
        places = tuple(level.expand(len(rows), -1, -1, -1) for level in vision.fpn_position_encoding)
        embedded, attended = self._embedded(words)
        prompts = {}
        if boxes_xyxy is not None:
            x0, y0, x1, y1 = torch.as_tensor(boxes_xyxy, dtype=torch.float32, device=device).unbind(-1)
            boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], -1)[:, None]
            levels = tuple(level.float() for level in levels)
            prompts = {"input_boxes": boxes, "input_boxes_labels": torch.ones_like(boxes[..., 0], dtype=torch.long)}
        with precision:
            return self._loaded.model(
                vision_embeds=Sam3VisionEncoderOutput(fpn_hidden_states=levels, fpn_position_encoding=places),
                text_embeds=BaseModelOutputWithPooling(pooler_output=embedded),
                attention_mask=attended,
                **prompts,
            )

    def _embedded(self, words: Sequence[str]) -> tuple[Float[Tensor, "n t d"], Int[Tensor, "n t"]]:
        """Return the features of the words' tokens, padded to the longest word, and which of them are not padding.

        Without their padding, ten thousand words take about 40 MB.
        """
        missing = [word for word in dict.fromkeys(words) if word not in self._texts]
        length = int(self._loaded.model.config.text_config.max_position_embeddings)
        for start in range(0, len(missing), _TEXTS):
            some = missing[start : start + _TEXTS]
            inputs = self._loaded.on_device(
                self._loaded.processor.tokenizer(
                    some, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
                )
            )
            with self._half():
                features = self._loaded.model.get_text_features(inputs["input_ids"], inputs["attention_mask"])
            for word, of_word, attended in zip(some, features.pooler_output, inputs["attention_mask"], strict=True):
                self._texts[word] = of_word[attended.bool()].float().cpu()
        embedded = torch.nn.utils.rnn.pad_sequence([self._texts[word] for word in words], batch_first=True)
        lengths = torch.tensor([len(self._texts[word]) for word in words])
        attended = (torch.arange(embedded.shape[1])[None] < lengths[:, None]).long()
        return embedded.to(self._loaded.device), attended.to(self._loaded.device)


def _shares(thing: Proposal, image_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    height, width = image_hw
    x0, y0, x1, y1 = thing.box_xyxy
    return x0 / width, y0 / height, x1 / width, y1 / height


def _not_asked(words: Sequence[str], source: str) -> Rejected:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    text = Text(text=words[0], score=0.0, source=source)
    return Rejected("proposer", "negated", text, detail=f"not looked for: {', '.join(words[:_NAMED])}{more}")


def _free_memory(answers: Sequence[Any], images: int) -> None:
    """End a batch of several images if one of their pairs alone had no room, so that fewer images are held at once.

    Raises:
        torch.OutOfMemoryError: there was no room.
    """
    if images > 1 and any(isinstance(one, Failure) and one.reason == "out_of_memory" for one in answers):
        raise torch.OutOfMemoryError("no room for a word beside the encoded images of the batch")
