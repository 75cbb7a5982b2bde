"""Steps of `umgclip train` on one device: speed, memory, what regions add, and how long a step waits for data."""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.distributed as dist

from benchmarks.gpu import device as on
from benchmarks.gpu.photos import write_photos
from benchmarks.plain_step import open_clip_step
from umgclip.learning.quarantine import Dropped
from umgclip.learning.schedule import optimizer_of
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip.clustered import set_clustering
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TowerParams, TrainParams
from umgclip.train.feed import LoadedBatch, TrainFeed, decoders
from umgclip.train.loop import _prepare, _scoring
from umgclip.train.step import compute

TINY = "tiny"
CAPTIONS = LossWeights(
    image_text=1.0, tags=0.0, region_text=0.0, region_tags=0.0, pixel=0.0, distill=0.0, keep=0.0
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One setting of training that is measured.

    Attributes:
        model: open_clip's name, with random weights; `tiny`: the demo's tower.
        image_px: side of the images.
        batch: images in a step.
        rounds: measured steps.
        regions: of each image.
        params: further keys of the section `train`.
    """

    model: str
    image_px: int
    batch: int
    rounds: int = 5
    regions: int = 10
    params: tuple[tuple[str, Any], ...] = ()

    def train_params(self, **changes: Any) -> TrainParams:  # noqa: ANN401 - values of params
        """Return the section `train` of this setting."""
        given = {
            "image_px": self.image_px, "batch": self.batch, "regions_per_image": self.regions, "lr_peak": 1.0e-3
        }  # fmt: skip
        return TrainParams.model_validate({**given, **dict(self.params), **changes})


def model_of(name: str, device: torch.device) -> torch.nn.Module:
    """Build a model with random weights, drawn on the device."""
    torch.manual_seed(0)
    config = tower_config(TowerParams()) if name == TINY else open_clip.get_model_config(name)
    with torch.device(device):
        return build(config)


def step_with_regions(setting: Training, device: torch.device) -> dict[str, float]:
    """Measure a multi-grain step and a caption-only one of the same adapter, in turns."""
    with _feed(setting, device) as (feed, clip):
        loaded = next(feed.load(0))
        steps = {
            "regions": _step(setting.train_params(), clip, loaded, World(device=device)),
        }
        result = _timed(steps["regions"], setting, device)
        del steps, clip
        captions = _step(
            setting.train_params(weights=CAPTIONS), model_of(setting.model, device), loaded, World(device=device)
        )
        plain = _timed(captions, setting, device)
    return {
        "images_per_s": setting.batch / result[0],
        "memory_gb": result[1],
        "time_over_captions": result[0] / plain[0],
        "memory_over_captions": result[1] / plain[1],
    }


def step_over_open_clip(setting: Training, device: torch.device) -> dict[str, float]:
    """Measure full fine-tuning with regions, and LoRA, against open_clip's own recipe on the same images."""
    with _feed(setting, device) as (feed, clip):
        loaded = next(feed.load(0))
        plain = _timed(_open_clip_step(clip, loaded, setting, device), setting, device)
        figures = {"open_clip_images_per_s": setting.batch / plain[0], "open_clip_memory_gb": plain[1]}
        del clip
        for adapter in ("lora", "full"):
            params = setting.train_params(adapter=adapter, lr_peak=1.0e-4)
            step = _step(params, model_of(setting.model, device), loaded, World(device=device))
            took, memory = _timed(step, setting, device)
            figures |= {f"{adapter}_over_open_clip": plain[0] / took, f"{adapter}_memory_gb": memory}
            del step
    return figures


def step_alone(setting: Training, device: torch.device) -> dict[str, float]:
    """Measure a multi-grain step with the setting's keys of the section `train`."""
    with _feed(setting, device) as (feed, clip):
        took, memory = _timed(
            _step(setting.train_params(), clip, next(feed.load(0)), World(device=device)), setting, device
        )
    return {"images_per_s": setting.batch / took, "memory_gb": memory}


def step_of_processes(setting: Training, device: torch.device, most: int) -> dict[str, float]:
    """Measure a step on all GPUs, one process each; on a CPU `most` processes over gloo.

    Raises:
        RuntimeError: there is one GPU, and DDP wraps nothing for one process.
    """
    processes = torch.cuda.device_count() if device.type == "cuda" else most
    if processes == 1 and dict(setting.params).get("parallel") == "ddp":
        raise RuntimeError("one GPU: DDP wraps nothing for one process")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "figures.pt"
        arguments = (processes, _free_port(), setting, device.type, str(results))
        torch.multiprocessing.start_processes(_rank, arguments, processes, start_method="spawn")
        took, memory = torch.load(results, weights_only=True)
    return {"processes": processes, "images_per_s": setting.batch / took, "memory_gb": memory}


def _rank(rank: int, processes: int, port: int, setting: Training, kind: str, results: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
    device = torch.device("cuda", rank) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", rank=rank, world_size=processes)
    try:
        world = World(rank, processes, processes, device)
        with _feed(setting, device, world) as (feed, clip):
            measured = _timed(_step(setting.train_params(), clip, next(feed.load(0)), world), setting, device)
        if world.first:
            torch.save(measured, results)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def share_of_waiting(setting: Training, device: torch.device, steps: int) -> dict[str, float]:
    """Train with the loader at work, and measure the share of the time in which a step waits for its batch."""
    with _feed(setting, device) as (feed, clip):
        params = setting.train_params()
        workers = decoders(params, device.type == "cuda", 1)
        figures: dict[str, float] = {"decoding_workers": workers}
        step: Callable[[LoadedBatch], None] | None = None
        for backend in ("threads", "processes"):
            waits, whole = [], []
            with closing(feed.load(0, workers, backend)) as source:
                first = next(source)
                step = step or _stepper(params, clip, first, World(device=device))
                for number in range(steps + 2):
                    began = time.perf_counter()
                    loaded = next(source)
                    waited = time.perf_counter() - began
                    step(loaded)
                    on.synchronize(device)
                    if number >= 2:
                        waits.append(waited)
                        whole.append(time.perf_counter() - began)
            figures[f"waiting_share_{backend}"] = sum(waits) / sum(whole)
            figures[f"images_per_s_{backend}"] = setting.batch * len(whole) / sum(whole)
    return figures


@contextmanager
def _feed(
    setting: Training, device: torch.device, world: World | None = None
) -> Iterator[tuple[TrainFeed, torch.nn.Module]]:
    clip = model_of(setting.model, device)
    with tempfile.TemporaryDirectory() as folder:
        tower = DenseClip(clip)
        data = write_photos(Path(folder) / "data", setting.batch, setting.regions, tower.embed_dim)
        share = None if world is None else world.share
        yield TrainFeed(setting.train_params(), data, Dropped(frozenset(), {}), tower, share), clip


def _step(params: TrainParams, clip: torch.nn.Module, loaded: LoadedBatch, world: World) -> Callable[[], None]:
    step = _stepper(params, clip, loaded, world)
    return lambda: step(loaded)


def _stepper(
    params: TrainParams, clip: torch.nn.Module, _first: LoadedBatch, world: World
) -> Callable[[LoadedBatch], None]:
    """Return a step of the training loop: loss, gradients, clipping and optimizer."""
    set_clustering(clip, params.clustering)
    torch.manual_seed(0)
    adapted = adapt(clip, params)
    tower = DenseClip(adapted.clip)
    model = _prepare(tower, params, world)
    optimizer = optimizer_of(model.groups(), params)
    scoring, scaler = _scoring(tower, params, world)
    tower.train()

    def step(loaded: LoadedBatch) -> None:
        optimizer.zero_grad(set_to_none=True)
        compute(model, loaded, scoring, world)
        if scaler is not None:
            scaler.unscale_(optimizer)
        model.clip(params.grad_clip)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()

    return step


def _open_clip_step(
    clip: torch.nn.Module, loaded: LoadedBatch, setting: Training, device: torch.device
) -> Callable[[], None]:
    tower = DenseClip(clip)
    dtype = _scoring(tower, setting.train_params(), World(device=device))[0].dtype
    return open_clip_step(clip, loaded.batch, tower.tokenizer, dtype, device)


def _timed(step: Callable[[], None], setting: Training, device: torch.device) -> tuple[float, float]:
    """Return the median seconds of a step, and the peak memory in GB."""
    on.reset_peak(device)
    for _ in range(2):
        step()
    took = statistics.median(on.seconds(step, device) for _ in range(setting.rounds))
    return took, on.peak_gb(device)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
