"""Measure training against plain open_clip training of the same tower, and against the loader's rate.

    python benchmarks/train_throughput.py                            # a small tower on the CPU
    python benchmarks/train_throughput.py --device cuda --model ViT-B-16 --image-px 224 --batch 128
    python benchmarks/train_throughput.py --device cuda --model ViT-B-16 --image-px 448 --batch 64 --accumulate 2

Plain is open_clip's own recipe: image and caption through `model(image, text)`, `ClipLoss`, AdamW over all weights.
Ours is one step of `umgclip train` with its default terms and `--regions` regions per image, once with all weights
trained (`full`, the same work plus regions) and once with LoRA. Steps alternate. Prints one JSON line: medians in
images per second, ratios to plain, memory (of the GPU; on a CPU that of the process), and images per second that the
loader decodes and collates, by workers.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script's own folder is on the path

from benchmarks.plain_step import open_clip_step  # noqa: E402
from umgclip.geometry.masks import encode
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.learning.quarantine import Dropped
from umgclip.learning.world import BatchShare, World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TowerParams, TrainParams
from umgclip.records import ImageRecord, Mask, Region, Source, Text
from umgclip.train.blocks import checkpoint_activations, compile_blocks
from umgclip.train.feed import LoadedBatch, TrainFeed, _Collator
from umgclip.train.loop import _scoring
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.parallel import Parallel
from umgclip.train.step import compute

Step = Callable[..., None]
_WAITING_STEPS = 10
_PARTS = ["steps", "memory", "loader", "waiting"]
_CAPTION_ONLY = LossWeights(
    image_text=1.0, tags=0.0, region_text=0.0, region_tags=0.0, pixel=0.0, distill=0.0, keep=0.0
)
_WORDS = ["red", "green", "blue", "old", "new", "small", "large", "round", "wooden", "bright", "dark", "open"]
_NOUNS = ["dog", "cat", "car", "tree", "house", "boat", "cup", "chair", "lamp", "horse", "bird", "bench", "table"]


def _sample(number: int, regions: int, *, masks: bool = False) -> RawSample:
    """Return a 500 x 375 photo-like image with a caption and regions with texts; as masks, regions are ellipses."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = encode_jpeg(np.kron(small, np.ones((32, 32, 1), np.uint8))[:375, :500], 90)
    texts = [f"{rng.choice(_WORDS)} {rng.choice(_NOUNS)}" for _ in range(regions)]
    drawn_regions = []
    for index, text in enumerate(texts):
        x0, y0 = rng.uniform(0, 300), rng.uniform(0, 200)
        box = (float(x0), float(y0), float(x0 + rng.uniform(40, 200)), float(y0 + rng.uniform(40, 175)))
        label = [Text(text=text, source="human")]
        mask = _ellipse(box) if masks else None
        drawn_regions.append(Region(id=str(index), box_xyxy=box, mask=mask, is_stuff=False, captions=label, tags=label))
    record = ImageRecord(
        key=f"k{number:06d}", width=500, height=375, sha256=hashlib.sha256(image).hexdigest(),
        source=Source(dataset="benchmark"), captions=[Text(text=f"{number}, {', '.join(texts[:3])}", source="alt")],
        tags=[Text(text=text, source="human") for text in dict.fromkeys(texts)], regions=drawn_regions,
    )  # fmt: skip
    return RawSample(record.key, image, "jpg", record.to_json())


