"""Stage `train`: tune the base on validated annotations; writes the adapter and what it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from umgclip.data.image_sources import data_sources
from umgclip.io.atomic import fresh_folder, sha256_file, write_bytes, write_json
from umgclip.io.manifest import Manifest, read_manifest
from umgclip.learning.checkpoint import Checkpoints
from umgclip.learning.counts import rows_of
from umgclip.learning.curves import Curves
from umgclip.learning.quarantine import Dropped, read_dropped, write_unreadable
from umgclip.learning.run_identity import decisive, flatten, libraries
from umgclip.learning.world import World, choose_device
from umgclip.model.adapters.adapt import Adapted, adapt
from umgclip.model.clip import files
from umgclip.model.clip.clustered import KEY, set_clustering
from umgclip.model.clip.layout import ADAPTER, TRAINED_ON
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.reach import REACH, set_reach
from umgclip.params import TrainParams
from umgclip.provenance import code_digest
from umgclip.stage import Summary, begin
from umgclip.train import datasets
from umgclip.train.defaults import idle, resolved, told, warnings
from umgclip.train.feed import TrainFeed
from umgclip.train.loop import TrainResult, train

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainInputs:
    """Paths read: annotated shards, validation's quarantine, the base.

    Written in addition to the output: `work` holds the checkpoint, `metrics` the last losses, `plots` the curves.
    """

    annotations: Path
    quarantine: Path
    base: Path
    work: Path
    metrics: Path
    plots: Path


def total_steps(params: TrainParams) -> int:
    """Return the number of steps that `run` will report, for a progress bar."""
    return params.steps


def run(
    params: TrainParams,
    inputs: TrainInputs,
    out: Path,
    *,
    report: Callable[[int, dict[str, float]], None] = lambda _step, _values: None,
    world: World | None = None,
    discard: bool = False,
) -> Summary:
    """Tune the base; a killed run resumes from its last checkpoint and ends with the same weights.

    Args:
        params: the section `train`.
        inputs: paths.
        out: the folder to make.
        report: called with every step's number and values, by the first process.
        world: the processes that train together, all of which call this; None: this one alone.
        discard: start again and ignore any checkpoint.

    Raises:
        DataError: inputs are missing or damaged, or too many samples are unreadable.
        InputError: a checkpoint belongs to another run; the message names the difference.
        UmgclipError: the loss is no longer a number.
        OutputError: `out` cannot be written.
    """
    world = World(device=choose_device(params.device)) if world is None else world
    asked, params = params, resolved(params, inputs.base)
    manifest = read_manifest(inputs.annotations)
    dropped = read_dropped(inputs.quarantine)
    begin("loading the base and the annotations")
    adapted, tower = _adapted(params, inputs.base)
    feed = TrainFeed(params, inputs.annotations, dropped, tower, world.share)
    doubts = warnings(params, manifest.samples - len(dropped.images))
    _warn(doubts, world)
    belongs_to = _belongs_to(params, inputs, manifest, feed)
    checkpoints = Checkpoints(inputs.work / "checkpoint.pt", belongs_to, world)
    curves = Curves(inputs.work / "curves.csv", belongs_to) if world.first else None
    if discard and world.first:
        checkpoints.remove()

    def both(step: int, values: dict[str, float]) -> None:
        if curves is not None:
            curves.add(step, values)
            report(step, values)

    begin("training")
    trained = train(tower, feed, params, checkpoints, both, world)
    lacking = idle(params, trained.seen)
    _warn(lacking, world)
    rows = _rows(params, trained, manifest.samples, dropped, adapted.counts())
    shown = datasets.facts(manifest, params.mixture, trained.seen)
    careful = (("careful", doubt) for doubt in (*doubts, *lacking))
    summary = Summary("train", (*told(asked, params, inputs.base), *rows, *datasets.rows(shown), *careful))
    if curves is None:
        return summary
    begin("writing the adapter")
    if params.parallel == "fsdp2":
        adapted, tower = _adapted(params, inputs.base)  # whole again
    load_weights(tower.cpu(), trained.weights)
    with fresh_folder(out) as folder:
        facts = _facts(params, belongs_to, feed, adapted.save(folder / ADAPTER), shown)
        write_json(folder / "train.json", {**facts, TRAINED_ON: data_sources(inputs.annotations).names})
        write_unreadable(folder, trained.failed, "train")
    write_bytes(inputs.plots, curves.text().encode())
    write_json(inputs.metrics, {name: round(value, 6) for name, value in trained.values.items()})
    checkpoints.remove()
    curves.remove()
    return summary


def _warn(doubts: list[str], world: World) -> None:
    for doubt in doubts if world.first else ():
        _log.warning("%s", doubt)


def _belongs_to(params: TrainParams, inputs: TrainInputs, manifest: Manifest, feed: TrainFeed) -> dict[str, Any]:
    """Return what decides the result; a checkpoint or curve of anything else does not belong to this run."""
    weights = inputs.base / files.WEIGHTS
    return {
        "params": flatten(decisive(params)) | {"train.loader.streams": str(feed.streams)},
        "data": manifest.digest(),
        **({"datasets": datasets.digests(manifest)} if params.mixture else {}),
        "quarantine": sha256_file(inputs.quarantine),
        "base": sha256_file(weights) if weights.is_file() else "",
        "code": code_digest("umgclip.train.stage"),
        "libraries": libraries(),
    }


def _facts(
    params: TrainParams, belongs_to: dict[str, Any], feed: TrainFeed, adapter_sha256: str, shown: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of `train.json`: what the adapter was trained from, and how."""
    return {
        "base_sha256": belongs_to["base"],
        "adapter_sha256": adapter_sha256,
        "data_digest": belongs_to["data"],
        **({"datasets": dict(shown)} if shown else {}),
        "params": decisive(params)["train"] | {"loader": {"streams": feed.streams}},
        "steps": params.steps,
        "image_hw": list(feed.image_hw),
        REACH: params.dense_reach,
        KEY: None if params.clustering is None else params.clustering.model_dump(),
    }


def _adapted(params: TrainParams, base: Path) -> tuple[Adapted, DenseClip]:
    """Load the base and add a fresh adapter, the same in every process."""
    clip, _ = files.load(base)
    set_reach(clip, params.dense_reach)
    set_clustering(clip, params.clustering)
    torch.manual_seed(params.seed)
    adapted = adapt(clip, params)
    return adapted, DenseClip(adapted.clip)


def load_weights(tower: DenseClip, weights: dict[str, Tensor]) -> None:
    """Copy trained weights into the tower."""
    parameters = dict(tower.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def _steps(params: TrainParams) -> list[tuple[str, str]]:
    """Return summary rows with the steps and the batch, of each resolution if there are several."""
    if not params.stages:
        return [("steps, batch", f"{params.steps}, {params.batch}")]
    return [
        (f"steps, batch at {one.image_px} px", f"{steps}, {one.batch or params.batch}")
        for one, steps in zip(params.stages, params.stage_steps, strict=True)
    ]


def _rows(
    params: TrainParams, trained: TrainResult, samples: int, dropped: Dropped, size: tuple[int, int]
) -> tuple[tuple[str, str], ...]:
    unreadable = (("unreadable images", str(len(trained.failed))),) if trained.failed else ()
    return (
        *_steps(params),
        ("images (left out)", f"{samples} ({len(dropped.images)})"),
        *unreadable,
        *rows_of(trained.seen),
        ("parameters trained", f"{size[0]:,} of {size[1]:,}"),
        *((f"last {name}", f"{value:.3f}") for name, value in trained.values.items()),
    )
