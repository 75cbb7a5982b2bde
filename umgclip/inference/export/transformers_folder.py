"""Export of merged weights as a model of transformers: `CLIPModel`, `SiglipModel` or `Siglip2Model`.

The folder is what `save_pretrained` writes, with processor and tokenizer. It is loaded again by transformers' own Auto
classes and compared before it counts as written.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor

from umgclip import extras
from umgclip.errors import InputError, OutputError
from umgclip.inference.export import transformers_clip, transformers_siglip
from umgclip.inference.export.transformers_names import Kind, TransformersModel, Unsuited
from umgclip.io.atomic import sha256_file
from umgclip.model.adapters.convpass import WithConvpass
from umgclip.model.clip.building import is_plain
from umgclip.model.clip.long_text import long_text_of
from umgclip.model.clip.no_code import no_remote_code
from umgclip.model.clip.preprocess import Fit
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage, write_usage
from umgclip.model.clip.vision.clustering import clustering_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOLERANCE = 1.0e-5
_CLASSES = {
    "clip": ("CLIPConfig", "CLIPModel"),
    "siglip": ("SiglipConfig", "SiglipModel"),
    "siglip2": ("Siglip2Config", "Siglip2Model"),
}
# short, long, of many cases and signs, longer than a context, and none
_TEXTS = (
    "a dog", "A photo of a Red Car.", "naïve café, 3 o'clock — 10%", "two owls\non a  wooden floor & one cat's bed",
    "a very long caption about many things " * 12, "",
)  # fmt: skip
_IMAGES = 2
_ONE_FILE = "1TB"
_NEAREST: Mapping[Fit, str] = {
    "squash": "the same resize; AutoProcessor.from_pretrained(FOLDER, backend='pil') gives the same bytes, the default "
    "backend differs by 1 of 255 at most",
    "shortest": "the same resize; the crop is one pixel off where the margin is odd",
    "pad": "differs: the canvas is filled with the mean colour, and the model sees it",
    "longest": "differs: the image stands at the top left, on the mean colour",
}


@dataclass(frozen=True)
class WrittenTransformers:
    """A model that was written for transformers.

    Attributes:
        model_class: transformers' class of it.
        sha256: of the weights.
        differences: largest absolute difference of embeddings (length 1) to ours, of image and text.
        images: how its image processor compares with ours, in words.
    """

    model_class: str
    sha256: str
    differences: dict[str, float]
    images: str


def model_class(tower: DenseClip, usage: Usage) -> str:
    """Return the class of transformers that a model becomes.

    Raises:
        InputError: there is none; names the tower, the part that does not fit, and another format.
    """
    return _CLASSES[translated(tower, usage).kind][1]


def translated(tower: DenseClip, usage: Usage) -> TransformersModel:
    """Return a model in the terms of transformers.

    Raises:
        InputError: no class of transformers is the same; names the tower, the part, and another format.
    """
    clip = tower.clip
    try:
        if any(isinstance(module, WithConvpass) for module in clip.modules()):
            raise Unsuited("convpass adds layers")
        if clustering_of(clip.visual) is not None:
            raise Unsuited("it clusters its tokens")
        if long_text_of(clip) is not None:
            raise Unsuited("it has a second path for long texts; base.text_positions: short leaves that out")
        if transformers_clip.handles(tower):
            return transformers_clip.as_clip_model(tower)
        if transformers_siglip.handles(tower):
            return transformers_siglip.as_siglip_model(tower, any_aspect=usage.preprocess.fit == "pad")
        raise Unsuited("transformers has no model with such an image tower beside a text tower")
    except Unsuited as error:
        raise InputError(_refusal(tower, error)) from error


def write_transformers(tower: DenseClip, usage: Usage, folder: Path) -> WrittenTransformers:
    """Write config, weights, processor and tokenizer into an existing folder, and compare what transformers loads.

    The model gives whole-image and text embeddings. Dense maps and read-outs of regions are not in it.

    Args:
        tower: the model, with its adapter merged in.
        usage: how images and labels reach it.
        folder: existing folder to write into.

    Raises:
        InputError: transformers is missing, or has no class for this model; names another format.
        OutputError: embeddings or tokens differ from ours by more than 1e-5.
    """
    theirs = _classes()
    model = translated(tower, usage)
    config_class, network_class = (getattr(theirs, name) for name in _CLASSES[model.kind])
    from umgclip.inference.export.transformers_processor import processor_files, processor_of

    try:
        processor = processor_of(tower, usage.preprocess, model.kind)
    except Unsuited as error:
        raise InputError(_refusal(tower, error)) from error
    network = network_class(config_class(**model.config)).eval()
    weights = {name: value.detach().float().cpu().contiguous() for name, value in model.weights.items()}
    network.load_state_dict(weights)
    with _quiet():
        network.save_pretrained(str(folder), max_shard_size=_ONE_FILE)
        processor_files(processor, folder)
        differences = _compare(tower, model.kind, folder)
    digest = sha256_file(folder / WEIGHTS)
    write_usage(folder, tower, usage, digest)
    fit = "any aspect, up to as many patches" if model.kind == "siglip2" else _NEAREST[usage.preprocess.fit]
    return WrittenTransformers(network_class.__name__, digest, differences, fit)


def _classes() -> Any:  # noqa: ANN401 - the module
    try:
        return import_module("transformers")
    except ImportError as error:
        raise InputError(
            f"--to transformers: expected the package transformers, got {error}; run: {extras.install('interfaces')}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn transformers' progress bars off."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _refusal(tower: DenseClip, reason: Unsuited) -> str:
    clip = tower.clip
    config = getattr(clip, "umgclip_config", None) or {}
    vision = config.get("vision_cfg", {})
    name = vision.get("timm_model_name") or f"open_clip's {type(clip.visual).__name__}"
    convpass = any(isinstance(module, WithConvpass) for module in clip.modules())
    if convpass or not config or not is_plain(config):
        instead = "--to onnx or umgclip.load"
    else:
        instead = "--to open_clip, which holds every tower"
    return (
        "--to transformers: expected a ViT of open_clip with CLIP's text tower (CLIPModel) or a SigLIP of fixed sides "
        f"or NaFlex (SiglipModel, Siglip2Model), got {name}: {reason}; use {instead}"
    )


@torch.no_grad()
def _compare(tower: DenseClip, kind: Kind, folder: Path) -> dict[str, float]:
    """Compare tokens, embeddings and the scale with what transformers makes of the folder."""
    from transformers import AutoModel, AutoProcessor

    ours = tower if next(tower.parameters()).device.type == "cpu" else copy.deepcopy(tower).cpu()
    with no_remote_code(str(folder)):
        theirs = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32).eval()
        tokenizer = AutoProcessor.from_pretrained(str(folder), local_files_only=True).tokenizer
    length = ours.context_length
    plain = [" ".join(text.split()) if kind == "siglip2" else text for text in _TEXTS]  # its tokenizer has no steps
    texts = tokenizer(plain, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    tokens = ours.tokenizer(plain)
    _require_same_tokens(kind, texts["input_ids"], tokens)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_IMAGES, 3, *ours.image_hw, generator=generator)
    result = theirs(**texts, **_inputs(images, kind, ours.patch_px[0]))
    pairs = {
        "image": (result.image_embeds, ours.encode_image(images)[0]),
        "text": (result.text_embeds, ours.encode_text(tokens)),
    }
    differences = {name: float((F.normalize(one, dim=-1) - two).abs().max()) for name, (one, two) in pairs.items()}
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise OutputError(
                f"transformers: expected {name} embeddings within {TOLERANCE} of ours, got a difference of "
                f"{difference:.2e}; export another format, such as open_clip"
            )
    return differences


def _require_same_tokens(kind: Kind, theirs: Tensor, ours: Tensor) -> None:
    if kind == "clip":  # open_clip pads with 0; what comes after the first end has no effect
        ends = ours.argmax(dim=1)
        read = torch.arange(ours.shape[1])[None] <= ends[:, None]
        theirs, ours = theirs.where(read, 0), ours.where(read, 0)
    if not torch.equal(theirs, ours):
        row = int((theirs != ours).any(dim=1).nonzero()[0])
        raise OutputError(
            f"transformers: expected its tokenizer to give our tokens, got others for {_TEXTS[row][:40]!r}; "
            "export another format, such as open_clip"
        )


def _inputs(images: Float[Tensor, "b 3 height width"], kind: Kind, patch: int) -> dict[str, Tensor]:
    if kind != "siglip2":
        return {"pixel_values": images}
    cells = images.unfold(2, patch, patch).unfold(3, patch, patch)  # b, colour, rows, columns, y, x
    patches = cells.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long),
        "spatial_shapes": torch.tensor([cells.shape[2:4]] * len(images)),
    }
