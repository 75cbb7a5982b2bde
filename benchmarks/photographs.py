"""Compose a data set of photographs to annotate: objects cut from photographs on photographed grounds.

    python benchmarks/photographs.py out/data [--seed 0] [--train 2800] [--names 150] [--px 160]

The pictures are those that Debian's packages tuxpaint-stamps-default and tuxpaint-data install (`apt-get install
tuxpaint`): nothing is downloaded. By their copyright files both may be used under the GPL, version 2 or later, and so
may the data set. It has the form of the demo: `train` with alt texts alone, `benchmark` with boxes, masks and tags, and
it is made by the same composer. `params.yaml` for it is written beside the data, with every fifth name held out.

A stamp counts as a photograph if its colours are many and neighbouring pixels hardly ever equal. Its name is the last
word of its English description. Where a name has several photographs, one of them is shown by the benchmark alone, so
that `benchmark` asks for objects that no training image shows as well as for those that it does show.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from ruamel.yaml import YAML

from umgclip.errors import InputError
from umgclip.params import DataParams, load_section
from umgclip.sources.demo.art import squared
from umgclip.sources.demo.classes import Thing
from umgclip.sources.demo.scenes import SceneArt, write_scenes

SHARE = Path("/usr/share/tuxpaint")
LICENSE = "GPL-2+ (contains Tux Paint stamps and templates)"
# grounds, as part of a photograph that shows nothing else: left, top, right, bottom as shares
GROUNDS: dict[str, tuple[str, tuple[float, float, float, float]]] = {
    "burnt bark": ("burnt_bark", (0.0, 0.0, 1.0, 0.95)),
    "tree bark": ("mossy_bark", (0.0, 0.07, 1.0, 0.92)),
    "cliff": ("cliff", (0.25, 0.35, 1.0, 1.0)),
    "maize": ("corn_maze", (0.0, 0.0, 1.0, 1.0)),
    "brick wall": ("lighthouse", (0.25, 0.62, 0.75, 1.0)),
    "moss": ("mossy_log", (0.3, 0.2, 0.75, 1.0)),
    "mudstone": ("mudstone", (0.0, 0.0, 1.0, 1.0)),
    "sea foam": ("ocean_splash", (0.0, 0.0, 1.0, 1.0)),
    "sea": ("ocean_waves", (0.0, 0.0, 1.0, 0.6)),
    "pebbles": ("rocks", (0.0, 0.15, 1.0, 1.0)),
    "meadow": ("sheep", (0.0, 0.62, 1.0, 1.0)),
    "sky": ("sheep", (0.0, 0.0, 1.0, 0.45)),
}
_NAME = re.compile(
    r"(?:(?:an?|the|some|two) )?(?:(?:pair|bunch|head|string|plant|pot) of )?"
    r"([^.,!?();:—]{2,40}?)[.!]?(?: *\(.*\))?\.?",
    re.IGNORECASE,
)
MATCH = 0.6
_NO_NAMES = {"ahead", "can", "cup", "denium", "kit", "module", "probe", "root", "spacewalk", "thaadi", "thurium"}
_MOST_WORDS = 4
_LEAST_PX = 900  # visible pixels
_LEAST_COLOURS, _MOST_EQUAL = 150, 0.12  # of a photograph: colours at 5 bits a channel, share of equal neighbours


@dataclass(frozen=True)
class CutOut:
    """One photograph of an object: its file, what it shows, and its visible pixels."""

    path: Path
    name: str
    pixels: int


@cache
def cut_outs(share: Path = SHARE) -> tuple[CutOut, ...]:
    """List the photographs among the stamps, sorted by path.

    Raises:
        InputError: the stamps are not installed.
    """
    paths = sorted((share / "stamps").rglob("*.png"))
    if not paths:
        raise InputError(f"{share}/stamps: expected the stamps of Tux Paint, got none; run: apt-get install tuxpaint")
    listed = []
    for path in paths:
        name = _name(path.with_suffix(".txt"))
        if name is None or {"symbols", "cartoon"} & set(path.parts):
            continue
        rgba = np.asarray(Image.open(path).convert("RGBA"))
        if _is_photograph(rgba):
            listed.append(CutOut(path, name, int((rgba[..., 3] > 127).sum())))
    return tuple(listed)


def _name(description: Path) -> str | None:
    """Return the last word of a stamp's English description; None: it has none that is a name."""
    if not description.is_file():
        return None
    match = _NAME.fullmatch(description.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip())
    words = re.sub(r"[^a-z -]", "", match[1].lower().replace("’s", "")).split() if match else []
    return words[-1] if 1 <= len(words) <= _MOST_WORDS and words[-1] not in _NO_NAMES else None


