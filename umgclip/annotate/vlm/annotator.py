"""A vision-language model on a server as captioner, tagger, proposer and region captioner."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2

from umgclip.annotate.crop_captions import PromptedCaptioner
from umgclip.annotate.detection import Detection, to_proposals
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.roles import Failure, Pixels
from umgclip.annotate.source_name import source_name, with_prompt
from umgclip.annotate.vlm.answers import BoxesAnswer, CaptionAnswer, GroundedObject, TagsAnswer
from umgclip.annotate.vlm.client import Client, Question
from umgclip.annotator_params import VlmParams
from umgclip.io.images import encode_jpeg
from umgclip.records import Text

_MOST = 200  # boxes in an answer


class Vlm(PromptedCaptioner):
    """Every answer is one request per image or crop."""

    _params: VlmParams

    def __init__(self, params: VlmParams, where: str, client: Client | None = None) -> None:
        """Nothing is sent yet.

        Args:
            params: server, model, prompts and limits.
            where: the entry in the params, for messages.
            client: another one than the params describe.
        """
        self._params = params
        self._client = client or Client(params, where)
        self.name = source_name("vlm", params.model, params.revision)

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Names of what is visible, each once."""
        del captions
        prompt = self._params.tags_prompt
        source = with_prompt(self.name, prompt)
        results: list[list[Text] | Failure] = []
        for answer in self._client.ask([self._question(i, prompt, TagsAnswer) for i in images]):
            if isinstance(answer, Failure):
                results.append(answer)
            else:
                names = dict.fromkeys(name.strip() for name in answer.content.tags)
                results.append([Text(text=name, score=answer.score, source=source) for name in names if name])
        return results

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Boxes with labels."""
        del captions
        prompt = self._params.boxes_prompt
        results: list[list[Proposal] | Failure] = []
        answers = self._client.ask([self._question(i, prompt + self._unit(), BoxesAnswer) for i in images])
        for pixels, answer in zip(images, answers, strict=True):
            if isinstance(answer, Failure):
                results.append(answer)
                continue
            size = (pixels.shape[0], pixels.shape[1])
            found = [self._detection(one, answer.score, size) for one in answer.content.objects]
            results.append(to_proposals(found, size, with_prompt(self.name, prompt), _MOST))
        return results

    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        source = with_prompt(self.name, prompt)
        answers = self._client.ask([self._question(i, prompt, CaptionAnswer) for i in images])
        return [
            a if isinstance(a, Failure) else [Text(text=a.content.caption, score=a.score, source=source)]
            for a in answers
        ]

    def _question(self, pixels: Pixels, prompt: str, kind: type) -> Question:
        width, height = _sent_size((pixels.shape[0], pixels.shape[1]), self._params.max_side_px)
        if (height, width) != pixels.shape[:2]:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        jpeg = encode_jpeg(pixels, self._params.jpeg_quality)
        return Question(base64.b64encode(jpeg).decode("ascii"), prompt, kind)

    def _unit(self) -> str:
        if self._params.box_unit == "pixel":
            return " Boxes are x0, y0, x1, y1 in pixels."
        return " Boxes are x0, y0, x1, y1 in thousandths of the image's width and height."

    def _detection(self, one: GroundedObject, score: float, image_hw: tuple[int, int]) -> Detection:
        height, width = image_hw
        sent_width, sent_height = _sent_size(image_hw, self._params.max_side_px)
        per_x, per_y = (sent_width, sent_height) if self._params.box_unit == "pixel" else (1000, 1000)
        x0, y0, x1, y1 = one.box
        box = x0 / per_x * width, y0 / per_y * height, x1 / per_x * width, y1 / per_y * height
        return Detection(box, score, one.label.strip() or None)


def _sent_size(image_hw: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Width and height of the picture that is sent."""
    scale = min(1.0, max_side_px / max(image_hw))
    return max(1, round(image_hw[1] * scale)), max(1, round(image_hw[0] * scale))
