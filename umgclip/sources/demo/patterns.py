"""Visual-pattern pairs in the style of the demo: two images that differ in one thing, with a text about each.

Five patterns. `Object` and `Background` are controls: the captions of the demo name objects and backgrounds, so a model
that learnt from them can tell these pairs apart. `Colour`, `Count` and `Left and right` cannot be told apart from those
captions, which hold no number, no "left", and colours in names alone ("green apple"); `train`, whose captions are texts
of other pairs of the same patterns, teaches them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from umgclip import __version__
from umgclip.errors import InputError
from umgclip.io.atomic import atomic_file, replaced_folder, sha256_json
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, ShardInfo, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.clip.prompts import with_article
from umgclip.params import DataParams
from umgclip.params.section import IMPORTS_ONLY
from umgclip.records import ImageRecord, PairSide, Source, Text
from umgclip.sources.demo import art
from umgclip.sources.demo.classes import STUFF, Thing, things
from umgclip.sources.demo.scenes import LICENSE, is_demo

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.14, 0.16), "blue": (0.16, 0.32, 0.86), "green": (0.16, 0.62, 0.22), "yellow": (0.95, 0.82, 0.12),
}  # fmt: skip
NUMBERS = ("one", "two", "three", "four")
# things whose plural is the name and "s"
COUNTED = (
    "dog", "cat", "rabbit", "bear", "panda", "lion", "pig", "frog", "penguin", "duck", "lemon", "banana", "carrot",
    "cookie", "tractor", "bicycle", "rocket", "guitar", "drum", "hammer", "umbrella", "balloon",
)  # fmt: skip
_STAGE = "patterns"  # in the manifest, so that neither the demo nor anything else is taken for pairs
_STREAMS = {"benchmark": 4, "train": 5}  # random streams beside those of the demo's scenes
_CELLS = ((0.28, 0.28), (0.72, 0.72), (0.72, 0.28), (0.28, 0.72))
_MIN_LIGHT = 0.3  # mean brightness of a sprite that can be painted
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Side:
    """One image of a pair, and its text."""

    pixels: UInt8[np.ndarray, "side side 3"]
    text: str


@dataclass(frozen=True)
class _Placed:
    """A sprite on a scene: where it is, as shares of the side, how it is turned, and the colour it is painted in."""

    thing: Thing
    size: float
    centre: tuple[float, float]
    angle_deg: float
    flip: bool
    colour: str | None = None


def _sprite(thing: Thing, size: float, centre: tuple[float, float], rng: np.random.Generator) -> _Placed:
    jitter = rng.uniform(-0.03, 0.03, 2)
    x, y = centre[0] + float(jitter[0]), centre[1] + float(jitter[1])
    return _Placed(thing, size, (x, y), float(rng.uniform(-15, 15)), bool(rng.random() < 0.5))


def _changed(placed: _Placed, **changes: object) -> _Placed:
    return _Placed(**{**placed.__dict__, **changes})


def _painted(layer: Float[np.ndarray, "h w 4"], colour: str) -> Float[np.ndarray, "h w 4"]:
    """Paint a premultiplied sprite in shades of one colour; its outlines stay dark."""
    shade = (layer[..., :3] @ _LUMA)[..., None]
    painted = layer.copy()
    painted[..., :3] = np.clip(shade * np.array(COLOURS[colour], np.float32) * 1.5, 0, layer[..., 3:])
    return painted


def _scene(stuff: str, sprites: Iterable[_Placed], side: int, seed: int) -> UInt8[np.ndarray, "side side 3"]:
    """Draw sprites on a background, which the same seed draws the same."""
    canvas = art.background(stuff, side, np.random.default_rng(seed)).astype(np.float32) / 255
    for each in sprites:
        centre = (each.centre[0] * side, each.centre[1] * side)
        layer = art.place(each.thing.emoji_name, int(each.size * side), centre, each.angle_deg, each.flip, side)
        canvas, _ = art.over(canvas, layer if each.colour is None else _painted(layer, each.colour))
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)


def _drawn(rng: np.random.Generator, count: int, among: list[Thing]) -> list[Thing]:
    return [among[i] for i in rng.choice(len(among), size=count, replace=False)]


@lru_cache(maxsize=1)
def _paintable() -> list[Thing]:
    """List the things that are bright enough for a colour to show, and that no colour is part of the name of."""
    bright = []
    for thing in things():
        sprite = art.sprite(thing.emoji_name)
        light = (sprite[..., :3] @ _LUMA).sum() / sprite[..., 3].sum()
        if light > _MIN_LIGHT and not set(thing.name.split()) & set(COLOURS):
            bright.append(thing)
    return bright


def _colour(rng: np.random.Generator, side: int) -> tuple[Side, Side]:
    (thing,) = _drawn(rng, 1, _paintable())
    stuff, seed = str(rng.choice(STUFF)), int(rng.integers(1 << 31))
    sprite = _sprite(thing, float(rng.uniform(0.5, 0.7)), (0.5, 0.5), rng)
    names = [str(name) for name in rng.choice(list(COLOURS), size=2, replace=False)]
    first, second = (
        Side(_scene(stuff, [_changed(sprite, colour=name)], side, seed), f"a {name} {thing.name}") for name in names
    )
    return first, second


def _count(rng: np.random.Generator, side: int) -> tuple[Side, Side]:
    (thing,) = _drawn(rng, 1, [thing for thing in things() if thing.name in COUNTED])
    stuff, seed = str(rng.choice(STUFF)), int(rng.integers(1 << 31))
    fewer = int(rng.integers(1, len(NUMBERS)))
    sprites = [_sprite(thing, 0.38, _CELLS[i], rng) for i in rng.permutation(len(_CELLS))]

    def of(count: int) -> Side:
        text = f"one {thing.name}" if count == 1 else f"{NUMBERS[count - 1]} {thing.name}s"
        return Side(_scene(stuff, sprites[:count], side, seed), text)

    return of(fewer), of(fewer + 1)


def _left_and_right(rng: np.random.Generator, side: int) -> tuple[Side, Side]:
    one, other = _drawn(rng, 2, things())
    stuff, seed = str(rng.choice(STUFF)), int(rng.integers(1 << 31))
    size, height = float(rng.uniform(0.38, 0.46)), float(rng.uniform(0.35, 0.65))
    sprites = [_sprite(thing, size, (0.27, height), rng) for thing in (one, other)]
    left = [_changed(each, centre=(0.27, each.centre[1])) for each in sprites]
    right = [_changed(each, centre=(0.73, each.centre[1])) for each in sprites]

    def of(a: int, b: int) -> Side:
        names = [with_article((one, other)[i].name) for i in (a, b)]
        return Side(_scene(stuff, [left[a], right[b]], side, seed), f"{names[0]} to the left of {names[1]}")

    return of(0, 1), of(1, 0)


def _object(rng: np.random.Generator, side: int) -> tuple[Side, Side]:
    same, one, other = _drawn(rng, 3, things())
    stuff, seed = str(rng.choice(STUFF)), int(rng.integers(1 << 31))
    size, height = float(rng.uniform(0.38, 0.46)), float(rng.uniform(0.35, 0.65))
    where = [(0.27, height), (0.73, height)]
    flipped = bool(rng.random() < 0.5)
    common = _sprite(same, size, where[flipped], rng)
    changing = _sprite(one, size, where[not flipped], rng)

    def of(thing: Thing) -> Side:
        sprites = [common, _changed(changing, thing=thing)]
        return Side(_scene(stuff, sprites, side, seed), f"{with_article(same.name)} and {with_article(thing.name)}")

    return of(one), of(other)


def _background(rng: np.random.Generator, side: int) -> tuple[Side, Side]:
    (thing,) = _drawn(rng, 1, things())
    sprite, seed = _sprite(thing, float(rng.uniform(0.5, 0.7)), (0.5, 0.5), rng), int(rng.integers(1 << 31))
    names = [str(name) for name in rng.choice(STUFF, size=2, replace=False)]
    first, second = (
        Side(_scene(name, [sprite], side, seed), f"{with_article(thing.name)} on {name}") for name in names
    )
    return first, second


PATTERNS: dict[str, Callable[[np.random.Generator, int], tuple[Side, Side]]] = {
    "Colour": _colour,
    "Count": _count,
    "Left and right": _left_and_right,
    "Object": _object,
    "Background": _background,
}


def draw_pair(params: DataParams, split: str, pattern: str, index: int) -> tuple[Side, Side]:
    """Draw pair `index` of a pattern; the same parameters and index give the same pair.

    Args:
        params: the section `data`, of which seed and side of an image are used.
        split: `benchmark` or `train`.
        pattern: a key of `PATTERNS`.
        index: number of the pair, from 0.
    """
    number = list(PATTERNS).index(pattern)
    return PATTERNS[pattern](np.random.default_rng([params.seed, _STREAMS[split], number, index]), params.image_px)


def _benchmark_samples(params: DataParams, pairs: int) -> Iterator[RawSample]:
    for pattern in PATTERNS:
        for index in range(pairs):
            name = f"{pattern} {index}"
            for side in draw_pair(params, "benchmark", pattern, index):
                pair = PairSide(id=name, pattern=pattern, text=side.text)
                yield _sample(side, params, "patterns/benchmark", pairs=[pair])


def _train_samples(params: DataParams, scenes: int) -> Iterator[RawSample]:
    """Yield single sides of pairs, the patterns in turns."""
    names = list(PATTERNS)
    for index in range(scenes):
        sides = draw_pair(params, "train", names[index % len(names)], index)
        side = sides[index // len(names) % 2]
        yield _sample(side, params, "patterns/train", captions=[Text(text=side.text, source="alt")])


def _sample(
    side: Side,
    params: DataParams,
    dataset: str,
    captions: list[Text] | None = None,
    pairs: list[PairSide] | None = None,
) -> RawSample:
    image = encode_jpeg(side.pixels, params.jpeg_quality)
    digest = hashlib.sha256(image).hexdigest()
    key, px = digest[:16], params.image_px
    source = Source(dataset=dataset, license=LICENSE)
    record = ImageRecord(key=key, width=px, height=px, sha256=digest, source=source, captions=captions, pairs=pairs)
    return RawSample(key, image, "jpg", record.to_json())


def _write(folder: Path, samples: Iterator[RawSample], params: DataParams, advance: Callable[[int], None]) -> int:
    """Write a dataset of shards; return the number of its samples."""
    shards: list[ShardInfo] = []
    folder.mkdir()
    rest: RawSample | None = next(samples, None)
    while rest is not None:
        path = folder / f"{folder.name}-{len(shards):06d}.tar"
        with atomic_file(path) as temporary:
            writer = ShardWriter(temporary)
            while rest is not None and writer.samples < params.shard_samples:
                writer.write(rest)
                advance(1)
                rest = next(samples, None)
            writer.close()
        shards.append(describe_shard(path, writer.samples))
    made_by = MadeBy(stage=_STAGE, params_sha256=sha256_json(params.decisive(IMPORTS_ONLY)), code_version=__version__)
    manifest = Manifest(made_by=made_by, shards=shards, notes={"license": LICENSE})
    write_manifest(folder, manifest)
    return manifest.samples


is_patterns = partial(is_demo, stage=_STAGE)


def write_patterns(
    params: DataParams, out: Path, pairs: int, scenes: int, *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, int]:
    """Draw `out/benchmark`, pairs of every pattern, and `out/train`, images with texts of the same patterns.

    Args:
        params: the section `data` of `params.yaml`.
        out: the folder to make; older pairs there are replaced.
        pairs: pairs of each pattern.
        scenes: images of `train`.
        advance: called with the number of images done.

    Returns:
        Images per split.

    Raises:
        InputError: `out` holds something else, or a number is below 1.
        OutputError: the folder cannot be written.
    """
    if pairs < 1 or scenes < 1:
        raise InputError(f"pairs, scenes: expected numbers from 1, got {pairs} and {scenes}")
    with replaced_folder(out, ours=is_patterns) as working:
        return {
            "train": _write(working / "train", _train_samples(params, scenes), params, advance),
            "benchmark": _write(working / "benchmark", _benchmark_samples(params, pairs), params, advance),
        }
