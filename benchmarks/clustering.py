"""Measure token clustering: time of a step and of inference over those of the same tower without it, and accuracy.

    python benchmarks/clustering.py time [--models ViT-B-16 ViT-L-14] [--px 336 448] [--settings 4:14 8:14]
    python benchmarks/clustering.py time --device cuda --batch 16 --rounds 20 --precision bf16
    python benchmarks/clustering.py work [--models ...] [--px ...] [--settings ...]    # counted, not timed
    python benchmarks/clustering.py accuracy [--px 192] [--settings 1:8 2:12] [--artifacts artifacts]

A setting is after_block:grid, the rest of `train.clustering` stays at its defaults. `time` runs a whole step of
`umgclip train` (both towers, LoRA, all terms of the default loss, AdamW) and a forward of the image tower, on composed
scenes and random weights, with torch's fused attention. All settings and the plain tower alternate; of each the minimum
counts: on a CPU of the process's own time with one thread, so that other work changes it little, on a GPU of wall time.
`accuracy` reads regions of the demo's benchmark with the tuned model at another side than its own, without and with
clusters. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from umgclip.data.stream import decode, read_raw
from umgclip.evaluate.benchmarks.region import RegionTop1
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.evaluate.reader import Reader
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.clustered import set_clustering
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.tower import DenseClip
from umgclip.params import ClusteringParams, DataParams, EvaluateParams, LoraParams, TrainParams
from umgclip.sources.demo.scenes import write_demo
from umgclip.train.batch import Batch, TaughtSample, collate, view_of
from umgclip.train.loop import trainable
from umgclip.train.objective import total as objective
from umgclip.train.step import to_device

Settings = dict[str, ClusteringParams | None]


def main() -> None:
    """Run a measurement and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    timed = kinds.add_parser("time")
    timed.add_argument("--models", nargs="+", default=["ViT-B-16", "ViT-L-14"])
    timed.add_argument("--px", nargs="+", type=int, default=[336, 448])
    timed.add_argument(
        "--settings", nargs="*", default=[], help="after_block:grid; none: a third and half of the depth"
    )
    timed.add_argument("--batch", type=int, default=1)
    timed.add_argument("--rounds", type=int, default=3)
    timed.add_argument("--warm-up", type=int, default=1, help="rounds that do not count")
    timed.add_argument("--device", default="cpu")
    timed.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    work = kinds.add_parser("work")
    work.add_argument("--models", nargs="+", default=["ViT-B-16", "ViT-L-14"])
    work.add_argument("--px", nargs="+", type=int, default=[336, 448])
    work.add_argument("--settings", nargs="*", default=[])
    accurate = kinds.add_parser("accuracy")
    accurate.add_argument("--px", type=int, default=192)
    accurate.add_argument("--settings", nargs="*", default=["1:8", "1:10", "1:12", "2:8", "2:10", "2:12"])
    accurate.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    accurate.add_argument("--data", type=Path, default=Path("data"))
    accurate.add_argument("--base", action="store_true", help="the base instead of the tuned model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {"time": _times, "work": _work, "accuracy": _accuracy}[options.kind](options)
    print(json.dumps(results))


def _setting(text: str) -> ClusteringParams:
    after_block, grid = text.split(":")
    return ClusteringParams(after_block=int(after_block), grid=int(grid))


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, int, Settings]]:
    for name in options.models:
        vision = open_clip.get_model_config(name)["vision_cfg"]
        for px in options.px:
            depth, half = int(vision["layers"]), px // int(vision["patch_size"]) // 2
            texts = options.settings or [f"{depth // 3}:{half}", f"{depth // 2}:{half}"]
            yield name, px, {"plain": None, **{text: _setting(text) for text in texts}}


