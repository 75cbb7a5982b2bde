"""Image and text towers as ONNX graphs of any batch size, compared with torch before they are kept."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.errors import InputError, OutputError
from umgclip.io.atomic import write_json
from umgclip.model import files
from umgclip.model.tower import DenseClip

IMAGE, TEXT, CONFIG = "image.onnx", "text.onnx", "umgclip.json"
TOLERANCE = 1.0e-4
_OPSET = 18
_BATCHES = (2, 3)  # exported with the first, compared with both


class _Image(nn.Module):
    def __init__(self, tower: DenseClip) -> None:
        super().__init__()
        self.tower = tower

    def forward(
        self, pixels: Float[Tensor, "b 3 height width"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        return self.tower.encode_image(pixels)


class _Text(nn.Module):
    """The whole context length, for a graph cannot choose its shapes by the longest text."""

    def __init__(self, clip: Any) -> None:  # noqa: ANN401 - open_clip's models share no base class
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        return F.normalize(self.clip.encode_text(tokens), dim=-1)


def write_onnx(clip: nn.Module, base: Path, folder: Path) -> dict[str, float]:
    """Write `image.onnx` (pixels to image and dense), `text.onnx` (tokens to text) and `umgclip.json`.

    Images have the model's own size; `umgclip.json` says how pixels are normalised and how cosines become logits.

    Args:
        clip: the model with its adapter.
        base: folder of the base, whose tokenizer files are copied.
        folder: an existing one to write into.

    Returns:
        Largest difference to torch of image, dense and text.

    Raises:
        InputError: the packages for it are missing.
        OutputError: a graph differs from torch by more than 1e-4.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"--to onnx: expected the packages of umgclip[export], got {error}") from error
    tower = DenseClip(clip).eval()
    height, width = tower.image_hw
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randn(n, 3, height, width, generator=generator) for n in _BATCHES]
    vocabulary = int(tower.clip.vocab_size)
    tokens = [torch.randint(1, vocabulary, (n, tower.context_length), generator=generator) for n in _BATCHES]
    with _plain_attention():
        _export(_Image(tower), pixels[0], folder / IMAGE, ("pixels",), ("image", "dense"))
        _export(_Text(tower.clip), tokens[0], folder / TEXT, ("tokens",), ("text",))
    differences = dict.fromkeys(("image", "dense", "text"), 0.0)
    for name, inputs, outputs in ((IMAGE, pixels, ("image", "dense")), (TEXT, tokens, ("text",))):
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        for given in inputs:
            found = session.run(list(outputs), {session.get_inputs()[0].name: given.numpy()})
            with torch.no_grad():
                wanted = tower.encode_image(given) if name == IMAGE else (tower.encode_text(given),)
            for output, one, two in zip(outputs, found, wanted, strict=True):
                differences[output] = max(differences[output], float(np.abs(one - two.numpy()).max()))
    for output, difference in differences.items():
        if not difference <= TOLERANCE:
            raise OutputError(
                f"onnx: expected {output} within {TOLERANCE} of torch, got a difference of {difference:.2e}"
            )
    _describe(tower, folder)
    for tokenizer in files.TOKENIZER_FILES:
        if (base / tokenizer).is_file():
            shutil.copy2(base / tokenizer, folder / tokenizer)
    return differences


def _export(module: nn.Module, example: Tensor, path: Path, inputs: tuple[str], outputs: tuple[str, ...]) -> None:
    torch.onnx.export(
        module.eval(),
        (example,),
        str(path),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1 << 16)},),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without torch's fused kernel of whole attention layers, for which ONNX has no name, and without its chatter."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(enabled)


def _describe(tower: DenseClip, folder: Path) -> None:
    bias = tower.logit_bias()
    (height, width), preprocess = tower.image_hw, tower.preprocess
    write_json(
        folder / CONFIG,
        {
            "image_size_hw": [height, width],
            "cell_hw_px": list(tower.patch_px),
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "context_length": tower.context_length,
            "embed_dim": tower.embed_dim,
            "pairwise": tower.pairwise,
            "logit_scale": float(tower.logit_scale().detach()),
            "logit_bias": None if bias is None else float(bias.detach()),
        },
    )
