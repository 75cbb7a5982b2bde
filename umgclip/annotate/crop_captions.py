"""Captioners of images as captioners of regions: each region's crop is an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from umgclip.annotate.crops import region_crop
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.roles import Failure, Pixels
from umgclip.annotator_params import Qwen3VlParams, VlmParams
from umgclip.records import Text


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
    """Captions per region; one failed crop fails its image.

    Args:
        images: whole.
        proposals: regions of each.
        context: side of a crop, times its region's box.
        caption: captions per crop.
    """
    places = [(row, p) for row, found in enumerate(proposals) for p in found]
    answers = caption([region_crop(images[row], p, context) for row, p in places])
    results: list[list[list[Text]] | Failure] = [[] for _ in images]
    for (row, _), answer in zip(places, answers, strict=True):
        own = results[row]
        if isinstance(own, Failure):
            continue
        if isinstance(answer, Failure):
            results[row] = answer
        else:
            own.append(answer)
    return results
