"""A segmenter on disk: `segmenter.json` says what it is, `segmenter.safetensors` holds what was learned.

The frozen tower is not in there: it is the base with its adapter, whose hashes are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from umgclip import extras
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.weights import read_weights, write_weights
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.adapters.convpass import add_convpass
from umgclip.model.adapters.lora_files import from_fused, is_fused
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS
from umgclip.model.clip.tower import DenseClip
from umgclip.model.segmenter.network import Segmenter
from umgclip.params import ConvpassParams, LoraParams
from umgclip.params.segment import DecoderParams

CONFIG = "segmenter.json"
WEIGHTS = "segmenter.safetensors"


class Description(BaseModel):
    """The content of a segmenter's `segmenter.json`.

    Attributes:
        decoder: sizes.
        adapter: what learned in the copy of the tower that the pyramid reads, or none.
        adapter_rank: its size.
        image_px: side of the canvas that it was trained on.
        resize: how images reached it.
        things: names that training masks carried.
        stuff: the same, of backgrounds.
        base_sha256: of the base's weights.
        tuned_sha256: of the adapter's weights in the folder that `train` wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoder: DecoderParams
    adapter: Literal["none", "convpass", "lora"]
    adapter_rank: int
    image_px: int
    resize: Literal["squash", "pad"]
    things: list[str]
    stuff: list[str]
    base_sha256: str
    tuned_sha256: str


def hashes(base: Path, tuned: Path) -> dict[str, str]:
    """Return the hashes of the tower that a segmenter belongs to.

    Raises:
        DataError: weights are missing.
    """
    paths = {"base_sha256": base / files.WEIGHTS, "tuned_sha256": tuned / ADAPTER / ADAPTER_WEIGHTS}
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path}: expected the weights of the tuned tower, found none; `umgclip train` writes them")
    return {name: sha256_file(path) for name, path in paths.items()}


def build(base: Path, tuned: Path, description: Description, seed: int = 0) -> Segmenter:
    """Build a segmenter with random weights on the tuned tower.

    Args:
        base: folder of the base.
        tuned: folder that `train` wrote.
        description: of the segmenter.
        seed: of its weights.

    Raises:
        DataError: the tower's files are missing or do not fit.
        InputError: transformers is not installed, or the adapter is not for this tower.
    """
    tower = DenseClip(load_tuned(base, tuned / ADAPTER))
    torch.manual_seed(seed)
    try:
        return Segmenter(tower, description.decoder, _adapted(base, tuned, description))
    except ImportError as error:
        raise InputError(
            f"segment: expected transformers, which is not installed; run: {extras.install('foundation')}"
        ) from error


def _adapted(base: Path, tuned: Path, description: Description) -> DenseClip | None:
    if description.adapter == "none":
        return None
    clip: Any = load_tuned(base, tuned / ADAPTER)
    if description.adapter == "convpass":
        add_convpass(clip, ConvpassParams(hidden=description.adapter_rank))
        return DenseClip(clip)
    lora = LoraParams(rank=description.adapter_rank, alpha=2 * description.adapter_rank, text_tower=False)
    return DenseClip(add_lora(clip, lora).get_base_model())


def save(folder: Path, segmenter: Segmenter, description: Description) -> str:
    """Write a segmenter into an existing folder, and return the weights' SHA-256."""
    write_json(folder / CONFIG, description.model_dump())
    return write_weights(folder / WEIGHTS, segmenter.learned())


def load(folder: Path, base: Path, tuned: Path) -> tuple[Segmenter, Description]:
    """Read a folder written by `save`, in eval mode.

    Raises:
        DataError: files are missing or do not fit, or it was trained on another tower.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected {name}, found none; `umgclip segment` writes it")
    try:
        description = Description.model_validate(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise DataError(f"{folder / CONFIG}: not readable: {str(error).splitlines()[0]}") from error
    for name, actual in hashes(base, tuned).items():
        wanted = getattr(description, name)
        if wanted != actual:
            raise DataError(f"{folder}: trained on a tower with {name} {wanted[:12]}, got {actual[:12]}")
    segmenter = build(base, tuned, description)
    parameters = segmenter.learned()
    try:
        learned = read_weights(folder / WEIGHTS)
    except SafetensorError as error:
        raise DataError(f"{folder / WEIGHTS}: not readable: {str(error).splitlines()[0]}") from error
    if is_fused(learned):
        learned = from_fused(learned)  # an adapter of an older version
    if {n: v.shape for n, v in learned.items()} != {n: p.shape for n, p in parameters.items()}:
        raise DataError(f"{folder / WEIGHTS}: expected the weights that {CONFIG} describes, got others")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(learned[name])
    return segmenter.eval(), description
