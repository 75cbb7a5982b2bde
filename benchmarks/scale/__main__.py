"""Estimate the cost of annotating 41 million images: measure this machine, check the cost model, and extrapolate.

    make demo                                             # data and a base to measure with
    python -m benchmarks.scale                            # about three minutes on two idle cores
    python -m benchmarks.scale --write docs/scale.md      # and the table between its markers

One worker annotates some of the demo's images in shards of two sizes, and a fixed cost per shard and a cost per image
are fitted to its times. From these, the simulator predicts the time of the same shards on two workers, which is then
measured. The table for many GPUs uses published times from `costs.yaml`. Prints text, or JSON with --json.
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

from benchmarks.real_size.table import stored_figures
from benchmarks.scale import tables
from benchmarks.scale.check import Check, Run, check
from benchmarks.scale.cost import ShardCost
from benchmarks.scale.estimate import Estimate, between, bootstrap
from benchmarks.scale.measured import with_measured
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
_SIZES = (16, 64)  # images of the measured shards, alternating


class _Nobody:
    """A progress observer that ignores everything."""

    def add(self, tally: Tally) -> None:
        """Ignore the counts of finished images."""

    def workers(self, alive: int) -> None:
        """Ignore the number of active workers."""


def reshard(data: Path, out: Path, count: int) -> list[ShardInfo]:
    """Write evenly drawn samples of a dataset as shards of two alternating sizes."""
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
    """Yield the first caption of every sample."""
    for _, raw in read_raw(data):
        record = parse_record(raw.json, where=raw.key)
        yield from (text.text for text in (record.captions or [])[:1])


def measure(recipe: Recipe, shards: Sequence[ShardInfo], source: Path, out: Path, workers: int) -> Run:
    """Annotate the shards with a number of worker processes, and return the measured run."""
    out.mkdir()
    recipe = replace(recipe, params=recipe.params.model_copy(update={"workers": workers, "store": None}))
    jobs = [Job(str(source / shard.path), shard, shard.path, Folder(out)) for shard in shards]
    began = time.perf_counter()
    run_jobs(jobs, recipe, _Nobody())
    wall = time.perf_counter() - began
    markers = [job.marker() or {} for job in jobs]
    count = sum(shard.samples for shard in shards[1:])
    roles, beside = Counter[str](), Counter[str]()
    for marker in markers[1:]:  # the first one includes loading models
        roles.update({name: spent["seconds"] / count for name, spent in marker["roles"].items()})
        beside.update({name: spent / count for name, spent in marker["timings"].items() if name != "annotate"})
    images, seconds = zip(
        *((shard.samples, m["seconds"]) for shard, m in zip(shards, markers, strict=True)), strict=True
    )
    return Run(workers, wall, images, seconds, dict(roles), dict(beside))


def photo_decode_s(rounds: int = 20) -> float:
    """Return the median seconds to decode a photo of 640 x 480 pixels on one core."""
    small = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encode_jpeg(small.repeat(10, axis=0).repeat(10, axis=1), quality=90)
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        decode_image(data, where="photo")
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def cpu_rows(one: Run, checked: Check, assumed: Mapping[str, Any], rounds: int) -> dict[int, Estimate]:
    """Return estimates for the measured `clip_teacher` by number of cores."""
    workload = _workload(assumed)
    rows = {}
    for cores in assumed["cores"]:
        cluster = replace(_cluster(cores, assumed), startup_s=checked.startup_s)
        estimate = bootstrap(one.images[1:], one.seconds[1:], workload, cluster, rounds)
        rows[cores] = estimate.widened(checked.bias)
    return rows


def gpu_rows(
    overhead: ShardCost, decode_s: float, assumed: Mapping[str, Any], rounds: int
) -> dict[tuple[str, int], Estimate]:
    """Return estimates from published times of GPU roles, by recipe and number of GPUs."""
    workload, rows = _workload(assumed), {}
    for recipe, roles in assumed["recipes"].items():
        ranges = [assumed["roles"][role]["seconds"] for role in roles]
        low, high = sum(r[0] for r in ranges), sum(r[1] for r in ranges)
        # at best decoding overlaps with the GPU completely, at worst not at all
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
    """Replace the text between the markers of a document."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{path}: expected {BEGIN} and {END}, found no such markers; add them")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure the machine, check the model, extrapolate and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data") / "train")
    parser.add_argument("--base", type=Path, default=Path("artifacts") / "base")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=int, default=800, help="images, annotated twice: by one worker and by two")
    parser.add_argument("--rounds", type=int, default=20, help="simulations per row of the table")
    parser.add_argument("--core-price", type=float, help="price of a core per hour, in any currency; adds a column")
    parser.add_argument("--gpu-price", type=float, help="price of a GPU per hour")
    parser.add_argument("--write", type=Path, help="document with the markers")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    params = load_section(arguments.params, AnnotateParams)
    vocabulary = mine(captions(arguments.data), params.min_concept_count, params.held_out)
    recipe = Recipe(params, arguments.base, vocabulary)
    assumed = YAML(typ="safe").load(COSTS.read_text(encoding="utf-8"))
    figures = stored_figures()
    assumed["roles"] = with_measured(assumed["roles"], figures)
    origin = (
        "times of GPU roles, measured or published"
        if "cuda" in figures
        else ("published times of GPU roles (not measured here)")
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "shards").mkdir()
        shards = reshard(arguments.data, root / "shards", arguments.images)
        one, two = (measure(recipe, shards, root / "shards", root / f"out{n}", workers=n) for n in (1, 2))
    checked = check(one, two)
    overhead = ShardCost(sum(one.beside.values()), checked.cost.per_shard_s)
    cpu = cpu_rows(one, checked, assumed, arguments.rounds)
    gpu = gpu_rows(overhead, photo_decode_s(), assumed, arguments.rounds)
    images = f"{assumed['workload']['images'] / 1e6:.0f} million images"
    text = "\n\n".join(
        [
            tables.checked(one, checked, f"{threads()} cores ({platform.machine()})"),
            f"{images} with `clip_teacher` as measured (96 px scenes, the demo's tower):",
            tables.by_cores(cpu, arguments.core_price),
            f"{images} with {origin}:",
            tables.by_recipe(gpu, arguments.gpu_price),
            tables.sources(assumed["roles"]),
        ]
    )
    if arguments.write is not None:
        write(arguments.write, text)
    print(json.dumps({"one": asdict(one), "two": asdict(two), "check": asdict(checked)}) if arguments.json else text)


if __name__ == "__main__":
    main()
