"""One reader of a CLIP: images, crops and texts to embeddings, and embeddings to probabilities of labels.

Evaluation, `umgclip.load`, the server and the CLIP teacher all read a model with `ClipReader`, so an image gives the
same embedding everywhere. Regions by box and mask are pooled out of its dense maps by `umgclip.model.clip.readout`.

What a probability is, is decided here once, as in open_clip and transformers. A model trained with a softmax (CLIP)
compares the labels asked for: their probabilities add up to 1. A model trained with sigmoids (SigLIP) answers each
label alone, with `sigmoid(logit_scale * cosine + logit_bias)`. Where one of several classes has to be chosen, as for
the pixels of a label map, classes exclude each other, and `Scoring.exclusive` compares them for both kinds of model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from umgclip.model.clip.images import ImageInput, Placed
from umgclip.model.clip.preprocess import to_input
from umgclip.model.clip.tokenizer import Tokenizer

Tokenize = Callable[[list[str]], Int[Tensor, "t length"]]
Crops = Sequence[UInt8[np.ndarray, "height width 3"]] | UInt8[np.ndarray, "r height width 3"]


@runtime_checkable  # the tests check annotated types as they run
class Tower(Protocol):
    """The part of a model that a reader needs; `umgclip.model.clip.tower.DenseClip` has it."""

    def encode_image(self, images: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed normalised images: global (b, d) and dense (b, d, h, w); `valid` (b, h, w) marks the image."""

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embed tokens (t, length) as rows (t, d)."""

    def logit_scale(self) -> Tensor:
        """Return the inverse temperature, a scalar."""

    def logit_bias(self) -> Tensor | None:
        """Return the bias of a model trained with sigmoids, a scalar, or None for a softmax."""


@dataclass(frozen=True)
class Scoring:
    """The rule by which a model turns cosines into probabilities.

    Attributes:
        scale: inverse temperature, a factor of every cosine.
        bias: added to every logit of a model trained with sigmoids; None for a model trained with a softmax.
    """

    scale: float
    bias: float | None = None

    @classmethod
    @torch.inference_mode()
    def of(cls, tower: Tower) -> Scoring:
        """Read the scale and bias that a model has now."""
        bias = tower.logit_bias()
        return cls(float(tower.logit_scale()), None if bias is None else float(bias))

    def probabilities(self, rows: Float[Tensor, "*n d"], labels: Float[Tensor, "l d"]) -> Float[Tensor, "*n l"]:
        """Return the probability of each label for each row.

        Args:
            rows: L2-normalised embeddings of images or regions.
            labels: L2-normalised embeddings of the labels.

        Returns:
            A softmax over the labels; for a model trained with sigmoids a sigmoid for each label alone.
        """
        logits = self.scale * rows @ labels.T
        return logits.softmax(-1) if self.bias is None else (logits + self.bias).sigmoid()

    def exclusive(self, cosines: Float[Tensor, "*n l"]) -> Float[Tensor, "*n l"]:
        """Return a softmax over classes of which exactly one is true, for either kind of model; a bias cancels out."""
        return (self.scale * cosines).softmax(-1)


@dataclass
class TextsRead:
    """The number of texts that a model was given, and of those whose end is beyond its context."""

    read: int = 0
    cut: int = 0
    context_length: int = 0

    def add(self, texts: Sequence[str], tokenize: Tokenize) -> None:
        """Count texts, each distinct one among the cut ones once; a tokenizer that is not the project's cuts none."""
        self.read += len(texts)
        if isinstance(tokenize, Tokenizer):
            self.cut += len(tokenize.cut(texts))
            self.context_length = tokenize.context_length

    def in_words(self) -> str | None:
        """Return how many were cut; None if all were read to their end."""
        if not self.cut:
            return None
        of = f"{self.cut:,} of {self.read:,}"
        return f"{of} are longer than the model's {self.context_length} tokens; it does not read their end"


@dataclass(frozen=True)
class ClipReader:
    """A frozen CLIP with its tokenizer and its way to take images; safe to use from several threads.

    Attributes:
        tower: the model, in eval mode, on `device`.
        tokenize: its tokenizer.
        images: how images of any size reach it.
        device: where inputs are moved to.
        dtype: number format of matrix products; float32 is exact, others use autocast. Embeddings are float32.
        texts_read: counts of the texts that were embedded.
    """

    tower: Tower
    tokenize: Tokenize
    images: ImageInput
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    texts_read: TextsRead = field(default_factory=TextsRead, compare=False)

    @property
    def scoring(self) -> Scoring:
        """Scale and bias of the model as they are now."""
        return Scoring.of(self.tower)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Embed texts as they are, in one forward; `umgclip.model.clip.prompts` puts labels into prompts.

        Returns:
            L2-normalised float32 rows on the CPU.
        """
        self.texts_read.add(texts, self.tokenize)
        with self._autocast():
            rows = self.tower.encode_text(self.tokenize(list(texts)).to(self.device))
        return rows.float().cpu()

    @torch.inference_mode()
    def encode(
        self, pixels: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None = None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Embed images that are stacked and normalised, in one forward; see `DenseClip.encode_image`.

        Returns:
            L2-normalised float32 embeddings on the model's device, global and dense.
        """
        padded = () if valid is None else (valid.to(self.device),)
        with self._autocast():
            image, dense = self.tower.encode_image(pixels.to(self.device), *padded)
        return image.float(), dense.float()

    @torch.inference_mode()
    def encode_global(self, pixels: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d"]:
        """Embed images that are stacked and normalised, in one forward, without dense maps where the tower can.

        Returns:
            L2-normalised float32 embeddings on the model's device.
        """
        encode: Callable[[Tensor], Tensor] | None = getattr(self.tower, "encode_global", None)
        if encode is None:  # a tower that only has what `Tower` asks for
            return self.encode(pixels)[0]
        with self._autocast():
            return encode(pixels.to(self.device)).float()

    def read(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]
    ) -> tuple[Float[Tensor, "n d"], list[Float[Tensor, "d _ _"]]]:
        """Embed whole images of any size, in one forward.

        Returns:
            Global embeddings, and the dense map of each image without its padding, on the model's device.
        """
        placed = [self.images.place(pixels) for pixels in images]
        image, dense = self.encode(*self.images.stack(placed))
        return image, without_padding(dense, placed)

    def crops(self, crops: Crops) -> Float[Tensor, "r d"]:
        """Embed crops of one size as they are, in one forward; `umgclip.geometry.crops` cuts them.

        Returns:
            Global embeddings on the model's device.
        """
        return self.encode_global(self.crop_input(crops))

    def crop_input(self, crops: Crops) -> Float[Tensor, "r 3 height width"]:
        """Stack crops of one size and normalise them as the model wants."""
        return to_input(np.stack(list(crops)), self.images.preprocess)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def without_padding(dense: Float[Tensor, "b d h w"], placed: Sequence[Placed]) -> list[Float[Tensor, "d _ _"]]:
    """Cut each dense map down to the cells that its image covers."""
    return [one[:, : cells[0], : cells[1]] for one, (_, cells) in zip(dense, placed, strict=True)]
