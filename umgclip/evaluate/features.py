"""A cache of features on disk, by the hash of the model and the hash of its inputs."""

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
    """Features of one model in a folder, one file per batch of inputs.

    The name of a file is the hash of the inputs. So another benchmark with the same images uses the same file, and
    other pixels, another size or another resize do not. An unreadable file is computed again.

    Args:
        folder: the cache of all models; created with the first file.
        model: identity of the model: the hashes of its weights.
    """

    def __init__(self, folder: Path, model: str) -> None:
        # features of another version of torch may differ in their last bits
        name = hashlib.sha256(f"{model} torch {torch.__version__}".encode()).hexdigest()
        self._folder = folder / name[:24]

    def get(self, kind: str, inputs: Sequence[Tensor | None], compute: Callable[[], Features]) -> dict[str, Tensor]:
        """Return the features of some inputs, from the cache or else computed and stored.

        Args:
            kind: which features, as one word.
            inputs: everything that they depend on.
            compute: computes them.
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
        features = {name: value.contiguous() for name, value in compute().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, features)
        return features
