"""Export of the image and text towers as ONNX graphs of any batch size, compared with torch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from umgclip import extras
from umgclip.errors import InputError, OutputError
from umgclip.io.atomic import write_json
from umgclip.model.clip.text import encode_text_whole
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import USAGE, Usage, described

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


class _PaddedImage(_Image):
    """The image tower of a model with padded images: the cells that hold image are a second input."""

    def forward(  # type: ignore[override]
        self, pixels: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        return self.tower.encode_image(pixels, valid)


class _Text(nn.Module):
    """The text tower at the full context length, because a graph cannot choose its shapes by the longest text."""

    def __init__(self, clip: Any) -> None:  # noqa: ANN401 - open_clip's models share no base class
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        return encode_text_whole(self.clip, tokens)


def write_onnx(tower: DenseClip, usage: Usage, folder: Path) -> dict[str, float]:
    """Write `image.onnx` (pixels to image and dense), `text.onnx` (tokens to text) and `umgclip_preprocess.json`.

    Images have the model's own size. The JSON file, and each graph's metadata with the same keys, describe how images
    are resized and normalised, the prompt of labels, and how cosines become logits. A model with padded images has a
    second input `valid` (b, h, w): the cells of the dense map that hold image.

    Args:
        tower: the model with its adapter.
        usage: how images and labels reach it.
        folder: an existing folder to write into.

    Returns:
        Largest absolute difference to torch of image, dense and text.

    Raises:
        InputError: the packages for it are missing.
        OutputError: a graph differs from torch by more than 1e-4.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(
            f"--to onnx: expected the packages of umgclip[export], got {error}; run: {extras.install('export')}"
        ) from error
    tower = tower.eval()
    metadata = described(tower, usage)
    images, texts = _image_examples(tower, padded=usage.preprocess.fit == "pad"), _text_examples(tower)
    image = (_Image if len(images[0]) == 1 else _PaddedImage)(tower)
    with _plain_attention():
        image(**images[0])  # towers remember what a grid of this size needs; tracing must not make it
        _export(image, images[0], folder / IMAGE, ("image", "dense"), metadata)
        _export(_Text(tower.clip), texts[0], folder / TEXT, ("text",), metadata)
    differences = dict.fromkeys(("image", "dense", "text"), 0.0)
    for name, examples, outputs in ((IMAGE, images, ("image", "dense")), (TEXT, texts, ("text",))):
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        for given in examples:
            results = session.run(list(outputs), {key: value.numpy() for key, value in given.items()})
            with torch.no_grad():
                wanted = image(**given) if name == IMAGE else (tower.encode_text(given["tokens"]),)
            for output, one, two in zip(outputs, results, wanted, strict=True):
                differences[output] = max(differences[output], float(np.abs(one - two.numpy()).max()))
    for output, difference in differences.items():
        if not difference <= TOLERANCE:
            raise OutputError(
                f"onnx: expected {output} within {TOLERANCE} of torch, got a difference of {difference:.2e}; "
                "export another format, such as open_clip"
            )
    for name in (USAGE, CONFIG):  # the second is its name in earlier versions
        write_json(folder / name, metadata)
    tower.tokenizer.save(folder)
    return differences


def _image_examples(tower: DenseClip, *, padded: bool) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    (height, width), (cell_h, cell_w) = tower.image_hw, tower.patch_px
    examples = [{"pixels": torch.randn(n, 3, height, width, generator=generator)} for n in _BATCHES]
    for example in examples if padded else []:
        valid = torch.ones(len(example["pixels"]), height // cell_h, width // cell_w, dtype=torch.bool)
        valid[0, valid.shape[1] // 2 + 1 :] = False
        valid[1, :, valid.shape[2] // 2 + 1 :] = False
        example["valid"] = valid
    return examples


def _text_examples(tower: DenseClip) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    size = int(tower.clip.vocab_size)
    return [{"tokens": torch.randint(1, size, (n, tower.context_length), generator=generator)} for n in _BATCHES]


def _export(
    module: nn.Module, example: Mapping[str, Tensor], path: Path, outputs: tuple[str, ...], metadata: Mapping[str, Any]
) -> None:
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    program = torch.onnx.export(
        module.eval(),
        tuple(example.values()),
        input_names=list(example),
        output_names=list(outputs),
        dynamic_shapes=tuple({0: batch} for _ in example),
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - for the type checker: with dynamo there is always a program
    for key, value in metadata.items():
        program.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    program.save(str(path), external_data=False)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Turn off torch's fused kernel for attention layers, which ONNX lacks, and the messages of the exporter."""
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
