"""Questions about regions: the crop, the whole image with the box in the prompt, or a mask in the alpha channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from umgclip.annotate.models.vlm.grammars.registry import BOX_GRAMMARS
from umgclip.annotate.models.vlm.pictures import Picture, alpha_url, grounded_frame, grounded_url, jpeg_url
from umgclip.annotate.models.vlm.scale import Scale
from umgclip.annotate.proposal import Pixels, Proposal, region_crop
from umgclip.params.annotators import VlmParams

_BOX = "{box}"


class RegionQuestions:
    """The pictures and prompts in which a model sees regions, by the parameter `regions`."""

    def __init__(self, params: VlmParams) -> None:
        self._params = params

    def ask(
        self, images: Sequence[Pixels], regions: Sequence[tuple[int, Proposal]], prompts: Sequence[str]
    ) -> list[tuple[Picture, str]]:
        """Return a picture and a prompt for each region.

        In the prompt, `{box}` is replaced by the region's box in the model's own grammar and unit, as TextHawk2 is
        asked (Yu et al., 2024); a prompt without it gets the box at its end.

        Args:
            images: whole images.
            regions: with the row of the image of each.
            prompts: one for each region.
        """
        params, whole = self._params, dict[int, str]()
        asked: list[tuple[Picture, str]] = []
        for (row, region), prompt in zip(regions, prompts, strict=True):
            pixels = images[row]
            if params.regions == "crop":
                asked.append((jpeg_url(region_crop(pixels, region, params.crop_context), params), prompt))
            elif params.regions == "alpha":
                asked.append((partial(alpha_url, pixels, region, params), prompt))
            else:
                if row not in whole:
                    whole[row] = grounded_url(pixels, params)
                box = self._written(pixels, region)
                asked.append((whole[row], prompt.replace(_BOX, box) if _BOX in prompt else f"{prompt} {box}"))
        return asked

    def _written(self, pixels: Pixels, region: Proposal) -> str:
        """Write the box of a region as the model's grammar has it."""
        height, width = pixels.shape[:2]
        scale = Scale(self._params.box_unit, *grounded_frame((height, width), self._params))
        write = BOX_GRAMMARS[self._params.grammar].write_box
        if write is None:
            raise AssertionError("the params allow box_text only for grammars with boxes")
        return write(scale.from_pixels(region.box_xyxy, (width, height)), scale.unit)
