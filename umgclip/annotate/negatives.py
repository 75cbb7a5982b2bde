"""The last step of annotation: texts that are wrong for each region, by models of the role `negator` and by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from umgclip.annotate.draft import Annotated
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.annotate.roles import Negator, Partly
from umgclip.annotate.rules.negatives import NegativeRule
from umgclip.records import Region, Text


def add_negatives(
    annotated: Sequence[Annotated], images: Sequence[Pixels], negators: Sequence[Negator], rule: NegativeRule
) -> list[Annotated]:
    """Return the samples with negatives for each region that has a text and came without negatives.

    Args:
        annotated: finished samples.
        images: of the samples.
        negators: models that write negatives; what they write comes first.
        rule: checks what they write, and makes more.
    """
    rows = [
        [row for row, region in enumerate(_regions(one)) if not one.failures and rule.wants(region)]
        for one in annotated
    ]
    asked = [
        [Proposal.of_region(_regions(one)[row], (pixels.shape[0], pixels.shape[1]), row) for row in of_image]
        for one, pixels, of_image in zip(annotated, images, rows, strict=True)
    ]
    written: list[list[list[Text]]] = [[[] for _ in of_image] for of_image in rows]
    refused: list[list[Rejected]] = [[] for _ in annotated]
    failures = [dict(one.failures) for one in annotated]
    for negator in negators:
        for image, answer in enumerate(negator.write_negatives(images, asked)):
            if isinstance(answer, Failure):
                failures[image]["negator"] = answer
                continue
            refused[image] += answer.refused if isinstance(answer, Partly) else ()
            for texts, more in zip(written[image], answer, strict=True):
                texts.extend(more)
    return [
        _finished(replace(one, failures=failures[image]), rule, (written[image], rows[image]), refused[image])
        for image, one in enumerate(annotated)
    ]


def _finished(
    one: Annotated, rule: NegativeRule, answers: tuple[list[list[Text]], list[int]], refused: list[Rejected]
) -> Annotated:
    record, rejected = rule.write(one.record, *answers)
    return replace(one, record=record, rejected=(*one.rejected, *refused, *rejected))


def _regions(one: Annotated) -> list[Region]:
    return one.record.regions or []