def _is_photograph(rgba: UInt8[np.ndarray, "h w 4"]) -> bool:
    visible = rgba[..., 3] > 127
    if visible.sum() < _LEAST_PX or visible.mean() > 0.9:  # a stamp without transparent pixels is not cut out
        return False
    colours = len(np.unique((rgba[visible][:, :3] // 8).astype(int) @ np.array([1024, 32, 1])))
    steps = np.abs(np.diff(rgba[..., :3].astype(int), axis=1)).sum(-1)[visible[:, 1:] & visible[:, :-1]]
    return colours > _LEAST_COLOURS and bool((steps == 0).mean() < _MOST_EQUAL)


def choose(listed: Sequence[CutOut], names: int) -> dict[str, list[CutOut]]:
    """Return the photographs of some names, sorted by name: names with the most photographs, then the largest."""
    by_name: dict[str, list[CutOut]] = defaultdict(list)
    for one in listed:
        by_name[one.name].append(one)
    ranked = sorted(
        by_name, key=lambda name: (-min(len(by_name[name]), 2), -max(c.pixels for c in by_name[name]), name)
    )
    return {name: by_name[name] for name in sorted(ranked[:names])}


def split(chosen: Mapping[str, Sequence[CutOut]]) -> tuple[dict[str, list[CutOut]], dict[str, list[CutOut]]]:
    """Return the photographs of training and of the benchmark by name; of several, only the benchmark has the last."""
    train = {name: list(photos[:-1] or photos) for name, photos in chosen.items()}
    return train, {name: list(photos) for name, photos in chosen.items()}


@cache
def _picture(path: Path) -> Float[np.ndarray, "s s 4"]:
    rgba = np.asarray(Image.open(path).convert("RGBA")).astype(np.float32) / 255
    square = squared(rgba)
    side = min(len(square), 220)  # some are 2,000 pixels tall
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def _lit(picture: Float[np.ndarray, "s s 4"], rng: np.random.Generator) -> Float[np.ndarray, "s s 4"]:
    """Return a premultiplied picture in another light: brighter or darker, from one side, warmer or colder."""
    side = len(picture)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    y, x = (np.mgrid[:side, :side] / max(side - 1, 1) - 0.5).astype(np.float32)
    light = rng.uniform(0.75, 1.2) * (1 + strength * (np.cos(angle) * x + np.sin(angle) * y))
    colour = 1 + rng.uniform(-0.06, 0.06, 3)
    lit = picture.copy()
    lit[..., :3] = np.clip(picture[..., :3] * light[..., None] * colour, 0, picture[..., 3:])
    return lit


def _matched(
    canvas: Float[np.ndarray, "side side 3"], layer: Float[np.ndarray, "side side 4"], share: float
) -> Float[np.ndarray, "side side 4"]:
    """Return a layer whose mean colour has moved by a share of the way to that of the pixels which it covers."""
    visible = layer[..., 3] >= 0.5
    if not visible.any():
        return layer
    step = canvas[visible].mean(0) - layer[visible][:, :3].mean(0)
    matched = layer.copy()
    matched[..., :3] = np.clip(layer[..., :3] + share * step * layer[..., 3:], 0, layer[..., 3:])
    return matched


@cache
def _ground(name: str, share: Path) -> UInt8[np.ndarray, "h w 3"]:
    file, (left, top, right, bottom) = GROUNDS[name]
    picture = np.asarray(Image.open(share / "templates" / f"{file}.jpg").convert("RGB"))
    height, width = picture.shape[:2]
    return picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def _background(name: str, side: int, rng: np.random.Generator, share: Path) -> UInt8[np.ndarray, "s s 3"]:
    """Return a random square of a ground, at a random scale, mirrored or not, in another light."""
    picture = _ground(name, share)
    height, width = picture.shape[:2]
    window = int(rng.uniform(0.45, 1.0) * min(height, width))
    top, left = int(rng.integers(0, height - window + 1)), int(rng.integers(0, width - window + 1))
    square = picture[top : top + window, left : left + window]
    square = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    square = square[:, ::-1] if rng.random() < 0.5 else square
    return np.clip(square * rng.uniform(0.8, 1.15), 0, 255).astype(np.uint8)


def photograph_art(photos: Mapping[str, Sequence[CutOut]], share: Path = SHARE, match: float = MATCH) -> SceneArt:
    """Return the art of scenes with these photographs and the grounds of `share`; every fifth name is held out.

    Args:
        photos: photographs by name.
        share: folder with the `templates` of Tux Paint.
        match: share of the way that an object's mean colour moves towards that of its ground, as if both had been
            photographed in one light. Without it, objects stand out as no real ones do.
    """

    def sprite(thing: Thing, rng: np.random.Generator) -> Float[np.ndarray, "s s 4"]:
        of_name = photos[thing.name]
        return _lit(_picture(of_name[int(rng.integers(len(of_name)))].path), rng)

    kinds = [Thing(name, name, "photograph", index % 5 == 4) for index, name in enumerate(photos)]
    background, fit = partial(_background, share=share), partial(_matched, share=match)
    return SceneArt(kinds, tuple(GROUNDS), sprite, background, "photographs", LICENSE, fit)


def write_photographs(
    params: DataParams, out: Path, names: int = 150, *, share: Path = SHARE, match: float = MATCH
) -> tuple[dict[str, int], list[str]]:
    """Compose the data set; the same params and version of the packages give the same bytes.

    Args:
        params: the section `data`: seed, sizes and numbers of scenes.
        out: the folder to make; an old one is replaced.
        names: of things, at most.
        share: folder with the `stamps` and `templates` of Tux Paint.
        match: how far an object's colour moves towards that of its ground, 0 to 1.

    Returns:
        Samples per split, and the names that are held out.

    Raises:
        InputError: the packages are not installed, or `out` holds something else.
    """
    train, benchmark = split(choose(cut_outs(share), names))
    art = photograph_art(benchmark, share, match)
    counts = write_scenes(params, out, photograph_art(train, share, match), art)
    return counts, [kind.name for kind in art.kinds if kind.held_out]


def main() -> None:
    """Compose the data set, and write the parameters for it beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", type=int, default=150)
    parser.add_argument("--px", type=int, default=160, help="side of a scene")
    parser.add_argument("--train", type=int, default=2800, help="training scenes")
    parser.add_argument("--match", type=float, default=MATCH, help="how far objects take the colour of their ground")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters for all else")
    arguments = parser.parse_args()
    data = load_section(arguments.params, DataParams)
    changed = {"seed": arguments.seed, "image_px": arguments.px, "train_scenes": arguments.train}
    scenes = data.model_copy(update=changed)
    counts, held_out = write_photographs(scenes, arguments.out, arguments.names, match=arguments.match)
    yaml = YAML()
    yaml.width = 1000
    everything = yaml.load(arguments.params.read_text(encoding="utf-8"))
    everything["data"].update(changed)
    everything["annotate"]["held_out"] = held_out
    with (arguments.out.parent / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(everything, file)
    sys.stdout.write(", ".join(f"{count} {name}" for name, count in counts.items()) + "\n")


if __name__ == "__main__":
    main()