def _ellipse(box: tuple[float, float, float, float]) -> Mask:
    x0, y0, x1, y1 = box
    rows, columns = np.ogrid[:375, :500]
    return encode(((columns - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((rows - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 1 / 4)


def _dataset(folder: Path, samples: int, regions: int, *, masks: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder / "part-000000.tar")
    for number in range(samples):
        writer.write(_sample(number, regions, masks=masks))
    writer.close()
    shard = describe_shard(folder / "part-000000.tar", samples)
    write_manifest(folder, Manifest(made_by=MadeBy(stage="data", params_sha256="0", code_version="0"), shards=[shard]))
    return folder


def _model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(tower_config(TowerParams())) if name == "tiny" else open_clip.create_model(name)


def _ours(clip: torch.nn.Module, params: TrainParams, loaded: LoadedBatch, world: World) -> Step:
    adapted = adapt(with_linear_attention(clip), params)  # as `umgclip train` loads it
    tower = DenseClip(adapted.clip).to(world.device).train()
    if params.checkpoint_activations:
        checkpoint_activations(tower)
    if params.compile:
        compile_blocks(tower)
    model = Parallel(TowerEmbedder(tower), world, params.parallel)
    optimizer = torch.optim.AdamW(model.groups(), lr=1.0e-5, fused=True)
    scoring, _ = _scoring(tower, params, world)

    def step(batch: LoadedBatch = loaded) -> None:
        optimizer.zero_grad(set_to_none=True)
        compute(model, batch, scoring, world)
        model.clip(1.0)
        optimizer.step()

    return step


def _plain(clip: torch.nn.Module, loaded: LoadedBatch, dtype: torch.dtype | None, device: torch.device) -> Step:
    tokenize = open_clip.SimpleTokenizer(context_length=clip.context_length)
    return open_clip_step(clip.to(device), loaded.batch, tokenize, dtype, device)


def _timed(step: Step, device: torch.device) -> tuple[float, float]:
    """Return the seconds of a step, and the peak memory in bytes (of the GPU, or of the process on a CPU)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    if device.type != "cuda":
        return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    torch.cuda.synchronize()
    return time.perf_counter() - began, float(torch.cuda.max_memory_allocated())


def _loader_rate(feed: TrainFeed, batch: int, workers: int, backend: str, batches: int) -> float:
    """Return the loader's images per second without training; the first batches start the workers."""
    source = feed.load(0, workers, backend)  # type: ignore[arg-type]
    for _ in itertools.islice(source, 2):
        pass
    began = time.perf_counter()
    for _ in itertools.islice(source, batches):
        pass
    took = time.perf_counter() - began
    source.close()
    return batch * batches / took


def _kept_bytes(step: Step) -> int:
    """Return the bytes of all storages that autograd keeps in a step; those of weights are not counted."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if not isinstance(value, torch.nn.Parameter) and not isinstance(value._base, torch.nn.Parameter):
            storage = value.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        step()
    return sum(kept.values())


def _over_bare(params: TrainParams, data: Path, tower: DenseClip, rounds: int) -> float:
    """Return the processor time of decoding and resizing the first batches alone over that of the whole collator."""
    feed = TrainFeed(params, data, Dropped(frozenset(), {}), tower)
    side, ours, bare = params.image_px or tower.image_hw[0], [], []
    for _ in range(rounds):
        steps = list(itertools.islice(feed._steps(range(1), 0), 2))
        collator = _Collator(
            feed._views, tower.embed_dim, params.seed, 1, str(data), {}, BatchShare(), feed._extra
        )  # fmt: skip
        began = time.process_time()
        for step in steps:
            collator(step)
        ours.append(time.process_time() - began)
        files = [stored.raw.image for step in steps for _, samples in step.streams for stored in samples]
        began = time.process_time()
        for file in files:
            np.asarray(Image.open(io.BytesIO(file)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        bare.append(time.process_time() - began)
    return min(bare) / min(ours)


def _waiting_share(feed: TrainFeed, step: Step, workers: int, backend: str, device: torch.device) -> float:
    """Return the share of the time of some steps that they wait for their batches."""
    source = feed.load(0, workers, backend)  # type: ignore[arg-type]
    waited, began = 0.0, 0.0
    for number in range(_WAITING_STEPS + 2):
        if number == 2:  # workers have started
            waited, began = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
    took = time.perf_counter() - began
    source.close()
    return waited / took


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--model", default="tiny", help="open_clip's name, random weights; tiny: the demo's tower")
    parser.add_argument("--image-px", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--checkpoint-activations", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--only", nargs="*", default=_PARTS, choices=_PARTS)
    return parser.parse_args()


def _steps_of(
    clip: torch.nn.Module, params: TrainParams, loaded: LoadedBatch, world: World, given: argparse.Namespace
) -> dict[str, object]:
    """Return images per second of the three kinds of step, alternating, and their memory."""
    dtype = _scoring(DenseClip(clip), params, world)[0].dtype
    steps = {
        "plain": _plain(copy.deepcopy(clip), loaded, dtype, world.device),
        "full": _ours(copy.deepcopy(clip), params, loaded, world),
        "lora": _ours(copy.deepcopy(clip), params.model_copy(update={"adapter": "lora"}), loaded, world),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(given.rounds + 2):
        for name, step in steps.items():
            result = _timed(step, world.device)
            if turn >= 2:
                measured[name].append(result)
    seconds = {name: statistics.median(s for s, _ in pairs) for name, pairs in measured.items()}
    return {
        "images_per_s": {name: round(given.batch / s, 1) for name, s in seconds.items()},
        "ratio_to_plain": {name: round(seconds["plain"] / s, 3) for name, s in seconds.items() if name != "plain"},
        "memory_gib": {name: round(max(m for _, m in pairs) / 2**30, 2) for name, pairs in measured.items()},
        "precision": str(dtype).removeprefix("torch."),
    }


def _memory_of(
    clip: torch.nn.Module, params: TrainParams, loaded: LoadedBatch, world: World, _given: argparse.Namespace
) -> dict[str, object]:
    """Return what regions add to the bytes that autograd keeps."""
    ratios = {}
    for kind in ("full", "lora"):
        weights = (params.weights, _CAPTION_ONLY)
        kept = [
            _kept_bytes(
                _ours(copy.deepcopy(clip), params.model_copy(update={"adapter": kind, "weights": each}), loaded, world)
            )
            for each in weights
        ]
        ratios[kind] = round(kept[0] / kept[1], 3)
    return {"regions_memory": ratios}


def _loader_of(
    clip: torch.nn.Module, params: TrainParams, feed: TrainFeed, data: Path, given: argparse.Namespace
) -> dict[str, object]:
    """Return the loader's rate alone, and beside Pillow."""
    rates = {
        f"{backend} {workers}": round(_loader_rate(feed, given.batch, workers, backend, 8), 1)
        for backend in ("threads", "processes")
        for workers in given.workers
    }
    with_masks = _dataset(data / "masks", 2 * given.batch, given.regions, masks=True)
    over_bare = {
        kind: round(_over_bare(params, place, DenseClip(clip), max(3, given.rounds)), 3)
        for kind, place in (("boxes", data), ("masks", with_masks))
    }
    return {"loader_images_per_s": rates, "loader_over_bare": over_bare}


def main() -> None:
    """Run the measurements and print the results."""
    given = _parse()
    device = torch.device(given.device)
    world = World(device=device)
    params = TrainParams(
        image_px=given.image_px, batch=given.batch, regions_per_image=given.regions, accumulate=given.accumulate,
        checkpoint_activations=given.checkpoint_activations, compile=given.compile, adapter="full",
        lr_peak=1.0e-3,
        weights=LossWeights(distill=0.0, keep=0.0),  # there is no teacher
    )  # fmt: skip
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = _dataset(Path(folder) / "data", 2 * given.batch, given.regions)
        clip = _model(given.model)
        feed = TrainFeed(params, data, Dropped(frozenset(), {}), DenseClip(clip))
        loaded = next(feed.load(0))
        if "steps" in given.only:
            result |= _steps_of(clip, params, loaded, world, given)
        if "memory" in given.only:
            result |= _memory_of(clip, params, loaded, world, given)
        if "loader" in given.only:
            result |= _loader_of(clip, params, feed, data, given)
        if "waiting" in given.only:
            step = _ours(copy.deepcopy(clip), params.model_copy(update={"adapter": "lora"}), loaded, world)
            result["waiting_share"] = round(_waiting_share(feed, step, max(given.workers), "threads", device), 4)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    result |= {
        "model": given.model, "image_px": given.image_px, "batch": given.batch, "regions": given.regions,
        "accumulate": given.accumulate, "device": where,
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