def _times(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [row for name, px, settings in _cases(options) for row in _times_of(name, px, settings, options)]


def _work(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Count the multiplications of the image tower, forward and backward of all weights, without computing any."""
    rows = []
    for name, px, settings in _cases(options):
        with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.MATH):
            tower = DenseClip(files.with_linear_attention(files.build(open_clip.get_model_config(name)))).train()
            counts: dict[str, dict[str, int]] = {}
            for key, clustering in settings.items():
                set_clustering(tower.clip, clustering)
                with FlopCounterMode(display=False) as forward:
                    image, dense = tower.encode_image(torch.zeros(1, 3, px, px))
                with FlopCounterMode(display=False) as backward:
                    (image.sum() + dense.sum()).backward()
                both = forward.get_total_flops() + backward.get_total_flops()
                counts[key] = {"inference": forward.get_total_flops(), "step": both}
        for key, count in counts.items():
            row: dict[str, Any] = {"model": name, "px": px, "setting": key}
            rows.append(row | {f"{n}_ratio": round(value / counts["plain"][n], 3) for n, value in count.items()})
    return rows


def _times_of(name: str, px: int, settings: Settings, options: argparse.Namespace) -> list[dict[str, Any]]:
    device = torch.device(options.device)
    torch.manual_seed(0)
    clip = files.build(open_clip.get_model_config(name))
    tower = DenseClip(add_lora(clip, LoraParams()).get_base_model()).to(device)
    batch = to_device(_batch(options.batch, px, tower), device)
    autocast = partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16")
    optimizer = torch.optim.AdamW(trainable(tower.clip).values(), lr=1.0e-4)
    taken: dict[str, dict[str, list[float]]] = {key: {"step": [], "inference": []} for key in settings}
    for _ in range(options.warm_up + options.rounds):
        for key, clustering in settings.items():
            set_clustering(tower.clip, clustering)
            taken[key]["step"].append(_seconds(partial(_step, tower, batch, optimizer, autocast), device))
            taken[key]["inference"].append(_seconds(partial(_inference, tower, batch, autocast), device))
    rows = []
    for key, times in taken.items():
        row: dict[str, Any] = {"model": name, "px": px, "setting": key, "batch": options.batch}
        for what, values in times.items():
            least = min(values[options.warm_up :])
            plain = min(taken["plain"][what][options.warm_up :])
            row |= {f"{what}_s": round(least, 4), f"{what}_ratio": round(least / plain, 3)}
        rows.append(row)
    return rows


def _seconds(action: Callable[[], None], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _step(
    tower: DenseClip,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    tower.train()
    with autocast():
        loss, _ = objective.loss(tower, batch, TrainParams(), tower.tokenizer)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _inference(tower: DenseClip, batch: Batch, autocast: Callable[[], AbstractContextManager[object]]) -> None:
    tower.eval()
    with torch.inference_mode(), autocast():
        tower.encode_image(batch.images)


def _batch(size: int, px: int, tower: DenseClip) -> Batch:
    """Return a batch of scenes with their true regions; random vectors replace the teacher's."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_demo(DataParams(train_scenes=1, benchmark_scenes=size, benchmark_singles=1), data)
        samples = [decode(raw, name) for name, raw in read_raw(data / "benchmark")][:size]
    rng = np.random.default_rng(0)
    items = [
        TaughtSample(s, rng.normal(size=(1 + len(s.record.regions or []), tower.embed_dim)).astype(np.float32))
        for s in samples
    ]
    return collate(items, view_of(TrainParams(image_px=px), tower), tower.embed_dim, rng)


def _accuracy(options: argparse.Namespace) -> list[dict[str, Any]]:
    base = options.artifacts / "base"
    clip = files.load(base)[0] if options.base else load_tuned(base, options.artifacts / "train" / "adapter")
    tower = DenseClip(clip)
    _, classes = open_benchmark(options.data / "benchmark")
    params = EvaluateParams(image_px=options.px, readouts=["box", "mask"])
    reader = Reader(tower, tower.tokenizer, classes, params, ImageInput.of(tower, options.px))
    examples = list(read_examples(options.data / "benchmark", classes))
    batches = [batch for batch in batched(iter(examples), params.batch) if not batch[0].single]
    settings: Settings = {"plain": None} | {text: _setting(text) for text in options.settings}
    return [
        {"px": options.px, "setting": key} | _regions(tower, reader, batches, clustering)
        for key, clustering in settings.items()
    ]


def _regions(
    tower: DenseClip, reader: Reader, batches: Sequence[Any], clustering: ClusteringParams | None
) -> dict[str, float]:
    set_clustering(tower.clip, clustering)
    benchmark = RegionTop1(reader)
    for batch in batches:
        benchmark.add(batch, reader.see(batch))
    results = dict(benchmark.results())
    return {name: round(float(results[name]), 4) for name in ("box_top1", "mask_top1", "mask_top1_heldout")}


if __name__ == "__main__":
    main()
