"""Probes of a model: a few texts and an image, by whose embeddings an index knows the model that made it.

The same weights give the same embeddings by any address, on any machine, but for rounding. Other weights, another side,
prompt-free text tower, fitting or share of a box give others.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from umgclip.inference.model import Model
from umgclip.search.state import ModelMark

_TEXTS = ("a red mug on a table", "two dogs run along a beach under a grey sky")
_WIDTH, _HEIGHT = 160, 96
_BOX = (24.0, 12.0, 120.0, 84.0)


def probe(model: Model) -> Float[np.ndarray, "probes d"]:
    """Embed the probes: two texts, an image, and a region of it."""
    ((image, regions),) = model.embed_with_regions([_image()], [[_BOX]])
    return np.concatenate([model.embed_texts(list(_TEXTS)), image[None], regions]).astype(np.float32)


def mark(model: Model, source: str) -> ModelMark:
    """Return the identity of a model that `source` named."""
    return ModelMark.of(source, repr(model), probe(model))


def _image() -> UInt8[np.ndarray, "height width 3"]:
    """Return stripes and slopes of three colours, the same on every machine."""
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    layers = [x * 255 // _WIDTH, (x // 16 + y // 12) % 2 * 200, (x * y) // 32 % 256]
    return np.stack(layers, axis=2).astype(np.uint8)
