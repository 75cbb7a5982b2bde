"""Measure a multi-grain training step over a caption-only one, with the same towers and batch, alternating.

    python benchmarks/train_step.py [--rounds 8] [--batch 64] [--threads N] [--model ViT-B-16 --batch 8]

A third step has captions alone and the sum of the dense map: the least that any objective costs that teaches the map,
because its gradient runs through the last block of every patch. Prints one JSON line with the median seconds of the
three and the median ratios of adjacent steps: `ratio` is multi-grain over captions alone, `bound` that of the third
step over captions alone, and `over_bound` multi-grain over the third.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor

from umgclip.data.stream import decode, read_raw
from umgclip.learning.precision import autocast_dtype
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip.files import Tokenizer, build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import DataParams, LoraParams, LossWeights, TowerParams, TrainParams
from umgclip.sources.demo.scenes import write_demo
from umgclip.train.batch import Batch, TaughtSample, View, collate
from umgclip.train.loop import trainable
from umgclip.train.objective.total import loss
from umgclip.train.texts import TextChoice

_CAPTION_ONLY = LossWeights(
    image_text=1.0, tags=0.0, region_text=0.0, region_tags=0.0, pixel=0.0, distill=0.0, keep=0.0
)


def _batch(size: int, image_px: int, tower: DenseClip) -> Batch:
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
    grid = image_px // tower.patch_px[0]
    view = View(image_px=image_px, grid=grid, regions_per_image=8, texts=TextChoice(0.0), preprocess=tower.preprocess)
    return collate(items, view, tower.embed_dim, rng)


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--model", default="tiny", help="open_clip's name, random weights; tiny: the demo's tower")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clip = build(tower_config(TowerParams())) if arguments.model == "tiny" else open_clip.create_model(arguments.model)
    adapted = add_lora(clip, LoraParams())
    tower = DenseClip(adapted.get_base_model()).train()
    batch, tokenizer = _batch(arguments.batch, tower.image_hw[0], tower), Tokenizer(tower.context_length)
    weights = trainable(tower.clip)
    optimizer = torch.optim.AdamW(weights.values(), lr=1.0e-4, fused=True)
    dtype = autocast_dtype("auto")

    def timed(objective: Callable[[], Tensor]) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            total = objective()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return time.perf_counter() - began

    def captions_and_map() -> Tensor:
        dense: list[Tensor] = []
        hook = tower.register_forward_hook(lambda _module, _inputs, out: dense.append(out.dense))
        total, _ = loss(tower, batch, TrainParams(weights=_CAPTION_ONLY), tokenizer)
        hook.remove()
        return total + dense[0].sum()

    steps = {
        "caption_only": lambda: loss(tower, batch, TrainParams(weights=_CAPTION_ONLY), tokenizer)[0],
        "captions_and_map": captions_and_map,
        "multi_grain": lambda: loss(tower, batch, TrainParams(), tokenizer)[0],
    }
    turns = [{name: timed(step) for name, step in steps.items()} for _ in range(arguments.rounds + 2)][2:]

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(turn[one] / turn[other] for turn in turns), 3)

    result = {
        **{f"{name}_s": round(statistics.median(turn[name] for turn in turns), 4) for name in steps},
        "ratio": ratio("multi_grain", "caption_only"),
        "bound": ratio("captions_and_map", "caption_only"),
        "over_bound": ratio("multi_grain", "captions_and_map"),
        "model": arguments.model,
        "batch": arguments.batch,
        "regions": len(batch.region_text),
        "precision": "bf16" if dtype else "fp32",
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
