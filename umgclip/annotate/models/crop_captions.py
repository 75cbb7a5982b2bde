"""Captioners of images used as captioners of regions: the crop of each region is an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from umgclip.annotate.proposal import Pixels, Proposal, region_crop
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Partly
from umgclip.params.annotators import Qwen3VlParams, VlmParams
from umgclip.records import Text

_PASSING = ("unreachable", "timeout", "connection_lost", "server_error", "out_of_memory")  # another try may succeed


class PromptedCaptioner(ABC):
    """Base of captioners and region captioners whose model answers prompts about an image."""

    _params: Qwen3VlParams | VlmParams

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Text] | Failure]:
        """Return one caption for each image; proposals are ignored."""
        del proposals
        return self._captions(images, self._params.prompt)

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return one phrase for the crop of each region."""
        prompt = self._params.region_prompt
        return captions_of_crops(
            images, proposals, self._params.crop_context, lambda crops: self._captions(crops, prompt)
        )

    @abstractmethod
    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        """Return the model's answer to the prompt for each image."""


def captions_of_crops(
    images: Sequence[Pixels],
    proposals: Sequence[list[Proposal]],
    context: float,
    caption: Callable[[Sequence[Pixels]], Sequence[list[Text] | Failure]],
    role: str = "region_captioner",
) -> list[list[list[Text]] | Failure]:
    """Return the captions of each region. A crop that cannot be captioned loses its caption; the image stays.

    The image fails if trying again may help, and if none of its crops could be captioned. A single refusal is an
    exception: there the fault may be the captioner's.

    Args:
        images: whole images.
        proposals: the regions of each image.
        context: side of a crop, as a multiple of the side of its region's box.
        caption: returns the captions of each crop, which come image by image and in the order of the regions.
        role: the role that is filled, for what is refused.
    """
    return captions_of_regions(
        images,
        proposals,
        lambda regions: caption([region_crop(images[row], proposal, context) for row, proposal in regions]),
        role,
    )


def captions_of_regions(
    images: Sequence[Pixels],
    proposals: Sequence[list[Proposal]],
    caption: Callable[[Sequence[tuple[int, Proposal]]], Sequence[list[Text] | Failure]],
    role: str = "region_captioner",
) -> list[list[list[Text]] | Failure]:
    """Return the captions of each region, as `captions_of_crops` does for a model that sees more than crops.

    Args:
        images: whole images.
        proposals: the regions of each image.
        caption: returns the captions of each region, which come with the row of their image, image by image.
        role: the role that is filled, for what is refused.
    """
    owners = [(row, proposal) for row, regions in enumerate(proposals) for proposal in regions]
    answers = caption(owners)
    by_image: list[list[list[Text] | Failure]] = [[] for _ in images]
    for (row, _), answer in zip(owners, answers, strict=True):
        by_image[row].append(answer)
    return [_joined(captions, regions, role) for captions, regions in zip(by_image, proposals, strict=True)]


def fatal_failure(answers: Sequence[object | Failure]) -> Failure | None:
    """Return why an image fails of whose parts some have no answer; None: it only loses these parts.

    It fails if trying again may help, and if no part has an answer. A single refusal is an exception.
    """
    failures = [one for one in answers if isinstance(one, Failure)]
    fatal = next((one for one in failures if one.reason in _PASSING), None)
    if fatal is None and failures and len(failures) == len(answers):
        fatal = next((one for one in failures if len(failures) > 1 or one.reason != "refusal"), None)
    return fatal


def _joined(
    answers: Sequence[list[Text] | Failure], regions: Sequence[Proposal], role: str
) -> list[list[Text]] | Failure:
    """Return the captions of the regions of one image, or why the image fails."""
    fatal = fatal_failure(answers)
    if fatal is not None:
        return fatal
    captions = [[] if isinstance(one, Failure) else one for one in answers]
    refused: list[Rejected] = []
    for one, region in zip(answers, regions, strict=True):
        if isinstance(one, Failure):
            refused.append(Rejected(role, one.reason, box_xyxy=region.box_xyxy, detail=one.detail))
        elif isinstance(one, Partly):
            refused += [replace(part, box_xyxy=region.box_xyxy) for part in one.refused]
    return Partly(captions, refused) if refused else captions
