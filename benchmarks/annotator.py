"""Measure the result of `umgclip annotate` on the demo's training scenes against the truth, which no stage sees.

    python benchmarks/annotator.py [--scenes 500] [--annotations artifacts/annotate/train] [--json]
    python benchmarks/annotator.py --fresh --base artifacts/base --scenes 300

The scenes are generated again from section `data` of `params.yaml` and matched to the annotations by image hash.
`--fresh` annotates them now with the section `annotate` instead, to try its values. Definitions are those of
`umgclip evaluate`: the truth is the things that may be labelled, and a box matches above an IoU of 0.5.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from umgclip.annotate.annotator import build_annotator
from umgclip.data.stream import Sample
from umgclip.data.vocabulary import mine
from umgclip.errors import InputError
from umgclip.evaluate.benchmarks.annotator import AnnotatorBenchmark, read_proposals
from umgclip.evaluate.examples import Classes, Example, TrueRegion
from umgclip.geometry import boxes
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import decode_image, encode_jpeg
from umgclip.params import AnnotateParams, DataParams, load_section
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.sources.demo.classes import STUFF, things
from umgclip.sources.demo.scenes import training_scene

_IOU = 0.5
_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)  # label scores
_QUARTERS = ("smallest quarter", "second", "third", "largest")

Regions = Mapping[str, Sequence[Region]]


def _classes() -> Classes:
    kinds = things()
    held_out = frozenset(kind.name for kind in kinds if kind.held_out)
    return Classes(tuple(kind.name for kind in kinds), tuple(STUFF), held_out)


def _examples(params: DataParams, count: int, classes: Classes) -> list[Example]:
    """Generate training scenes with their truth as examples."""
    examples = []
    for index in range(count):
        scene = training_scene(params, index)
        image = encode_jpeg(scene.pixels, params.jpeg_quality)
        labels = [classes.things.index(thing.name) for thing in scene.things]
        ground = ~np.any(scene.masks, axis=0)
        stuff = TrueRegion(mask_ops.box_of(ground), ground, len(classes.things) + classes.stuff.index(scene.stuff))
        examples.append(
            Example(
                key=hashlib.sha256(image).hexdigest()[:16],
                pixels=decode_image(image, where=f"scene {index}"),
                captions=(scene.caption,),
                tags=tuple(labels),
                things=tuple(
                    TrueRegion(mask_ops.box_of(mask), mask, label)
                    for mask, label in zip(scene.masks, labels, strict=True)
                ),
                stuff=(stuff,),
                single=len(labels) == 1,
            )
        )
    return examples


def _annotate(
    examples: Sequence[Example], data: DataParams, params: AnnotateParams, base: Path
) -> dict[str, Sequence[Region]]:
    """Annotate the scenes again with the vocabulary of all training captions; return regions by key."""
    captions = (training_scene(data, index).caption for index in range(data.train_scenes))
    vocabulary = mine(captions, params.min_concept_count, params.held_out)
    annotator = build_annotator(params, base, vocabulary)
    samples = [_sample(example) for example in examples]
    regions: dict[str, Sequence[Region]] = {}
    for start in range(0, len(samples), params.batch):
        for done in annotator(samples[start : start + params.batch]):
            regions[done.record.key] = done.record.regions or []
    return regions


def _sample(example: Example) -> Sample:
    height, width = example.pixels.shape[:2]
    record = ImageRecord(
        key=example.key,
        width=width,
        height=height,
        sha256="0" * 64,
        source=Source(dataset="demo/train", license="-"),
        captions=[Text(text=example.captions[0], source="alt")],
    )
    return Sample(example.pixels, record)


def _quality(examples: Sequence[Example], regions: Regions, classes: Classes) -> dict[str, float]:
    benchmark = AnnotatorBenchmark(classes, _IOU)
    benchmark.add(examples, regions)
    return {name: round(value, 4) for name, value in benchmark.results()}


def _above(regions: Regions, threshold: float) -> dict[str, list[Region]]:
    return {
        key: [r for r in proposals if r.is_stuff or (r.tags and (r.tags[0].score or 0) >= threshold)]
        for key, proposals in regions.items()
    }


def _recalls(examples: Iterable[Example], regions: Regions, classes: Classes) -> list[tuple[str, int, bool]]:
    """Return name, pixels and detection of each true thing that may be labelled; detected: box and label match."""
    recalls = []
    for example in examples:
        labelled = [r for r in regions.get(example.key, ()) if r.tags and not r.is_stuff]
        for thing in example.things:
            name = classes.things[thing.label]
            same = [r.box_xyxy for r in labelled if (r.tags or [])[0].text == name]
            if name not in classes.held_out:
                right = bool(same) and boxes.iou(np.array(same), np.array([thing.box_xyxy])).max() > _IOU
                recalls.append((name, int(thing.mask.sum()) if thing.mask is not None else 0, bool(right)))
    return recalls


def _stuff(examples: Sequence[Example], regions: Regions, classes: Classes) -> dict[str, float]:
    """Measure the ground: share of scenes in which it is labelled, label precision, and IoU of its mask."""
    right, ious = [], []
    for example in examples:
        true = example.stuff[0]
        for region in (r for r in regions.get(example.key, ()) if r.is_stuff and r.mask is not None):
            ious.append(float(mask_ops.iou(mask_ops.decode(region.mask)[None], true.mask[None])[0, 0]))
            if region.tags:
                right.append(region.tags[0].text == classes.names[true.label])
    share = len(right) / len(examples)
    return {"labelled": round(share, 4), "label_precision": _mean(right), "mask_iou": _mean(ious)}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if values else float("nan")


def measure(examples: Sequence[Example], regions: Regions, classes: Classes) -> dict[str, Any]:
    """Compute all results that the report shows.

    Raises:
        InputError: the annotations contain none of the scenes.
    """
    known = [example for example in examples if example.key in regions]
    if not known:
        raise InputError("annotations: expected the demo's training split of `params.yaml`, got other images")
    recalls = _recalls(known, regions, classes)
    edges = np.quantile([pixels for _, pixels, _ in recalls], (0.25, 0.5, 0.75))
    quarter = np.digitize([pixels for _, pixels, _ in recalls], edges)
    names = sorted({name for name, _, _ in recalls})
    return {
        "scenes": len(known),
        "scenes_not_annotated": len(examples) - len(known),
        "all": _quality(known, regions, classes),
        "one thing": _quality([e for e in known if e.single], regions, classes),
        "several things": _quality([e for e in known if not e.single], regions, classes),
        "label_score": {f"{t}": _quality(known, _above(regions, t), classes) for t in _THRESHOLDS},
        "stuff": _stuff(known, regions, classes),
        "recall_by_size": {
            label: _mean([hit for (_, _, hit), q in zip(recalls, quarter, strict=True) if q == index])
            for index, label in enumerate(_QUARTERS)
        },
        "recall_by_class": {name: _mean([hit for label, _, hit in recalls if label == name]) for name in names},
    }


def _table(result: dict[str, Any]) -> str:
    columns = ("precision", "recall", "box_recall", "label_precision", "mask_iou")
    lines = ["| " + " | ".join(("scenes", *(c.replace("_", " ") for c in columns))) + " |", "|---" * 6 + "|"]
    rows = {k: result[k] for k in ("all", "one thing", "several things")}
    for threshold, values in result[
        "label_score"
    ].items():  # box recall needs unlabelled proposals, which are removed here
        rows[f"label score at least {threshold}"] = {k: v for k, v in values.items() if k != "box_recall"}
    for name, values in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{values[c]:.3f}" if c in values else "-" for c in columns) + " |")
    by_class = sorted(result["recall_by_class"].items(), key=lambda pair: pair[1])
    lines += [
        "",
        f"{result['scenes']} scenes, {result['scenes_not_annotated']} not annotated",
        "ground: " + ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in result["stuff"].items()),
        "recall by size: " + ", ".join(f"{k} {v:.3f}" for k, v in result["recall_by_size"].items()),
        "least recall: " + ", ".join(f"{k} {v:.2f}" for k, v in by_class[:10]),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, default=Path("artifacts/annotate/train"))
    parser.add_argument("--scenes", type=int, default=500, help="number of scenes, from the first; 0: all")
    parser.add_argument("--fresh", action="store_true", help="annotate the scenes now instead of reading annotations")
    parser.add_argument("--base", type=Path, default=Path("artifacts/base"), help="weights for --fresh")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--json", action="store_true", help="print all results including every class, instead of the table"
    )
    arguments = parser.parse_args()
    data, classes = load_section(arguments.params, DataParams), _classes()
    total = data.train_scenes
    examples = _examples(data, min(arguments.scenes or total, total), classes)
    if arguments.fresh:
        regions: Regions = _annotate(examples, data, load_section(arguments.params, AnnotateParams), arguments.base)
    else:
        regions = read_proposals(arguments.annotations)
    result = measure(examples, regions, classes)
    sys.stdout.write((json.dumps(result) if arguments.json else _table(result)) + "\n")


if __name__ == "__main__":
    main()
