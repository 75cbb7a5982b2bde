"""The demo data set: scenes composed from named sprites on named backgrounds.

`train` holds images with an alt text and nothing else, as the web would give them. `benchmark` holds other scenes and
single objects with their whole truth: captions, tags, boxes, masks and stuff.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip import __version__
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import atomic_file, replaced_folder, sha256_json
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
class SceneArt:
    """The things and backgrounds that scenes are drawn from, and where the pictures of these come from.

    Attributes:
        kinds: the things.
        stuff: names of the backgrounds.
        sprite: draws a thing: a square of premultiplied RGBA from 0 to 1.
        background: draws a background by name, in a square of some pixels.
        dataset: the source that records name, without the split.
        license: of the scenes.
        fit: changes a placed thing, a premultiplied layer, to suit the scene so far; None: nothing does.
    """

    kinds: Sequence[Thing]
    stuff: Sequence[str]
    sprite: Callable[[Thing, np.random.Generator], Float[np.ndarray, "s s 4"]]
    background: Callable[[str, int, np.random.Generator], UInt8[np.ndarray, "side side 3"]]
    dataset: str
    license: str
    fit: Callable[[Float[np.ndarray, "side side 3"], Float[np.ndarray, "side side 4"]], np.ndarray] | None = None


EMOJI = SceneArt(things(), STUFF, lambda thing, _: art.sprite(thing.emoji_name), art.background, "demo", LICENSE)


@dataclass(frozen=True)
class Scene:
    """A composed image and its truth; a mask holds the visible pixels of one thing."""

    pixels: UInt8[np.ndarray, "side side 3"]
    things: list[Thing]
    masks: list[Bool[np.ndarray, "side side"]]
    stuff: str
    caption: str


def compose(kinds: Sequence[Thing], params: DataParams, rng: np.random.Generator, pictures: SceneArt = EMOJI) -> Scene:
    """Draw one scene with the given things, in order from back to front."""
    side = params.image_px
    stuff = str(rng.choice(pictures.stuff))
    canvas = pictures.background(stuff, side, rng).astype(np.float32) / 255
    low, high = (0.42, 0.82) if len(kinds) == 1 else (0.34, 0.62 - 0.04 * len(kinds))
    owned: list[np.ndarray] = []
    drawn: list[Thing] = []
    for kind in kinds:
        sprite = pictures.sprite(kind, rng)
        for _ in range(12):  # attempts until enough of every sprite stays visible
            size = int(rng.uniform(low, high) * side)
            margin = size * 0.46
            centre = (rng.uniform(margin, side - margin), rng.uniform(margin, side - margin))
            angle, flip = rng.uniform(-25, 25), rng.random() < 0.5
            layer = art.place_sprite(sprite, size, centre, angle, bool(flip), side)
            mask = layer[..., 3] >= 0.5
            if all((old & ~mask).sum() >= _MIN_VISIBLE * max(old.sum(), 1) for old in owned):
                canvas, mask = art.over(canvas, layer if pictures.fit is None else pictures.fit(canvas, layer))
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


def _pick(kinds: Sequence[Thing], count: int, rng: np.random.Generator) -> list[Thing]:
    return [kinds[i] for i in rng.choice(len(kinds), size=count, replace=False)]


def _record(scene: Scene, key: str, image: bytes, source: Source, *, truth: bool) -> ImageRecord:
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


def training_scene(params: DataParams, index: int, pictures: SceneArt = EMOJI) -> Scene:
    """Draw scene `index` of the training split with its truth, which the split does not store: for measuring only."""
    return _draw_training(params, np.random.default_rng([params.seed, _STREAMS["train"], index]), pictures)


def _draw_training(params: DataParams, rng: np.random.Generator, pictures: SceneArt) -> Scene:
    single = rng.random() < params.single_share
    count = 1 if single else int(rng.integers(2, params.max_things + 1))
    return compose(_pick(pictures.kinds, count, rng), params, rng, pictures)


def _draw(name: str, index: int, params: DataParams, rng: np.random.Generator, pictures: SceneArt) -> Scene:
    """Draw scene `index` of a split."""
    if name == "train":
        return _draw_training(params, rng, pictures)
    if name == "singles":
        return compose([pictures.kinds[index % len(pictures.kinds)]], params, rng, pictures)
    return compose(_pick(pictures.kinds, int(rng.integers(1, params.max_things + 1)), rng), params, rng, pictures)


def _write_split(
    folder: Path, name: str, params: DataParams, pictures: SceneArt, advance: Callable[[int], None]
) -> list[ShardInfo]:
    counts = {"train": params.train_scenes, "scenes": params.benchmark_scenes, "singles": params.benchmark_singles}
    count, source = counts[name], Source(dataset=f"{pictures.dataset}/{name}", license=pictures.license)
    truth = name != "train"  # training data holds only images and alt texts
    shards: list[ShardInfo] = []
    for number, start in enumerate(range(0, count, params.shard_samples)):
        path = folder / f"{name}-{number:06d}.tar"
        with atomic_file(path) as temporary:
            writer = ShardWriter(temporary)
            for index in range(start, min(start + params.shard_samples, count)):
                rng = np.random.default_rng([params.seed, _STREAMS[name], index])
                scene = _draw(name, index, params, rng, pictures)
                image = encode_jpeg(scene.pixels, params.jpeg_quality)
                key = hashlib.sha256(image).hexdigest()[:16]
                writer.write(RawSample(key, image, "jpg", _record(scene, key, image, source, truth=truth).to_json()))
                advance(1)
            writer.close()
        shards.append(describe_shard(path, writer.samples))
    return shards


def _manifest(
    params: DataParams, shards: Iterable[ShardInfo], classes: ClassList | None, license_name: str
) -> Manifest:
    made_by = MadeBy(stage="data", params_sha256=sha256_json(params.decisive(IMPORTS_ONLY)), code_version=__version__)
    return Manifest(made_by=made_by, shards=list(shards), classes=classes, notes={"license": license_name})


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
    return write_scenes(params, out, EMOJI, EMOJI, advance=advance)


def write_scenes(
    params: DataParams, out: Path, train_art: SceneArt, benchmark_art: SceneArt, *,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:  # fmt: skip
    """Compose `out/train` and `out/benchmark` from any pictures, as `write_demo` does from the demo's.

    Args:
        params: the section `data`.
        out: the folder to make; an old one is replaced.
        train_art: pictures of the training scenes.
        benchmark_art: pictures of the benchmark; its things and backgrounds are the benchmark's classes.
        advance: called with the number of scenes done.

    Raises:
        InputError: `out` holds something else.
        OutputError: the folder cannot be written.
    """
    with replaced_folder(out, ours=is_demo) as working:
        train, benchmark = working / "train", working / "benchmark"
        shards = _write_split(train, "train", params, train_art, advance)
        write_manifest(train, _manifest(params, shards, None, train_art.license))
        shards = [
            s for name in ("scenes", "singles") for s in _write_split(benchmark, name, params, benchmark_art, advance)
        ]
        classes = ClassList(
            things=[kind.name for kind in benchmark_art.kinds],
            stuff=list(benchmark_art.stuff),
            held_out=[kind.name for kind in benchmark_art.kinds if kind.held_out],
        )
        write_manifest(benchmark, _manifest(params, shards, classes, benchmark_art.license))
    return {
        "train": params.train_scenes,
        "benchmark scenes": params.benchmark_scenes,
        "benchmark singles": params.benchmark_singles,
    }
