"""The six benchmarks of one model, fed batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from umgclip.evaluate import classification, panoptic, region, retrieval, semantic, tagging
from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.records import Region

PROTOCOLS = {
    "classification": classification.PROTOCOL,
    "retrieval": retrieval.PROTOCOL,
    "tagging": tagging.PROTOCOL,
    "region": region.PROTOCOL,
    "semantic": semantic.PROTOCOL,
    "panoptic": panoptic.PROTOCOL,
}


class Suite:
    """Six evaluators that share one forward of each image.

    Args:
        name: `base` or `tuned`.
        reader: the model.
        proposals: the annotator's regions by image key.
    """

    def __init__(self, name: str, reader: Reader, proposals: Mapping[str, Sequence[Region]]) -> None:
        self.name = name
        self.reader = reader
        self.classification = classification.Classification(reader)
        self.retrieval = retrieval.Retrieval(reader)
        self.tagging = tagging.Tagging(reader)
        self.region = region.RegionTop1(reader)
        self.semantic = semantic.Semantic(reader)
        self.panoptic = panoptic.Panoptic(reader, proposals)

    def add(self, examples: Sequence[Example]) -> Seen:
        """Evaluate a batch, all singles or all scenes; its pixels are not kept. Gives what the model made of them."""
        seen = self.reader.see(examples)
        if examples[0].single:
            self.classification.add(examples, seen)
            return seen
        for evaluator in (self.retrieval, self.tagging, self.region, self.semantic, self.panoptic):
            evaluator.add(examples, seen)
        return seen

    def results(self) -> dict[str, dict[str, float]]:
        """Metrics by benchmark, fractions of 1; a benchmark without examples is left out."""
        found = {name: dict(getattr(self, name).results()) for name in PROTOCOLS}
        return {name: metrics for name, metrics in found.items() if metrics}
