"""What 41 million images cost: measures this machine, checks the scale model on it, and extrapolates.

    make demo                                             # data and a base to measure with
    python -m benchmarks.scale                            # about three minutes on two idle cores
    python -m benchmarks.scale --write docs/scale.md      # and the table between its markers

One worker annotates some of the demo's images in shards of two sizes; a shard's fixed cost and cost per image are
fitted to its times. From these the simulator of `benchmarks.scale` predicts the same shards on two workers, which are
then measured. The table for many GPUs takes published times from `costs.yaml`. Prints text, or JSON with --json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.scale import tables
from benchmarks.scale.check import Check, Run, check
from benchmarks.scale.cost import ShardCost
from benchmarks.scale.estimate import Estimate, between, bootstrap
from benchmarks.scale.simulator import Cluster, Workload
from umgclip.annotate.engines.local import run_jobs
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.progress import Tally
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import mine
from umgclip.io.images import decode_image, encode_jpeg
from umgclip.io.manifest import ShardInfo, describe_shard, read_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import AnnotateParams, load_section, threads
from umgclip.records import parse_record

COSTS = Path(__file__).with_name("costs.yaml")
BEGIN, END = "<!-- scale -->", "<!-- /scale -->"
_SIZES = (16, 64)  # images of the measured shards, in turn


class _Nobody:
    """Watches no run."""

    def add(self, tally: Tally) -> None:
        """Nothing is counted."""

    def workers(self, alive: int) -> None:
        """Nothing is said."""


def reshard(data: Path, out: Path, count: int) -> list[ShardInfo]:
    """Some of a dataset's samples, evenly drawn, as shards of two sizes in turn."""
    total = read_manifest(data).samples
    wanted = set(np.linspace(0, total - 1, min(count, total)).astype(int).tolist())
    samples = (raw for number, (_, raw) in enumerate(read_raw(data)) if number in wanted)
    shards: list[ShardInfo] = []
    for number, size in enumerate(itertools.cycle(_SIZES)):
        taken = list(itertools.islice(samples, size))
        if not taken:
            return shards
        shards.append(_write(out / f"{number:04d}.tar", taken))
    raise AssertionError


def _write(path: Path, samples: Sequence[RawSample]) -> ShardInfo:
    writer = ShardWriter(path)
    for raw in samples:
        writer.write(raw)
    writer.close()
    return describe_shard(path, len(samples))


def captions(data: Path) -> Iterator[str]:
    """The first caption of every sample."""
    for _, raw in read_raw(data):
        record = parse_record(raw.json, where=raw.key)
        yield from (text.text for text in (record.captions or [])[:1])


def measure(recipe: Recipe, shards: Sequence[ShardInfo], source: Path, out: Path, workers: int) -> Run:
    """Annotate the shards with so many worker processes."""
    out.mkdir()
    recipe = replace(recipe, params=recipe.params.model_copy(update={"workers": workers, "store": None}))
    jobs = [Job(str(source / shard.path), shard, shard.path, Folder(out)) for shard in shards]
    began = time.perf_counter()
    run_jobs(jobs, recipe, _Nobody())
    wall = time.perf_counter() - began
    markers = [job.marker() or {} for job in jobs]
    count = sum(shard.samples for shard in shards[1:])
    roles, beside = Counter[str](), Counter[str]()
    for marker in markers[1:]:  # the first one loads models
        roles.update({name: spent["seconds"] / count for name, spent in marker["roles"].items()})
        beside.update({name: spent / count for name, spent in marker["timings"].items() if name != "annotate"})
    images, seconds = zip(
        *((shard.samples, m["seconds"]) for shard, m in zip(shards, markers, strict=True)), strict=True
    )
    return Run(workers, wall, images, seconds, dict(roles), dict(beside))


