"""Measure the annotation engines: scaling of two Ray workers, overhead over a plain loop, and memory growth.

    python benchmarks/annotate.py [scaling] [overhead] [memory] [--json] [--images 2000] [--many 10000]
    python benchmarks/annotate.py photographs --images 32 [--model ViT-B-16] [--share /usr/share/tuxpaint]

scaling: images/s with two Ray workers over images/s with one, measured between a fifth and four fifths of the images,
to exclude the start of Ray, the loading of models and the last shards, which leave a worker idle. For comparison, the
machine's ceiling: two concurrent plain loops over one, without an engine, measured over the same share of their images.
The four alternate within each of many short rounds, so that other work on the machine meets them alike.
overhead: the whole stage with one process of the local engine, with answers stored, over a loop that decodes, annotates
and writes tars, each from the start of a process to its end; in wall time, and in processor time, which is less
sensitive to other work on the machine.
photographs: seconds a photograph of 500 x 375 (composed as by `photographs.py`) with random weights of a real model as
teacher and all cores; and the processor time of one process over that of its forward passes alone.
memory: peak of the sum of the processes' proportional set sizes at 1,000 images and at `--many`, with a small tower.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from umgclip.annotate import stage
from umgclip.data.stream import decode, read_raw
from umgclip.data.vocabulary import mine
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.params import AnnotateParams, DataParams, LabelParams, TowerParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo

_SMALL = TowerParams(width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16)
_SHARD = 50
_ASKED = {
    "scaling": "at least the ceiling",
    "overhead": "at most 1.03 and 1.0",
    "memory": "at most 1.10",
    "photographs": "at most 3",
}
_PHOTOGRAPH_HW = (375, 500)
Row = dict[str, Any]


def _params(**changes: Any) -> AnnotateParams:  # noqa: ANN401 - fields of any type
    """Return params with which every region is labelled and drawn, as if the base were certain of all.

    The estimate of the labels' precision, which the plain loop does not make either, is left out.
    """
    label = LabelParams(threshold=0.0, precision=None)
    return AnnotateParams(min_concept_count=1, max_failed=0.0, label=label, **changes)


def _write(root: Path, images: int, tower: TowerParams) -> None:
    """Write a dataset of demo scenes and a base with random weights."""
    import torch

    from umgclip.model.clip import files

    write_demo(
        DataParams(train_scenes=images, benchmark_scenes=1, benchmark_singles=1, shard_samples=_SHARD), root / "data"
    )
    torch.manual_seed(0)
    (root / "base").mkdir()
    config = files.tower_config(tower)
    files.save(root / "base", files.build(config), config)


def _multiply(root: Path, times: int) -> None:
    """Copy every training shard with new keys, which is a cheap way to make many images."""
    train = root / "data" / "train"
    manifest = read_manifest(train)
    shards = list(manifest.shards)
    for copy in range(1, times):
        for shard in manifest.shards:
            path = train / f"copy-{copy:03d}-{shard.path}"
            writer = ShardWriter(path)
            for raw in read_shard(train / shard.path):
                key = f"{raw.key}-{copy:03d}"
                record = parse_record(raw.json, where=raw.key).model_copy(update={"key": key})
                writer.write(RawSample(key, raw.image, raw.extension, record.to_json()))
            writer.close()
            shards.append(describe_shard(path, shard.samples))
    write_manifest(train, manifest.model_copy(update={"shards": shards}))


def _plain(root: Path, params: AnnotateParams, advance: Callable[[int], None] = lambda _: None) -> None:
    """Do the work that every engine needs: decode, annotate, write; call `advance` with finished images."""
    import torch  # the stage's main process does not need it

    from umgclip.annotate.annotator import build_annotator

    torch.set_num_threads(1)
    train = root / "data" / "train"
    captions = (parse_record(raw.json, where=raw.key).captions for _, raw in read_raw(train))
    vocabulary = mine(
        (captions_of[0].text for captions_of in captions if captions_of), params.min_concept_count, params.held_out
    )
    annotator = build_annotator(params, root / "base", vocabulary)
    (root / "plain").mkdir(exist_ok=True)
    for shard in read_manifest(train).shards:
        writer = ShardWriter(root / "plain" / shard.path)
        raws = list(read_shard(train / shard.path))
        for start in range(0, len(raws), params.batch):
            batch = raws[start : start + params.batch]
            for raw, annotated in zip(batch, annotator([decode(raw, shard.path) for raw in batch]), strict=True):
                buffer = BytesIO()
                np.save(buffer, annotated.embeddings)
                stored = RawSample(raw.key, raw.image, raw.extension, annotated.record.to_json(), buffer.getvalue())
                writer.write(stored)
            advance(len(batch))
        writer.close()


class _Watch:
    """A record of the number of finished images over time."""

    def __init__(self) -> None:
        self._told = [(time.perf_counter(), 0)]

    def advance(self, images: int) -> None:
        self._told.append((time.perf_counter(), self._told[-1][1] + images))

    def rate(self) -> float | None:
        """Return images/s between a fifth and four fifths of the images."""
        total = self._told[-1][1]
        begin = next(one for one in self._told if one[1] >= 0.2 * total)
        end = next(one for one in self._told if one[1] >= 0.8 * total)
        return (end[1] - begin[1]) / (end[0] - begin[0]) if end[0] > begin[0] else None


def _loop(root: Path, params: AnnotateParams) -> Row:
    """Run the plain loop on one processor, as a worker does, and return its rate."""
    import cv2  # as torch above

    cv2.setNumThreads(1)
    watch = _Watch()
    _plain(root, params, watch.advance)
    return {"images_per_s": watch.rate()}


def _stage(root: Path, params: AnnotateParams) -> Row:
    """Run the stage and return its rate."""
    watch = _Watch()
    inputs = stage.AnnotateInputs(root / "data", root / "base", root / "metrics.json")
    stage.run(params, inputs, root / "out", advance=watch.advance)
    return {"images_per_s": watch.rate()}


def _child(what: str, root: Path, params: AnnotateParams, peak: bool = False) -> Row:
    """Run `plain`, `loop` or `stage` in a process; return its own output, seconds, and peak memory if requested."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--child", what, str(root), params.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter
        watch = _Peak(process.pid) if peak else None
        output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{what} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        **json.loads(output),
        "wall_s": time.perf_counter() - began,
        "cpu_s": used,
        "peak_mb": watch.mb if watch else None,
    }


