"""What a model made of images, kept on disk between runs: by the model's hash and the pixels' own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from umgclip.io.weights import read_weights, write_weights

Features = Mapping[str, Tensor]


class FeatureCache:
    """Features of one model in a folder, one file a batch of inputs.

    A file's name is the hash of what went in, so another benchmark with the same images finds them too, and other
    pixels, another size or another resize never do. A file that cannot be read is computed anew.

    Args:
        folder: of all models; made when something is kept.
        model: what identifies the model: hashes of its weights.
    """

    def __init__(self, folder: Path, model: str) -> None:
        # features of another version of torch may differ in their last bits
        name = hashlib.sha256(f"{model} torch {torch.__version__}".encode()).hexdigest()
        self._folder = folder / name[:24]

    def get(self, kind: str, inputs: Sequence[Tensor | None], compute: Callable[[], Features]) -> dict[str, Tensor]:
        """Features of some inputs, computed only where they are not known.

        Args:
            kind: which features; a word.
            inputs: all that they depend on.
            compute: gives them.
        """
        digest = hashlib.sha256()
        for value in inputs:
            digest.update(b"none" if value is None else f"{tuple(value.shape)} {value.dtype}".encode())
            digest.update(b"" if value is None else value.contiguous().numpy().tobytes())
        path = self._folder / f"{kind}-{digest.hexdigest()[:40]}.safetensors"
        if path.is_file():
            try:
                return read_weights(path)
            except SafetensorError:
                path.unlink()
        found = {name: value.contiguous() for name, value in compute().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, found)
        return found
