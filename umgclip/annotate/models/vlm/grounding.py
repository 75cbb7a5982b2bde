"""The proposer's part of a model on a server: questions for places, and proposals from the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from umgclip.annotate.models.crop_captions import fatal_failure
from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.models.vlm.asked import AskedNames, as_asked
from umgclip.annotate.models.vlm.boxes import BoxesAnswer
from umgclip.annotate.models.vlm.client import Answer, ImagePrompt
from umgclip.annotate.models.vlm.forms import AnswerForm, json_request, response_format
from umgclip.annotate.models.vlm.grammars.registry import BOX_GRAMMARS
from umgclip.annotate.models.vlm.likelihood import box_scores
from umgclip.annotate.models.vlm.pictures import grounded_frame, grounded_url
from umgclip.annotate.models.vlm.points import regions_at
from umgclip.annotate.models.vlm.scale import Scale
from umgclip.annotate.models.vlm.unusable import refused_parts
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Partly
from umgclip.data.vocabulary import Vocabulary
from umgclip.params.annotators import VlmParams
from umgclip.records import Text


class Grounding:
    """Questions for the places of all objects, or of the names in `queries`, in the grammar of the params."""

    def __init__(self, params: VlmParams, where: str, vocabulary: Vocabulary, name: str) -> None:
        """Choose the prompt and the names.

        Args:
            params: of the model.
            where: its name in the params, for messages.
            vocabulary: the concepts.
            name: of the model as a source.

        Raises:
            InputError: there are more names than may be asked for.
        """
        self._params, self._grammar = params, BOX_GRAMMARS[params.grammar]
        self._names = AskedNames(params, where, vocabulary)
        self._prompt = params.boxes_prompt if params.queries is None else params.queries_prompt
        self._source = with_prompt(name, self._prompt)

    def questions(self, pixels: Pixels, caption: str) -> list[ImagePrompt[BoxesAnswer]]:
        """Return the questions about an image, one for each group of names; all show the same picture."""
        url, form = grounded_url(pixels, self._params), self._form(self._scale(pixels))
        groups = self._names.for_caption(caption)
        return [ImagePrompt(url, self._prompt.replace("{}", ", ".join(names)), form) for names in groups]

    def proposals(
        self, pixels: Pixels, caption: str, answers: Sequence[Answer[BoxesAnswer] | Failure]
    ) -> list[Proposal] | Failure:
        """Return the proposals from the answers to the questions about an image, and their unusable parts.

        A question without an answer costs the names in it. The image fails if trying again may help, and if no
        question has an answer.
        """
        fatal = answers[0] if len(answers) == 1 and isinstance(answers[0], Failure) else fatal_failure(answers)
        if fatal is not None:
            return fatal
        height, width = pixels.shape[:2]
        scale, boxes, points = self._scale(pixels), list[Detection](), list[Detection]()
        refused: list[Rejected] = []
        for names, answer in zip(self._names.for_caption(caption), answers, strict=True):
            if isinstance(answer, Failure):
                detail = f"asked for {', '.join(names)}"[:200] + f": {answer.detail}"
                refused.append(Rejected("proposer", answer.reason, None, source=self._source, detail=detail))
                continue
            refused += refused_parts("proposer", "bad_box", answer.content.bad, self._source)
            for one, score in zip(answer.content.objects, box_scores(answer.content, answer.tokens), strict=True):
                named = as_asked(one, names)
                if named is None:
                    refused.append(self._not_asked(one.label, names))
                    continue
                place = scale.to_pixels(one.box, (width, height))
                detection = Detection(place, score, named.label, self._names.is_stuff(named.label))
                (points if one.is_point else boxes).append(detection)
        proposals = to_proposals(boxes, (height, width), self._source, len(boxes))
        refused = [*getattr(proposals, "refused", ()), *refused]
        regions, without = regions_at(pixels, points, self._source)
        return Partly(sorted([*proposals, *regions], key=lambda p: p.is_stuff), [*refused, *without])

    def _scale(self, pixels: Pixels) -> Scale:
        return Scale(self._params.box_unit, *grounded_frame((pixels.shape[0], pixels.shape[1]), self._params))

    def _form(self, scale: Scale) -> AnswerForm[BoxesAnswer]:
        """Return the form of answers about an image, which are checked against the scale."""
        grammar = self._grammar

        def read(content: Any) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
            answer = grammar.read(content, scale.unit)
            scale.check(answer)
            return answer

        return AnswerForm(
            read,
            scale.request + json_request(grammar.hint) if grammar.hint else "",
            None if grammar.schema is None else response_format("BoxesAnswer", grammar.schema),
            "read" if grammar.is_json else "one_line",
        )

    def _not_asked(self, label: str | None, names: Sequence[str]) -> Rejected:
        text = None if label is None else Text(text=label, score=0.0, source=self._source)
        detail = f"expected {'one of ' + ', '.join(names) if names else 'what is there'}"[:200]
        return Rejected("proposer", "not_asked", text, source=self._source, detail=detail)
