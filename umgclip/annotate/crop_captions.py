"""Captioners of images as captioners of regions: each region's crop is an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from umgclip.annotate.crops import region_crop
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.roles import Failure, Pixels
from umgclip.records import Text


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
