"""The demo data set: scenes composed from named sprites on named backgrounds.

`train` holds images with an alt text and nothing else, as the web would give them. `benchmark` holds other scenes and
single objects with their whole truth: captions, tags, boxes, masks and stuff.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from umgclip import __version__
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import atomic_file, fresh_folder, sha256_json
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import (
    MANIFEST,
    ClassList,
    MadeBy,
    Manifest,
    ShardInfo,
    describe_shard,
    read_manifest,
    write_manifest,
)
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import DataParams
from umgclip.params.section import IMPORTS_ONLY
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.sources.demo import art
from umgclip.sources.demo.classes import STUFF, Thing, things

LICENSE = "CC BY-SA 4.0 (contains OpenMoji)"
_MIN_VISIBLE = 0.6  # share of a sprite that later sprites must leave visible
_STREAMS = {"train": 1, "scenes": 2, "singles": 3}  # random streams, so that split sizes are independent


@dataclass(frozen=True)
class Scene:
    """A composed image and its truth; a mask holds the visible pixels of one thing."""

    pixels: UInt8[np.ndarray, "side side 3"]
    things: list[Thing]
    masks: list[Bool[np.ndarray, "side side"]]
    stuff: str
    caption: str


def compose(kinds: list[Thing], params: DataParams, rng: np.random.Generator) -> Scene:
    """Draw one scene with the given things, in order from back to front."""
    side = params.image_px
    stuff = str(rng.choice(STUFF))
    canvas = art.background(stuff, side, rng).astype(np.float32) / 255
    low, high = (0.42, 0.82) if len(kinds) == 1 else (0.34, 0.62 - 0.04 * len(kinds))
    owned: list[np.ndarray] = []
    drawn: list[Thing] = []
    for kind in kinds:
        for _ in range(12):  # attempts until enough of every sprite stays visible
            size = int(rng.uniform(low, high) * side)
            margin = size * 0.46
            centre = (rng.uniform(margin, side - margin), rng.uniform(margin, side - margin))
            angle, flip = rng.uniform(-25, 25), rng.random() < 0.5
            layer = art.place(kind.emoji_name, size, centre, angle, bool(flip), side)
            mask = layer[..., 3] >= 0.5
            if all((old & ~mask).sum() >= _MIN_VISIBLE * max(old.sum(), 1) for old in owned):
                canvas, mask = art.over(canvas, layer)
                owned = [old & ~mask for old in owned] + [mask]
                drawn.append(kind)
                break
    pixels = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return Scene(pixels, drawn, owned, stuff, _caption([k.name for k in drawn], stuff, params, rng))


def _caption(names: list[str], stuff: str, params: DataParams, rng: np.random.Generator) -> str:
    order = [names[i] for i in rng.permutation(len(names))]
    phrases = [("an " if name[0] in "aeiou" else "a ") + name for name in order]
    listed = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    named = rng.random() < params.background_named
    return f"{listed} on {stuff}" if named else listed


def _pick(kinds: list[Thing], count: int, rng: np.random.Generator) -> list[Thing]:
    return [kinds[i] for i in rng.choice(len(kinds), size=count, replace=False)]


def _record(scene: Scene, key: str, image: bytes, dataset: str, *, truth: bool) -> ImageRecord:
    source = Source(dataset=dataset, license=LICENSE)
    side = scene.pixels.shape[0]
    digest = hashlib.sha256(image).hexdigest()
    base = {"key": key, "width": side, "height": side, "sha256": digest, "source": source}
    if not truth:
        return ImageRecord(**base, captions=[Text(text=scene.caption, source="alt")])
    names = [*(kind.name for kind in scene.things), scene.stuff]
    return ImageRecord(
        **base,
        captions=[Text(text=scene.caption, source="human")],
        tags=[Text(text=name, source="human") for name in names],
        regions=true_regions(scene),
    )


def true_regions(scene: Scene) -> list[Region]:
    """Return a region for every thing of a scene, and last one for the background that stays visible."""
    regions = [
        Region(
            id=f"{index}",
            box_xyxy=mask_ops.box_of(mask),
            mask=mask_ops.encode(mask),
            captions=[Text(text=("an " if kind.name[0] in "aeiou" else "a ") + kind.name, source="human")],
            tags=[Text(text=kind.name, source="human")],
        )
        for index, (kind, mask) in enumerate(zip(scene.things, scene.masks, strict=True))
    ]
    ground = ~np.any(scene.masks, axis=0)
    regions.append(
        Region(
            id=f"{len(regions)}",
            box_xyxy=mask_ops.box_of(ground),
            mask=mask_ops.encode(ground),
            is_stuff=True,
            captions=[],
            tags=[Text(text=scene.stuff, source="human")],
        )
    )
    return regions


def training_scene(params: DataParams, index: int) -> Scene:
    """Draw scene `index` of the training split with its truth, which the split does not store: for measuring only."""
    return _draw_training(params, np.random.default_rng([params.seed, _STREAMS["train"], index]))


def _draw_training(params: DataParams, rng: np.random.Generator) -> Scene:
    single = rng.random() < params.single_share
    count = 1 if single else int(rng.integers(2, params.max_things + 1))
    return compose(_pick(things(), count, rng), params, rng)


Draw = Callable[[int, np.random.Generator], Scene]


def _write_split(
    folder: Path, name: str, count: int, draw: Draw, params: DataParams, advance: Callable[[int], None]
) -> list[ShardInfo]:
    truth = name != "train"  # training data holds only images and alt texts
    shards: list[ShardInfo] = []
    for number, start in enumerate(range(0, count, params.shard_samples)):
        path = folder / f"{name}-{number:06d}.tar"
        with atomic_file(path) as temporary:
            writer = ShardWriter(temporary)
            for index in range(start, min(start + params.shard_samples, count)):
                rng = np.random.default_rng([params.seed, _STREAMS[name], index])
                scene = draw(index, rng)
                image = encode_jpeg(scene.pixels, params.jpeg_quality)
                key = hashlib.sha256(image).hexdigest()[:16]
                record = _record(scene, key, image, f"demo/{name}", truth=truth)
                writer.write(RawSample(key, image, "jpg", record.to_json()))
                advance(1)
            writer.close()
        shards.append(describe_shard(path, writer.samples))
    return shards


def _manifest(params: DataParams, shards: Iterable[ShardInfo], classes: ClassList | None) -> Manifest:
    made_by = MadeBy(stage="data", params_sha256=sha256_json(params.decisive(IMPORTS_ONLY)), code_version=__version__)
    notes = {"license": LICENSE}
    return Manifest(made_by=made_by, shards=list(shards), classes=classes, notes=notes)


def is_demo(folder: Path, stage: str = "data") -> bool:
    """Return whether a folder holds a complete demo data set, or another of `stage`, and nothing else."""
    if {entry.name for entry in folder.iterdir()} != {"train", "benchmark"}:
        return False
    for split in (folder / "train", folder / "benchmark"):
        try:
            manifest = read_manifest(split)
        except DataError:
            return False
        files = {MANIFEST, *(shard.path for shard in manifest.shards)}
        if manifest.made_by.stage != stage or {entry.name for entry in split.iterdir()} != files:
            return False
    return True


def write_demo(params: DataParams, out: Path, *, advance: Callable[[int], None] = lambda _: None) -> dict[str, int]:
    """Compose `out/train` and `out/benchmark`; the same params and package versions give the same bytes.

    Args:
        params: the section `data` of `params.yaml`.
        out: the folder to make; an old one is replaced.
        advance: called with the number of scenes done, for a progress bar.

    Returns:
        Samples per split.

    Raises:
        InputError: `out` holds something else.
        OutputError: the folder cannot be written.
    """
    kinds = things()

    def draw_train(_: int, rng: np.random.Generator) -> Scene:
        return _draw_training(params, rng)

    def draw_scene(_: int, rng: np.random.Generator) -> Scene:
        return compose(_pick(kinds, int(rng.integers(1, params.max_things + 1)), rng), params, rng)

    def draw_single(index: int, rng: np.random.Generator) -> Scene:
        return compose([kinds[index % len(kinds)]], params, rng)

    with fresh_folder(out, is_demo) as working:
        train, benchmark = working / "train", working / "benchmark"
        shards = _write_split(train, "train", params.train_scenes, draw_train, params, advance)
        write_manifest(train, _manifest(params, shards, None))
        scenes = _write_split(benchmark, "scenes", params.benchmark_scenes, draw_scene, params, advance)
        singles = _write_split(benchmark, "singles", params.benchmark_singles, draw_single, params, advance)
        classes = ClassList(
            things=[kind.name for kind in kinds],
            stuff=list(STUFF),
            held_out=[kind.name for kind in kinds if kind.held_out],
        )
        write_manifest(benchmark, _manifest(params, [*scenes, *singles], classes))
    return {
        "train": params.train_scenes,
        "benchmark scenes": params.benchmark_scenes,
        "benchmark singles": params.benchmark_singles,
    }
