"""Compare panoptic and semantic quality of the dense map alone, the annotator's proposals, and the decoder.

Needs the results of `dvc repro`. Trains the decoder of `params.yaml` on the pseudo-annotations, then on true
annotations of as many other demo scenes (without the names of held-out classes), and prints one table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from umgclip.evaluate import stage as evaluation
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.io.tables import QUARANTINE, write_table
from umgclip.params import DataParams, EvaluateParams, SegmentParams, load_section
from umgclip.records import Region, parse_record
from umgclip.segment import stage
from umgclip.sources.demo.scenes import write_demo

ARTIFACTS, PARAMS, BENCHMARK = Path("artifacts"), Path("params.yaml"), Path("data/benchmark")


def write_truth(out: Path) -> Path:
    """Write scenes outside training and benchmark with their truth, except held-out names; return the dataset."""
    data = load_section(PARAMS, DataParams)
    scenes = data.model_copy(
        update={"seed": data.seed + 1, "train_scenes": 1, "benchmark_scenes": data.train_scenes, "benchmark_singles": 1}
    )
    write_demo(scenes, out)
    folder = out / "benchmark"
    manifest = read_manifest(folder)
    held_out = set(manifest.classes.held_out) if manifest.classes else set()
    shards = []
    for shard in manifest.shards:
        path = folder / shard.path
        samples = list(read_shard(path))
        writer = ShardWriter(path)
        for raw in samples:
            record = parse_record(raw.json, where=raw.key)
            regions = [_without(region, held_out) for region in record.regions or []]
            writer.write(
                RawSample(raw.key, raw.image, raw.extension, record.model_copy(update={"regions": regions}).to_json())
            )
        writer.close()
        shards.append(describe_shard(path, writer.samples))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder


def _without(region: Region, names: set[str]) -> Region:
    tags = [tag for tag in region.tags or [] if tag.text not in names]
    return region.model_copy(update={"tags": tags, "captions": region.captions if tags else []})


def measure(annotations: Path, quarantine: Path, params: SegmentParams, work: Path) -> tuple[dict[str, float], float]:
    """Train on a dataset and evaluate; return panoptic and semantic metrics, and the training time in seconds."""
    inputs = stage.SegmentInputs(
        annotations,
        quarantine,
        ARTIFACTS / "base",
        ARTIFACTS / "train",
        work / ".work",
        work / "m.json",
        work / "p.csv",
    )
    start = time.perf_counter()
    stage.run(params, inputs, work / "segment", report=_tell)
    took = time.perf_counter() - start
    evaluation.run(
        load_section(PARAMS, EvaluateParams),
        evaluation.EvaluateInputs(
            ARTIFACTS / "base", ARTIFACTS / "train", BENCHMARK, ARTIFACTS / "annotate" / "benchmark",
            ARTIFACTS / "annotate" / "proposals", work / "evaluate.json", segmenter=work / "segment",
        ),
        work / "evaluate",
    )  # fmt: skip
    tuned = json.loads((work / "evaluate.json").read_text(encoding="utf-8"))["tuned"]
    return {**tuned["semantic"], **tuned["panoptic"]}, took


def _tell(step: int, values: dict[str, float]) -> None:
    if (step + 1) % 100 == 0:
        print(f"step {step + 1}: loss {values['total']:.2f}", flush=True)


def main() -> None:
    """Run the comparison and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="override segment.steps")
    parser.add_argument("--adapter", choices=("none", "convpass", "lora"), help="override segment.adapter")
    parser.add_argument("--only", choices=("pseudo", "true"), help="train on these annotations only")
    parser.add_argument("--keep", type=Path, help="folder for the trained models; default: delete them")
    given = parser.parse_args()
    changes = {"steps": given.steps, "adapter": given.adapter}
    params = load_section(PARAMS, SegmentParams).model_copy(update={n: v for n, v in changes.items() if v is not None})
    work = Path(tempfile.mkdtemp(prefix="segmentation-")) if given.keep is None else given.keep
    rows: list[str] = []
    try:
        for name in ("pseudo", "true"):
            if given.only in (None, name):
                folder = work / name
                folder.mkdir(parents=True, exist_ok=True)
                annotations, quarantine = (
                    ARTIFACTS / "annotate" / "train",
                    ARTIFACTS / "validate" / "quarantine.parquet",
                )
                if name == "true":
                    annotations, quarantine = write_truth(folder / "data"), folder / "quarantine.parquet"
                    write_table(quarantine, [], QUARANTINE)
                metrics, took = measure(annotations, quarantine, params, folder)
                rows = rows or [
                    _row("dense map only", metrics, "dense_map", metrics["miou"], ""),
                    _row("masker proposals, named by the dense map", metrics, "proposals", None, ""),
                    _row("true masks, named by the dense map", metrics, "true_masks", None, ""),
                ]
                rows.append(
                    _row(f"decoder, {name} annotations", metrics, "decoder", metrics["miou_decoder"], f"{took:.0f}")
                )
    finally:
        if given.keep is None:
            shutil.rmtree(work)
    print("\n| segments | PQ | things | stuff | SQ | RQ | mIoU | training, s |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


def _row(title: str, metrics: dict[str, float], name: str, miou: float | None, took: str) -> str:
    kinds = ("pq", "pq_things", "pq_stuff", "sq", "rq")
    values = [f"{metrics[f'{kind}_{name}']:.3f}" if f"{kind}_{name}" in metrics else "" for kind in kinds]
    return f"| {title} | {' | '.join(values)} | {'' if miou is None else f'{miou:.3f}'} | {took} |"


if __name__ == "__main__":
    main()
