"""A vision-language model on a server as captioner, tagger, proposer, region captioner and negator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from umgclip.annotate.models.crop_captions import PromptedCaptioner, captions_of_regions
from umgclip.annotate.models.source_name import source_name, with_prompt
from umgclip.annotate.models.vlm.answers import CaptionAnswer, NegativesAnswer, TagsAnswer
from umgclip.annotate.models.vlm.client import Answer, Client, ImagePrompt
from umgclip.annotate.models.vlm.forms import json_form, text_form
from umgclip.annotate.models.vlm.grounding import Grounding
from umgclip.annotate.models.vlm.pictures import Picture, jpeg_url
from umgclip.annotate.models.vlm.regions import RegionQuestions
from umgclip.annotate.models.vlm.unusable import refused_parts
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.roles import Partly
from umgclip.data.vocabulary import Vocabulary
from umgclip.params.annotators import VlmParams
from umgclip.records import Text

_NO_CONCEPTS = Vocabulary((), ())


class Vlm(PromptedCaptioner):
    """A model on a server, which is sent one request for each image, region, or group of names."""

    _params: VlmParams

    def __init__(
        self, params: VlmParams, where: str, vocabulary: Vocabulary = _NO_CONCEPTS, client: Client | None = None
    ) -> None:
        """Set up the client; nothing is sent yet.

        Args:
            params: server, model, prompts and limits.
            where: name of the model in the params, for messages.
            vocabulary: the concepts that `queries` may name.
            client: replaces the client that the params describe.

        Raises:
            InputError: the server's address or key is missing, or `queries` are more than may be asked.
        """
        self._params = params
        self._client = client or Client(params, where)
        self._form = json_form if params.answers == "json" else text_form
        self.name = source_name("vlm", params.model, params.revision)
        self._grounding = Grounding(params, where, vocabulary, self.name)
        self._regions = RegionQuestions(params)

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Return the names of what is visible, each once."""
        del captions
        prompt = self._params.tags_prompt
        source = with_prompt(self.name, prompt)
        results: list[list[Text] | Failure] = []
        for answer in self._ask([(jpeg_url(pixels, self._params), prompt) for pixels in images], TagsAnswer):
            if isinstance(answer, Failure):
                results.append(answer)
            else:
                tags = [Text(text=name, score=answer.score, source=source) for name in answer.content.tags]
                results.append(Partly(tags, refused_parts("tagger", "bad_tag", answer.content.bad, source)))
        return results

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes with labels for each image, or the regions at the points of a grammar without boxes."""
        asked = [self._grounding.questions(*one) for one in zip(images, captions, strict=True)]
        answers = iter(self._client.ask([question for questions in asked for question in questions]))
        return [
            self._grounding.proposals(pixels, caption, [next(answers) for _ in questions])
            for pixels, caption, questions in zip(images, captions, asked, strict=True)
        ]

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return one phrase for each region, which is shown as `regions` says."""
        prompt = self._params.region_prompt

        def caption(regions: Sequence[tuple[int, Proposal]]) -> list[list[Text] | Failure]:
            return self._captions_of(self._regions.ask(images, regions, [prompt] * len(regions)), prompt)

        return captions_of_regions(images, proposals, caption)

    def write_negatives(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Return texts that are wrong for each region, from its picture and its caption or label."""
        prompt = self._params.negatives_prompt
        source = with_prompt(self.name, prompt)

        def negate(regions: Sequence[tuple[int, Proposal]]) -> list[list[Text] | Failure]:
            prompts = [prompt.replace("{}", _text_of(region)) for _, region in regions]
            results: list[list[Text] | Failure] = []
            for answer in self._ask(self._regions.ask(images, regions, prompts), NegativesAnswer):
                if isinstance(answer, Failure):
                    results.append(answer)
                else:
                    texts = [Text(text=text, score=answer.score, source=source) for text in answer.content.negatives]
                    refused = refused_parts("negator", "bad_negative", answer.content.bad, source)
                    results.append(Partly(texts, refused))
            return results

        return captions_of_regions(images, proposals, negate, "negator")

    def _captions(self, images: Sequence[Pixels], prompt: str) -> list[list[Text] | Failure]:
        return self._captions_of([(jpeg_url(pixels, self._params), prompt) for pixels in images], prompt)

    def _captions_of(self, shown: Sequence[tuple[Picture, str]], prompt: str) -> list[list[Text] | Failure]:
        source = with_prompt(self.name, prompt)
        return [
            a if isinstance(a, Failure) else [Text(text=a.content.caption, score=a.score, source=source)]
            for a in self._ask(shown, CaptionAnswer)
        ]

    def _ask(self, shown: Sequence[tuple[Picture, str]], kind: type) -> list[Answer[Any] | Failure]:
        """Ask about pictures with a prompt each."""
        form = self._form(kind)
        return self._client.ask([ImagePrompt(picture, prompt, form) for picture, prompt in shown])


def _text_of(proposal: Proposal) -> str:
    """Return what is right for a region: its first caption, else its label."""
    return next(text.text for text in (*proposal.captions, *proposal.tags) if text.text.strip())