class _Peak(threading.Thread):
    """The peak memory of a process and its descendants in MB, with shared pages counted once (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.mb, self._process = 0.0, psutil.Process(pid)
        self.start()

    def run(self) -> None:
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            self.mb = max(self.mb, sum(map(_pss, self._tree())) / 2**20)
            time.sleep(0.25)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def scaling(root: Path, images: int, rounds: int) -> list[Row]:
    """Measure two Ray workers over one, and two plain loops over one, in alternating rounds."""
    _write(root, images, TowerParams())
    rates: dict[int, list[float]] = {1: [], 2: []}
    loops: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            params = _params(engine="ray", ray={"workers": workers})
            rates[workers].append(_child("stage", root, params)["images_per_s"])
            loops[workers].append(_side_by_side(root, workers))
    ratios, ceilings = (
        [two / one for one, two in zip(measured[1], measured[2], strict=True)] for measured in (rates, loops)
    )
    ratio, ceiling = statistics.median(ratios), statistics.median(ceilings)
    shares = [one / other for one, other in zip(ratios, ceilings, strict=True)]
    return (
        [
            {"what": f"scaling: Ray, {n} worker(s), images/s", "value": statistics.median(measured)}
            for n, measured in rates.items()
        ]
        + [
            {"what": f"scaling: {n} plain loop(s), images/s", "value": statistics.median(measured)}
            for n, measured in loops.items()
        ]
        + [
            {"what": "scaling: 2 over 1", "value": ratio, "asked": _ASKED["scaling"]},
            {"what": "scaling: ceiling (two plain loops side by side over one)", "value": ceiling},
            {"what": "scaling: share of the ceiling", "value": statistics.median(shares)},
            {"what": "scaling: least share of the ceiling in a round", "value": min(shares)},
        ]
    )


def _side_by_side(root: Path, loops: int) -> float:
    """Return the total images/s of several plain loops, each with its own process and output."""
    homes = [root / f"loop-{number}" for number in range(loops)]
    for home in homes:
        home.mkdir(exist_ok=True)
        for name in ("data", "base"):
            if not (home / name).exists():
                (home / name).symlink_to(root / name)
    with ThreadPoolExecutor(loops) as pool:
        return sum(one["images_per_s"] for one in pool.map(lambda home: _child("loop", home, _params()), homes))


def overhead(root: Path, images: int, rounds: int) -> list[Row]:
    """Measure the stage over the plain loop, alternating."""
    _write(root, images, TowerParams())
    pairs = [
        (
            _child("plain", root, _params()),
            _child("stage", root, _params(workers=1, store=str(root / f"answers-{number}"))),  # as params.yaml has it
        )
        for number in range(rounds)
    ]
    rows: list[Row] = []
    for name, unit in (("plain", 0), ("stage", 1)):
        for clock in ("wall_s", "cpu_s"):
            value = statistics.median(pair[unit][clock] for pair in pairs)
            rows.append({"what": f"overhead: {name}, {images} images, {clock}", "value": value})
    for clock in ("wall_s", "cpu_s"):
        ratio = statistics.median(ours[clock] / plain[clock] for plain, ours in pairs)
        rows.append({"what": f"overhead: stage over plain, {clock}", "value": ratio, "asked": _ASKED["overhead"]})
    return rows


def photographs(root: Path, images: int, model: str, share: Path) -> list[Row]:
    """Measure the stage on photographs, and one process over its forward passes."""
    import open_clip
    import torch

    from umgclip.model.clip import files

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script's own folder is on the path
    from benchmarks.photographs import write_photographs

    scenes = DataParams(
        train_scenes=images, benchmark_scenes=1, benchmark_singles=1, shard_samples=8, image_px=_PHOTOGRAPH_HW[1]
    )
    write_photographs(scenes, root / "data", share=share)
    _cut(root / "data" / "train")
    torch.manual_seed(0)
    (root / "base").mkdir()
    config = open_clip.get_model_config(model)
    files.save(root / "base", files.build(config), config)
    whole = _child("stage", root, _params())
    alone = _child("forwards", root, _params())
    ratio = alone["annotate_cpu_s"] / alone["forwards_cpu_s"]
    return [
        {
            "what": "photographs: forward passes an image",
            "value": alone["crops"] / alone["images"],
        },
        {"what": "photographs: seconds an image, all cores, with the start", "value": whole["wall_s"] / images},
        {
            "what": "photographs: seconds an image, all cores",
            "value": 1 / whole["images_per_s"],
            "asked": _ASKED["photographs"],
        },
        {"what": "photographs: seconds of one core an image", "value": alone["annotate_cpu_s"] / alone["images"]},
        {"what": "photographs: one process over its forward passes", "value": ratio},
    ]


def _cut(train: Path) -> None:
    """Cut square scenes to the sides of photographs."""
    manifest = read_manifest(train)
    shards = []
    for shard in manifest.shards:
        raws = list(read_shard(train / shard.path))
        writer = ShardWriter(train / shard.path)
        for raw in raws:
            sample = decode(raw, shard.path)
            (height, width), buffer = _PHOTOGRAPH_HW, BytesIO()
            top = (sample.pixels.shape[0] - height) // 2
            Image.fromarray(sample.pixels[top : top + height]).save(buffer, "JPEG", quality=95)
            record = sample.record.model_copy(update={"width": width, "height": height})
            writer.write(RawSample(raw.key, buffer.getvalue(), "jpg", record.to_json()))
        writer.close()
        shards.append(describe_shard(train / shard.path, shard.samples))
    write_manifest(train, manifest.model_copy(update={"shards": shards}))


def _forwards(root: Path, params: AnnotateParams) -> Row:
    """Annotate in one thread; return the processor time, and the part of the forward passes of images and crops."""
    from umgclip.model.clip.reader import ClipReader

    spent = {"crops": 0.0, "forwards_cpu_s": 0.0}
    encode = ClipReader.encode_global

    def timed(self: ClipReader, pixels: Any) -> Any:  # noqa: ANN401 - a tensor
        began = time.process_time()
        embedded = encode(self, pixels)
        spent["forwards_cpu_s"] += time.process_time() - began
        spent["crops"] += len(pixels)
        return embedded

    marks: list[Row] = []

    def advance(images: int) -> None:
        marks.append({**spent, "annotate_cpu_s": time.process_time(), "images": images})

    ClipReader.encode_global = timed  # type: ignore[method-assign]
    _plain(root, params, advance)
    # the first batch comes after the loading of the model, and warms it up
    done = {name: marks[-1][name] - marks[0][name] for name in ("crops", "forwards_cpu_s", "annotate_cpu_s")}
    return {**done, "images": sum(mark["images"] for mark in marks[1:])}


def memory(root: Path, many: int) -> list[Row]:
    """Measure the stage's peak memory with two processes, at 1,000 images and at `many`."""
    few, rows = min(1000, many // 2), []
    for images in (few, many):
        folder = root / str(images)
        folder.mkdir()
        _write(folder, few, _SMALL)
        _multiply(folder, images // few)
        peak = _child("stage", folder, _params(workers=2, store=str(folder / "answers")), peak=True)["peak_mb"]
        rows.append({"what": f"memory: {images // few * few} images, peak MB", "value": peak})
    ratio = rows[1]["value"] / rows[0]["value"]
    return [*rows, {"what": "memory: many over few", "value": ratio, "asked": _ASKED["memory"]}]


def main() -> None:
    """Run the chosen measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="scaling, overhead, memory, photographs; default: the first three")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of a table")
    parser.add_argument("--images", type=int, default=2000, help="number of images for scaling and overhead")
    parser.add_argument("--many", type=int, default=10000, help="images of memory's larger run")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of scaling and overhead; reports the median")
    parser.add_argument("--model", default="ViT-B-16", help="teacher of photographs, by its name in open_clip")
    parser.add_argument(
        "--share", type=Path, default=Path("/usr/share/tuxpaint"), help="where Tux Paint's pictures are"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, root, given = arguments.child
        runs: dict[str, Callable[..., Row | None]] = {
            "plain": _plain, "loop": _loop, "stage": _stage, "forwards": _forwards,
        }  # fmt: skip
        sys.stdout.write(json.dumps(runs[what](Path(root), AnnotateParams.model_validate_json(given)) or {}) + "\n")
        return
    rows: list[Row] = []
    for what in arguments.what or ["scaling", "overhead", "memory"]:
        with tempfile.TemporaryDirectory() as folder:
            if what == "scaling":
                rows += scaling(Path(folder), arguments.images, arguments.rounds)
            elif what == "overhead":
                rows += overhead(Path(folder), arguments.images, arguments.rounds)
            elif what == "memory":
                rows += memory(Path(folder), arguments.many)
            elif what == "photographs":
                rows += photographs(Path(folder), arguments.images, arguments.model, arguments.share)
            else:
                parser.error(f"expected scaling, overhead, memory or photographs, got {what}")
    if arguments.json:
        sys.stdout.write(json.dumps({row["what"]: round(row["value"], 3) for row in rows}) + "\n")
        return
    for row in rows:
        sys.stdout.write(f"{row['what']:<60} {row['value']:>10.3f}   {row.get('asked', '')}\n")


if __name__ == "__main__":
    main()
