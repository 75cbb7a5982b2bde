"""Compare the precision of region labels that `annotate` estimates without a truth with the real one.

    python benchmarks/label_precision.py FOLDER [--scenes 150] [--offsets 0 1 2]

FOLDER holds `data`, `params.yaml` and `artifacts/base`, as after `benchmarks/photographs.py` (or `umgclip data demo`)
and `umgclip base`. The first scenes of the benchmark are annotated from their captions, without a threshold; the truth
gives precision and recall at each score. The estimate is made on training images, as in a run, once for each offset:
other random numbers then decide about decoys and about what is pasted where. Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from umgclip.annotate.annotator import build_annotator
from umgclip.annotate.calibration import measure
from umgclip.annotate.plan import AnnotationPlan, make_plan
from umgclip.data.stream import Sample
from umgclip.evaluate.benchmarks.annotator import AnnotatorBenchmark
from umgclip.evaluate.examples import Classes, Example, open_benchmark, read_examples
from umgclip.params import AnnotateParams, load_section
from umgclip.records import ImageRecord, Region, Source, Text

_IOU = 0.5

Regions = Mapping[str, Sequence[Region]]


def _annotated(
    examples: Sequence[Example], params: AnnotateParams, base: Path, plan: AnnotationPlan
) -> dict[str, list[Region]]:
    """Annotate the examples from their captions, and return all regions by key."""
    annotator = build_annotator(params, base, plan.recipe.vocabulary)
    regions: dict[str, list[Region]] = {}
    for start in range(0, len(examples), params.batch):
        samples = [_sample(example) for example in examples[start : start + params.batch]]
        regions |= {done.record.key: done.record.regions or [] for done in annotator(samples)}
    return regions


def _sample(example: Example) -> Sample:
    height, width = example.pixels.shape[:2]
    captions = [Text(text=example.captions[0], source="alt")]
    source = Source(dataset="benchmark", license="-")
    record = ImageRecord(
        key=example.key, width=width, height=height, sha256="0" * 64, source=source, captions=captions
    )  # fmt: skip
    return Sample(example.pixels, record)


def _quality(examples: Sequence[Example], regions: Regions, classes: Classes, least: float) -> dict[str, float]:
    """Return precision, recall and the other numbers of the annotator with the labels of at least a score."""
    above = {
        key: [
            r if r.is_stuff or not r.tags or r.tags[0].score >= least else r.model_copy(update={"tags": []})
            for r in of_image
        ]
        for key, of_image in regions.items()
    }
    benchmark = AnnotatorBenchmark(classes, _IOU)
    benchmark.add(examples, above)
    return {name: round(value, 3) for name, value in benchmark.results()}


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=150, help="scenes of the benchmark")
    parser.add_argument("--offsets", type=int, nargs="*", default=[0], help="added to the seed of the estimate")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    params = load_section(arguments.folder / "params.yaml", AnnotateParams).model_copy(update={"store": None})
    data, base = arguments.folder / "data", arguments.folder / "artifacts" / "base"
    _, classes = open_benchmark(data / "benchmark")
    scenes = (example for example in read_examples(data / "benchmark", classes) if not example.single)
    examples = list(itertools.islice(scenes, arguments.scenes))
    regions: Regions | None = None
    for offset in arguments.offsets:
        measure.SEED += offset
        with tempfile.TemporaryDirectory() as folder:
            plan = make_plan(params, data, base, Path(folder) / "out")
        measure.SEED -= offset
        regions = regions or _annotated(examples, params, base, plan)
        result: dict[str, Any] = {"offset": offset, "all": _quality(examples, regions, classes, 0.0)}
        if plan.precision is not None:
            at = plan.precision.at
            result |= {"threshold": plan.precision.threshold, "estimate": None if at is None else at.precision}
            result["written"] = _quality(examples, regions, classes, plan.precision.bar)
            result["curve"] = [
                [p.score, p.precision, _quality(examples, regions, classes, p.score).get("precision")]
                for p in plan.precision.curve
            ]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
