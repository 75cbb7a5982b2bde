"""A vision-language model on a server as captioner, tagger, proposer, region captioner and negator."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import cv2

from umgclip.annotate.models.crop_captions import PromptedCaptioner, captions_of_crops
from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.source_name import source_name, with_prompt
from umgclip.annotate.models.vlm.answers import Bad, BoxesAnswer, CaptionAnswer, NegativesAnswer, TagsAnswer
from umgclip.annotate.models.vlm.client import Client, ImagePrompt
from umgclip.annotate.models.vlm.scale import Scale
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Partly
from umgclip.io.images import encode_jpeg
from umgclip.params.annotators import VlmParams
from umgclip.records import Text

_MOST = 200  # boxes in an answer


class Vlm(PromptedCaptioner):
    """A model on a server, which is sent one request for each image or crop."""

    _params: VlmParams

    def __init__(self, params: VlmParams, where: str, client: Client | None = None) -> None:
        """Set up the client; nothing is sent yet.

        Args:
            params: server, model, prompts and limits.
            where: name of the model in the params, for messages.
            client: replaces the client that the params describe.
        """
        self._params = params
        self._client = client or Client(params, where)
        self.name = source_name("vlm", params.model, params.revision)

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Return the names of what is visible, each once."""
        del captions
        prompt = self._params.tags_prompt
        source = with_prompt(self.name, prompt)
        results: list[list[Text] | Failure] = []
        for answer in self._client.ask([self._question(i, prompt, TagsAnswer) for i in images]):
            if isinstance(answer, Failure):
                results.append(answer)
            else:
                tags = [Text(text=name, score=answer.score, source=source) for name in answer.content.tags]
                results.append(Partly(tags, _refused("tagger", "bad_tag", answer.content.bad, source)))
        return results

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes with labels for each image."""
        del captions
        prompt = self._params.boxes_prompt
        results: list[list[Proposal] | Failure] = []
        source = with_prompt(self.name, prompt)
        scales = [self._scale(pixels) for pixels in images]
        answers = self._client.ask(
            [
                self._question(pixels, prompt + scale.request, BoxesAnswer, scale.check)
                for pixels, scale in zip(images, scales, strict=True)
            ]
        )
        for pixels, scale, answer in zip(images, scales, answers, strict=True):
            if isinstance(answer, Failure):
                results.append(answer)
                continue
            height, width = pixels.shape[:2]
            detections = [
                Detection(scale.to_pixels(one.box, (width, height)), answer.score, one.label)
                for one in answer.content.objects
            ]
            proposals = to_proposals(detections, (height, width), source, _MOST)
            refused = _refused("proposer", "bad_box", answer.content.bad, source)
            results.append(Partly(proposals, [*getattr(proposals, "refused", ()), *refused]))
        return results

    def write_negatives(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return texts that are wrong for each region, from its crop and its caption or label."""
        texts = [_text_of(proposal) for regions in proposals for proposal in regions]
        return captions_of_crops(
            images, proposals, self._params.crop_context, lambda crops: self._negatives(crops, texts), "negator"
        )

    def _negatives(self, crops: Sequence[Pixels], texts: Sequence[str]) -> list[list[Text] | Failure]:
        prompt = self._params.negatives_prompt
        source = with_prompt(self.name, prompt)
        questions = [
            self._question(crop, prompt.replace("{}", text), NegativesAnswer)
            for crop, text in zip(crops, texts, strict=True)
        ]
        results: list[list[Text] | Failure] = []
        for answer in self._client.ask(questions):
            if isinstance(answer, Failure):
                results.append(answer)
            else:
                negatives = [Text(text=text, score=answer.score, source=source) for text in answer.content.negatives]
                results.append(Partly(negatives, _refused("negator", "bad_negative", answer.content.bad, source)))
        return results

    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        source = with_prompt(self.name, prompt)
        answers = self._client.ask([self._question(i, prompt, CaptionAnswer) for i in images])
        return [
            a if isinstance(a, Failure) else [Text(text=a.content.caption, score=a.score, source=source)]
            for a in answers
        ]

    def _question(
        self, pixels: Pixels, prompt: str, kind: type, check: Callable[[Any], None] | None = None
    ) -> ImagePrompt[Any]:
        width, height = _sent_size((pixels.shape[0], pixels.shape[1]), self._params.max_side_px)
        if (height, width) != pixels.shape[:2]:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        jpeg = encode_jpeg(pixels, self._params.jpeg_quality)
        return ImagePrompt(base64.b64encode(jpeg).decode("ascii"), prompt, kind, check)

    def _scale(self, pixels: Pixels) -> Scale:
        return Scale(self._params.box_unit, _sent_size((pixels.shape[0], pixels.shape[1]), self._params.max_side_px))


def _text_of(proposal: Proposal) -> str:
    """Return what is right for a region: its first caption, else its label."""
    return next(text.text for text in (*proposal.captions, *proposal.tags) if text.text.strip())


def _refused(role: str, reason: str, bad: Sequence[Bad], source: str) -> list[Rejected]:
    """Return the unusable parts of an answer as rejected annotations."""
    return [
        Rejected(
            role, reason, Text(text=one.label, score=0.0, source=source) if one.label else None, source=source,
            detail=one.detail,
        )
        for one in bad
    ]  # fmt: skip


def _sent_size(image_hw: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Return width and height of the image as it is sent, in pixels."""
    scale = min(1.0, max_side_px / max(image_hw))
    return max(1, round(image_hw[1] * scale)), max(1, round(image_hw[0] * scale))
