"""Measure how much corrections buy on the demo: images chosen by worth against images at random.

    python benchmarks/review.py [--budgets 50 150 400] [--seeds 3]
    python benchmarks/review.py train --by worth --budget 400 --work /tmp/worth-400

The reviewer is the truth of the training scenes, which no stage sees: they are composed again from section `data` of
`params.yaml`. The reviewer draws every thing and the ground with its mask, and answers what `umgclip review export`
chose of `artifacts/annotate/train`. Precision and recall are those of `benchmarks/annotator.py`, over all training
scenes, with the corrections applied. `fixed` counts the labelled regions that a look removed, added, renamed or moved
by more than an IoU of 0.5.

`train` goes the whole way for one choice: `umgclip annotate` with the corrections, validate, train and evaluate. Its
`region` is the tuned model's top-1 accuracy on the benchmark's regions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.annotator import _classes, _examples, measure  # the same truth and definitions
from umgclip.data.corrections import CORRECTIONS, Correction, HumanLook
from umgclip.data.stream import read_raw
from umgclip.evaluate.benchmarks.annotator import read_proposals
from umgclip.evaluate.examples import Classes, Example, TrueRegion
from umgclip.geometry import boxes
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.params import DataParams, load_section
from umgclip.records import ImageRecord, Region, parse_record
from umgclip.review.answer import AnsweredRegion, ImageAnswer
from umgclip.review.comparison import Comparison
from umgclip.review.exporting import Wish, run_export
from umgclip.review.shown import CHOICE, ShownImages, read_shown

_IOU = 0.5


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


def _quality(
    examples: Sequence[Example], regions: Mapping[str, Sequence[Region]], classes: Classes
) -> dict[str, float]:
    quality = measure(examples, regions, classes)["all"]
    return {name: quality[name] for name in ("precision", "recall", "mask_iou")}


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Go the whole way for one choice; return the annotator's quality and the benchmark's regions."""
    data, classes = load_section(arguments.params, DataParams), _classes()
    examples = _examples(data, data.train_scenes, classes)
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(arguments.params.read_text(encoding="utf-8"))
    if arguments.budget:
        wish = Wish("cvat", arguments.budget, arguments.by, arguments.seed)
        shown, _ = _choose(arguments.annotations, wish, work / "export")
        corrections = _corrections(shown, {example.key: example for example in examples}, classes)
        lines = b"".join(one.to_json() for one in sorted(corrections, key=lambda one: one.key))
        (work / CORRECTIONS).write_bytes(lines)
        params["annotate"]["corrections"] = str(work / CORRECTIONS)
    with (work / "params.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(params, handle)
    for words in _stages(arguments, work):
        command = [sys.executable, "-m", "umgclip", *words, "--params", str(work / "params.yaml")]
        subprocess.run(command, check=True)  # noqa: S603 - our own commands
    content = json.loads((work / "headlines.json").read_text(encoding="utf-8"))
    regions = read_proposals(work / "annotate" / "train")
    return {**_quality(examples, regions, classes), "region": content["tuned"]["region"], "sha256": _digest(work)}


def _stages(arguments: argparse.Namespace, work: Path) -> Iterator[list[str]]:
    base, data, annotate = str(arguments.base), arguments.data, work / "annotate"
    shared = ["--base", base]
    yield ["annotate", "--data", str(data), *shared, "--metrics", str(work / "annotate.json"), "--out", str(annotate)]
    yield [
        "validate", "--annotations", str(annotate / "train"), "--benchmark", str(data / "benchmark"),
        "--vocabulary", str(annotate / "vocabulary.json"), "--data-docs", str(work / "data_docs"),
        "--metrics", str(work / "validate.json"), "--out", str(work / "validate"),
    ]  # fmt: skip
    yield [
        "train", "--annotations", str(annotate / "train"), "--quarantine", str(work / "validate/quarantine.parquet"),
        *shared, "--work", str(work / ".train"), "--metrics", str(work / "train.json"),
        "--plots", str(work / "train.csv"), "--out", str(work / "train"),
    ]  # fmt: skip
    yield [
        "evaluate", "--benchmark", str(data / "benchmark"), *shared, "--adapter", str(work / "train"),
        "--annotations", str(annotate / "benchmark"), "--proposals", str(annotate / "proposals"),
        "--metrics", str(work / "evaluate.json"), "--headlines", str(work / "headlines.json"),
        "--out", str(work / "evaluate"),
    ]  # fmt: skip


def _digest(work: Path) -> str:
    digest = hashlib.sha256()
    for _, raw in read_raw(work / "annotate" / "train"):
        digest.update(parse_record(raw.json, where=raw.key).to_json())
    return digest.hexdigest()[:16]


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
    parser.add_argument("--work", type=Path, default=Path("review-work"), help="folder of `train`")
    arguments = parser.parse_args()
    print(json.dumps(compare(arguments) if arguments.what == "compare" else train(arguments)))


if __name__ == "__main__":
    main()