def photo_decode_s(rounds: int = 20) -> float:
    """Seconds to decode a photo of 640 x 480 pixels on one core; the median."""
    small = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encode_jpeg(small.repeat(10, axis=0).repeat(10, axis=1), quality=90)
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        decode_image(data, where="photo")
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def cpu_rows(one: Run, found: Check, assumed: Mapping[str, Any], rounds: int) -> dict[int, Estimate]:
    """`clip_teacher` as measured, by cores."""
    workload = _workload(assumed)
    rows = {}
    for cores in assumed["cores"]:
        cluster = replace(_cluster(cores, assumed), startup_s=found.startup_s)
        estimate = bootstrap(one.images[1:], one.seconds[1:], workload, cluster, rounds)
        rows[cores] = estimate.widened(found.bias)
    return rows


def gpu_rows(
    overhead: ShardCost, decode_s: float, assumed: Mapping[str, Any], rounds: int
) -> dict[tuple[str, int], Estimate]:
    """Published times of GPU roles, by recipe and GPUs."""
    workload, rows = _workload(assumed), {}
    for recipe, roles in assumed["recipes"].items():
        ranges = [assumed["roles"][role]["seconds"] for role in roles]
        low, high = sum(r[0] for r in ranges), sum(r[1] for r in ranges)
        # at best decoding hides behind the GPU, at worst nothing does
        best = replace(overhead, per_image_s=max(low, decode_s) + overhead.per_image_s)
        worst = replace(overhead, per_image_s=high + decode_s + overhead.per_image_s)
        for gpus in assumed["gpus"]:
            rows[recipe, gpus] = between(best, worst, workload, _cluster(gpus, assumed), rounds)
    return rows


def _workload(assumed: Mapping[str, Any]) -> Workload:
    about = assumed["workload"]
    return Workload.of(about["images"], about["shard_images"], about["mb_per_image"])


def _cluster(workers: int, assumed: Mapping[str, Any]) -> Cluster:
    return Cluster(workers, **{name: float(value) for name, value in assumed["cluster"].items()})


def write(path: Path, text: str) -> None:
    """Put the text between the markers of a document."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path}: expected {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure, check, extrapolate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data") / "train")
    parser.add_argument("--base", type=Path, default=Path("artifacts") / "base")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=int, default=800, help="annotated twice, by one worker and by two")
    parser.add_argument("--rounds", type=int, default=20, help="simulations for each row of the table")
    parser.add_argument("--core-price", type=float, help="of a core an hour, in any currency: adds a column")
    parser.add_argument("--gpu-price", type=float, help="of a GPU an hour")
    parser.add_argument("--write", type=Path, help="a document with the markers")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    params = load_section(arguments.params, AnnotateParams)
    vocabulary = mine(captions(arguments.data), params.min_concept_count, params.held_out)
    recipe = Recipe(params, arguments.base, vocabulary)
    assumed = YAML(typ="safe").load(COSTS.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "shards").mkdir()
        shards = reshard(arguments.data, root / "shards", arguments.images)
        one, two = (measure(recipe, shards, root / "shards", root / f"out{n}", workers=n) for n in (1, 2))
    found = check(one, two)
    overhead = ShardCost(sum(one.beside.values()), found.cost.per_shard_s)
    cpu = cpu_rows(one, found, assumed, arguments.rounds)
    gpu = gpu_rows(overhead, photo_decode_s(), assumed, arguments.rounds)
    images = f"{assumed['workload']['images'] / 1e6:.0f} million images"
    text = "\n\n".join(
        [
            tables.checked(one, found, f"{threads()} cores ({platform.machine()})"),
            f"{images} with `clip_teacher` as measured (96 px scenes, the demo's tower):",
            tables.by_cores(cpu, arguments.core_price),
            f"{images} with published times of GPU roles (not measured here):",
            tables.by_recipe(gpu, arguments.gpu_price),
            tables.sources(assumed["roles"]),
        ]
    )
    if arguments.write is not None:
        write(arguments.write, text)
    print(json.dumps({"one": asdict(one), "two": asdict(two), "check": asdict(found)}) if arguments.json else text)


if __name__ == "__main__":
    main()
