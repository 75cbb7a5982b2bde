"""Captioners of images as captioners of regions: each region's crop is an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from umgclip.annotate.proposal import Pixels, Proposal, region_crop
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Partly
from umgclip.params.annotators import Qwen3VlParams, VlmParams
from umgclip.records import Text

_PASSING = ("unreachable", "timeout", "connection_lost", "server_error", "out_of_memory")  # another try may go well


class PromptedCaptioner(ABC):
    """Captioner and region captioner of a model that answers prompts about an image."""

    _params: Qwen3VlParams | VlmParams

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Text] | Failure]:
        """One caption each; proposals say nothing to it."""
        del proposals
        return self._captions(images, self._params.prompt)

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """One phrase for each region's crop."""
        prompt = self._params.region_prompt
        return captions_of_crops(
            images, proposals, self._params.crop_context, lambda crops: self._captions(crops, prompt)
        )

    @abstractmethod
    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        """What the model answers to the prompt, for each image."""


def captions_of_crops(
    images: Sequence[Pixels],
    proposals: Sequence[list[Proposal]],
    context: float,
    caption: Callable[[Sequence[Pixels]], Sequence[list[Text] | Failure]],
) -> list[list[list[Text]] | Failure]:
    """Captions per region. A crop that cannot be captioned costs its region's caption, not the image.

    The image fails where trying again may help, and where no crop of it could be captioned, unless that is a single
    refusal: then the fault may be the captioner's.

    Args:
        images: whole.
        proposals: regions of each.
        context: side of a crop, times its region's box.
        caption: captions per crop.
    """
    places = [(row, p) for row, found in enumerate(proposals) for p in found]
    answers = caption([region_crop(images[row], p, context) for row, p in places])
    by_image: list[list[list[Text] | Failure]] = [[] for _ in images]
    for (row, _), answer in zip(places, answers, strict=True):
        by_image[row].append(answer)
    return [_joined(own, found) for own, found in zip(by_image, proposals, strict=True)]


def _joined(answers: Sequence[list[Text] | Failure], regions: Sequence[Proposal]) -> list[list[Text]] | Failure:
    """One image's captions."""
    failures = [one for one in answers if isinstance(one, Failure)]
    fatal = next((one for one in failures if one.reason in _PASSING), None)
    if fatal is None and failures and len(failures) == len(answers):
        fatal = next((one for one in failures if len(failures) > 1 or one.reason != "refusal"), None)
    if fatal is not None:
        return fatal
    said = [[] if isinstance(one, Failure) else one for one in answers]
    if not failures:
        return said
    return Partly(
        said,
        [
            Rejected("region_captioner", one.reason, box_xyxy=p.box_xyxy, detail=one.detail)
            for one, p in zip(answers, regions, strict=True)
            if isinstance(one, Failure)
        ],
    )
