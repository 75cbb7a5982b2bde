"""Measure a multi-grain training step over a caption-only one, with the same towers and batch, alternating.

    python benchmarks/train_step.py [--rounds 8] [--batch 64] [--threads N]

Prints one JSON line with the median seconds of both and the median ratio of adjacent steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

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


def _batch(size: int, tower: DenseClip) -> Batch:
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
    view = View(image_px=96, grid=8, regions_per_image=8, texts=TextChoice(0.0))
    return collate(items, view, tower.embed_dim, rng)


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clip = build(tower_config(TowerParams()))
    adapted = add_lora(clip, LoraParams())
    tower = DenseClip(adapted.get_base_model()).train()
    batch, tokenizer = _batch(arguments.batch, tower), Tokenizer(tower.context_length)
    weights = trainable(tower.clip)
    optimizer = torch.optim.AdamW(weights.values(), lr=1.0e-4, fused=True)
    dtype = autocast_dtype("auto")

    def step(terms: LossWeights) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            total, _ = loss(tower, batch, TrainParams(weights=terms), tokenizer)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return time.perf_counter() - began

    full = TrainParams().weights
    pairs = [(step(_CAPTION_ONLY), step(full)) for _ in range(arguments.rounds + 2)][2:]
    result = {
        "caption_only_s": round(statistics.median(a for a, _ in pairs), 4),
        "multi_grain_s": round(statistics.median(b for _, b in pairs), 4),
        "ratio": round(statistics.median(b / a for a, b in pairs), 3),
        "batch": arguments.batch,
        "regions": len(batch.region_text),
        "precision": "bf16" if dtype else "fp32",
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
