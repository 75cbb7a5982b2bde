"""Measure how much corrections buy on the demo: images chosen by worth against images at random.

    python benchmarks/review.py [--budgets 50 150 400] [--seeds 3]
    python benchmarks/review.py train --by worth --budget 400 --work /tmp/worth-400

The reviewer is the truth of the training scenes, which no stage sees: they are composed again from section `data` of
`params.yaml`. The reviewer draws every thing and the ground with its mask, and answers what `umgclip review export`
chose of `artifacts/annotate/train`. Precision and recall are those of `benchmarks/annotator.py`, over all training
scenes, with the corrections applied. `fixed` counts the labelled regions that a look removed, added, renamed or moved
by more than an IoU of 0.5.

`train` applies the corrections of one choice as `umgclip annotate` does, without asking the models again, then trains
and evaluates. Its `region` is the tuned model's top-1 accuracy on the benchmark's regions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import annotator  # the same truth and definitions
from benchmarks.annotator import Regions, _classes, _examples
from umgclip.annotate.corrected import corrected, restrained
from umgclip.annotate.draft import Annotated
from umgclip.annotate.rules.overlap import best_overlap
from umgclip.data.corrections import Correction, HumanLook
from umgclip.evaluate.benchmarks.annotator import read_proposals
from umgclip.evaluate.examples import Classes, Example, TrueRegion
from umgclip.geometry import boxes
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shard_source import read_shard_at
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import DataParams, load_section
from umgclip.records import ImageRecord, Region, parse_record
from umgclip.review.answer import AnsweredRegion, ImageAnswer
from umgclip.review.comparison import Comparison
from umgclip.review.exporting import Wish, run_export
from umgclip.review.shown import CHOICE, ShownImages, read_shown

_IOU = 0.5
_GIVEN_IOU = 0.7  # the default of annotate.rules.given_iou


def _answer(example: Example, classes: Classes) -> ImageAnswer:
    """Return what the reviewer submits: every thing and the ground with its mask, and the tags."""
    regions = tuple(
        AnsweredRegion(region.box_xyxy, classes.names[region.label], _mask(region))
        for region in (*example.things, *example.stuff)
    )
    names = tuple(dict.fromkeys(str(region.label) for region in regions))
    return ImageAnswer(example.key, HumanLook(tool="label-studio", by="truth"), regions=regions, tags=names)


def _mask(region: TrueRegion) -> Any:  # noqa: ANN401 - a mask of records
    return None if region.mask is None else mask_ops.encode(region.mask)


def _choose(annotations: Path, wish: Wish, folder: Path) -> tuple[ShownImages, list[dict[str, Any]]]:
    run_export(Folder(annotations), read_manifest(annotations), wish, folder)
    rows = [json.loads(line) for line in (folder / CHOICE).read_text(encoding="utf-8").splitlines()]
    return read_shown(folder), rows


def _corrections(shown: ShownImages, truth: Mapping[str, Example], classes: Classes) -> list[Correction]:
    comparison = Comparison(shown)
    return [comparison.correction(_answer(truth[key], classes)) for key in shown.records]


def _applied(regions: Mapping[str, Sequence[Region]], corrections: Iterable[Correction]) -> dict[str, Sequence[Region]]:
    """Return all regions as the next annotate writes them: of closed images those of people, and unlabelled ones."""
    after = dict(regions)
    for one in corrections:
        unlabelled = [region for region in regions[one.key] if not region.tags]
        after[one.key] = [*(one.regions or []), *unlabelled]
    return after


def _fixed(record: ImageRecord, correction: Correction, classes: Classes) -> int:
    """Count the labelled regions that a look changed: removed, added, renamed, moved; held-out names do not count."""
    before = [region for region in record.regions or [] if region.tags]
    after = [region for region in correction.regions or [] if (region.tags or [])[0].text not in classes.held_out]
    right = sum(any(_is_same(old, new) for new in after) for old in before)
    return max(len(before), len(after)) - right  # a renamed region counts once


def _is_same(old: Region, new: Region) -> bool:
    if not (old.tags and new.tags) or old.tags[0].text != new.tags[0].text:
        return False
    return bool(boxes.iou(np.array([old.box_xyxy]), np.array([new.box_xyxy]))[0, 0] > _IOU)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every budget with both choices; return the results by budget and choice."""
    data, classes = load_section(arguments.params, DataParams), _classes()
    examples = _examples(data, data.train_scenes, classes)
    truth = {example.key: example for example in examples}
    regions = read_proposals(arguments.annotations)
    result: dict[str, Any] = {"before": _quality(examples, regions, classes)}
    with TemporaryDirectory(prefix="umgclip-review-") as scratch:
        for budget in arguments.budgets:
            for by in ("worth", "random"):
                seeds = range(1 if by == "worth" else arguments.seeds)
                runs = []
                for seed in seeds:
                    wish = Wish("cvat", budget, by, seed)  # type: ignore[arg-type]  # one of the two
                    shown, rows = _choose(arguments.annotations, wish, Path(scratch) / "export")
                    corrections = _corrections(shown, truth, classes)
                    fixed = sum(_fixed(shown.records[one.key], one, classes) for one in corrections)
                    quality = _quality(examples, _applied(regions, corrections), classes)
                    runs.append({**quality, "fixed": fixed, "fixed_per_look": fixed / len(rows), "looks": len(rows)})
                result[f"{budget} {by}"] = {
                    name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]
                }
    return result


