"""BLIP-2: one short caption of an image, or of the crop of a region."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.annotate.models.crop_captions import captions_of_crops
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.generation import generate
from umgclip.annotate.models.foundation.pictures import pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.rules.caption_text import whole_sentences
from umgclip.params.annotators import Blip2Params
from umgclip.records import Text


class Blip2:
    """BLIP-2 as captioner of images and of regions."""

    def __init__(self, params: Blip2Params, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        self._loaded = load(params, where, "Blip2ForConditionalGeneration", "Blip2Processor")
        self._loaded.processor.tokenizer.padding_side = "left"  # so that all answers start at the same position
        self.name = with_prompt(self._loaded.name, params.prompt)

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Text] | Failure]:
        """Return one caption for each image; proposals are ignored."""
        del proposals
        return run_batches(images, self._params.batch, self._caption)

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return one caption for the crop of each region."""
        context, size = self._params.crop_context, self._params.batch
        return captions_of_crops(images, proposals, context, lambda crops: run_batches(crops, size, self._caption))

    def _caption(self, images: Sequence[Pixels]) -> list[list[Text]]:
        processor = self._loaded.processor
        inputs = self._loaded.on_device(
            processor(
                images=pictures(images), text=[self._params.prompt] * len(images), padding=True, return_tensors="pt"
            )
        )
        # models based on OPT repeat the prompt before their answer, those based on T5 do not
        repeats = not self._loaded.model.config.text_config.is_encoder_decoder
        prompt_tokens = int(inputs["input_ids"].shape[1]) if repeats else 0
        texts = []
        for one in generate(self._loaded, inputs, prompt_tokens, self._params.max_new_tokens, self._params.beams):
            caption = processor.batch_decode([one.ids], skip_special_tokens=True)[0].strip()
            caption = caption if one.ended else whole_sentences(caption)
            texts.append([Text(text=caption, score=one.score, source=self.name)])
        return texts
