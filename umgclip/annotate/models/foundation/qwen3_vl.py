"""Qwen3-VL: captions of images and of the crops of regions, by a prompt of the user."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.annotate.models.crop_captions import PromptedCaptioner
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.generation import generate
from umgclip.annotate.models.foundation.pictures import stretched_pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.rejected import Failure
from umgclip.annotate.rules.caption_text import whole_sentences
from umgclip.params.annotators import Qwen3VlParams
from umgclip.records import Text


class Qwen3Vl(PromptedCaptioner):
    """Qwen3-VL as captioner and region captioner. It decodes greedily; the rule `repetition` refuses loops."""

    _params: Qwen3VlParams

    def __init__(self, params: Qwen3VlParams, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        self._loaded = load(params, where, "Qwen3VLForConditionalGeneration", "Qwen3VLProcessor")
        self._loaded.processor.tokenizer.padding_side = "left"  # so that all answers start at the same position
        self.name = self._loaded.name

    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        return run_batches(images, self._params.batch, lambda batch: self._answers(batch, prompt))

    def _answers(self, images: Sequence[Pixels], prompt: str) -> list[list[Text]]:
        processor = self._loaded.processor
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}]}]
            for image in stretched_pictures(images)
        ]
        inputs = self._loaded.on_device(
            processor.apply_chat_template(
                chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
            )
        )
        texts = []
        length = int(inputs["input_ids"].shape[1])
        for one in generate(self._loaded, inputs, length, self._params.max_new_tokens):
            caption = processor.batch_decode([one.ids], skip_special_tokens=True)[0].strip()
            caption = caption if one.ended else whole_sentences(caption)
            texts.append([Text(text=caption, score=one.score, source=with_prompt(self.name, prompt))])
        return texts