def _quality(examples: Sequence[Example], regions: Regions, classes: Classes) -> dict[str, float]:
    quality = annotator._quality(examples, regions, classes)
    return {name: quality[name] for name in ("precision", "recall", "mask_iou")}


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with the corrections of one choice; return the annotator's quality and the benchmark's regions."""
    data, classes = load_section(arguments.params, DataParams), _classes()
    examples = _examples(data, data.train_scenes, classes)
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    corrections: list[Correction] = []
    if arguments.budget:
        wish = Wish("cvat", arguments.budget, arguments.by, arguments.seed)
        shown, _ = _choose(arguments.annotations, wish, work / "export")
        corrections = _corrections(shown, {example.key: example for example in examples}, classes)
    _write_corrected(arguments.annotations, {one.sha256: one for one in corrections}, work / "annotate", classes)
    yaml = YAML()
    params = yaml.load(arguments.params.read_text(encoding="utf-8"))
    params["train"]["steps"] = arguments.steps or params["train"]["steps"]
    with (work / "params.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(params, handle)
    for words in _stages(arguments, work):
        command = [sys.executable, "-m", "umgclip", *words, "--params", str(work / "params.yaml")]
        subprocess.run(command, check=True)  # noqa: S603 - our own commands
    content = json.loads((work / "headlines.json").read_text(encoding="utf-8"))
    regions = read_proposals(work / "annotate")
    return {**_quality(examples, regions, classes), "steps": params["train"]["steps"], **content["tuned"]}


def _write_corrected(annotations: Path, corrections: Mapping[str, Correction], out: Path, classes: Classes) -> None:
    """Write the annotations again with the corrections, as the stage annotate does."""
    out.mkdir(exist_ok=True)
    manifest, shards = read_manifest(annotations), []
    for info in manifest.shards:
        writer = ShardWriter(out / info.path)
        for raw in read_shard_at(str(annotations / info.path)):
            record = parse_record(raw.json, where=raw.key)
            correction = corrections.get(record.sha256)
            writer.write(raw if correction is None else _corrected(raw, record, correction, classes))
        writer.close()
        shards.append(describe_shard(out / info.path, writer.samples))
    write_manifest(out, manifest.model_copy(update={"shards": shards}))


def _corrected(raw: RawSample, record: ImageRecord, correction: Correction, classes: Classes) -> RawSample:
    """Return a sample as the stage annotate writes it: the person's parts first, then what models may still add."""
    alone = record.model_copy(update={"regions": None, "tags": None})
    given = corrected(alone.model_copy(update={"captions": (record.captions or [])[:1]}), correction)
    regions = [_without_held_out(region, classes) for region in given.regions or []]
    given = given.model_copy(update={"regions": regions})
    human = np.array([region.box_xyxy for region in regions], np.float64).reshape(-1, 4)
    added = [
        (row, region)
        for row, region in enumerate(record.regions or [], start=1)
        if not region.tags and best_overlap(np.array([region.box_xyxy]), human)[0] <= _GIVEN_IOU
    ]
    update = {"regions": [*regions, *(region for _, region in added)], "captions": record.captions}
    stored = np.load(BytesIO(raw.embeddings or b""))
    rows = [
        stored[:1],
        np.full((len(regions), stored.shape[1]), np.nan, stored.dtype),
        stored[[row for row, _ in added]],
    ]
    before = Annotated(given.model_copy(update=update), np.concatenate(rows))
    after = restrained(before, given, correction)
    buffer = BytesIO()
    np.save(buffer, after.embeddings, allow_pickle=False)
    return RawSample(raw.key, raw.image, raw.extension, after.record.to_json(), buffer.getvalue())


def _without_held_out(region: Region, classes: Classes) -> Region:
    if (region.tags or [])[0].text not in classes.held_out:
        return region
    return region.model_copy(update={"tags": [], "captions": [], "negatives": None})


def _stages(arguments: argparse.Namespace, work: Path) -> Iterator[list[str]]:
    base, artifacts = str(arguments.base), arguments.annotations.parent.parent
    quarantine = str(artifacts / "validate" / "quarantine.parquet")
    yield [
        "train", "--annotations", str(work / "annotate"), "--quarantine", quarantine, "--base", base,
        "--work", str(work / ".train"), "--metrics", str(work / "train.json"), "--plots", str(work / "train.csv"),
        "--out", str(work / "train"),
    ]  # fmt: skip
    yield [
        "evaluate", "--benchmark", str(arguments.data / "benchmark"), "--base", base, "--adapter", str(work / "train"),
        "--annotations", str(artifacts / "annotate" / "benchmark"),
        "--proposals", str(artifacts / "annotate" / "proposals"),
        "--metrics", str(work / "evaluate.json"), "--headlines", str(work / "headlines.json"),
        "--out", str(work / "evaluate"),
    ]  # fmt: skip


def main() -> None:
    """Run one of the measurements and print its results as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("compare", "train"), default="compare")
    parser.add_argument("--annotations", type=Path, default=Path("artifacts/annotate/train"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 150, 400])
    parser.add_argument("--seeds", type=int, default=3, help="random choices whose results are averaged")
    parser.add_argument("--data", type=Path, default=Path("data"), help="of `train`")
    parser.add_argument("--base", type=Path, default=Path("artifacts/base"), help="of `train`")
    parser.add_argument("--by", choices=("worth", "random"), default="worth", help="of `train`")
    parser.add_argument("--budget", type=int, default=400, help="of `train`; 0: no corrections")
    parser.add_argument("--seed", type=int, default=0, help="of `train`")
    parser.add_argument("--steps", type=int, default=0, help="of `train`; 0: as in the parameters")
    parser.add_argument("--work", type=Path, default=Path("review-work"), help="folder of `train`")
    arguments = parser.parse_args()
    print(json.dumps(compare(arguments) if arguments.what == "compare" else train(arguments)))


if __name__ == "__main__":
    main()
