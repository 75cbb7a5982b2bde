"""A tuned model that reads whole images: one dense map of each, out of which regions and concepts are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from umgclip.annotate.proposal import Pixels
from umgclip.annotate.teacher import TeacherFiles
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip.files import load
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.placement import placement
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.readout import cell_weights, pool_masks_of_one
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import read_usage
from umgclip.params import LabelParams

_BATCH = 16  # images in a forward pass
_TEXTS = 256


@dataclass(frozen=True)
class ImageReading:
    """The reading of one image by a tuned model: its embedding and its dense map.

    Attributes:
        image: its L2-normalised embedding, (d,).
        dense: its dense map, (d, h, w), each cell L2-normalised.
        concepts: embeddings of the vocabulary's concepts, things first.
        scale: factor of a cosine in a logit.
    """

    image: Float[torch.Tensor, "d"]
    dense: Float[torch.Tensor, "d h w"]
    concepts: Float[torch.Tensor, "v d"]
    scale: float

    def region_logits(self, weights: Float[torch.Tensor, "r h w"]) -> Float[np.ndarray, "r v"]:
        """Return the logits of each region with each concept, pooled over the cells that its mask covers."""
        return (self.scale * pool_masks_of_one(self.dense, weights) @ self.concepts.T).numpy()

    def weights(self, masks: Sequence[Bool[np.ndarray, "height width"]]) -> Float[torch.Tensor, "r h w"]:
        """Return the share of each cell that each mask covers."""
        return cell_weights(masks, (self.dense.shape[1], self.dense.shape[2]))

    def fits(
        self, weights: Float[torch.Tensor, "r h w"], named: Sequence[int], things: int
    ) -> Float[np.ndarray, "r n"]:
        """Return how well each region is the place of each named thing, 0 to 1: the Dice coefficient of the two.

        A thing's place is soft: the probability in each cell that it is there, and no other thing that is named and
        no background. A part of an object may look as much like it as the whole; it covers less of its place.

        Args:
            weights: of the regions.
            named: positions of the things in the vocabulary.
            things: number of things in the vocabulary; the other concepts are backgrounds.
        """
        rivals = [*named, *range(things, len(self.concepts))]
        logits = self.scale * self.concepts[rivals] @ self.dense.flatten(1)
        places = logits.softmax(0)[: len(named)]
        regions = weights.flatten(1)
        both = regions @ places.T
        return (2 * both / (regions.sum(1)[:, None] + places.sum(1)[None, :]).clamp(min=1e-6)).numpy()

    def best_cells(self) -> Float[np.ndarray, "v"]:
        """Return the probability of each concept among all in the cell that shows it best."""
        return (self.scale * self.concepts @ self.dense.flatten(1)).softmax(0).amax(1).numpy()


def load_reader(files: TeacherFiles, params: LabelParams) -> ClipReader:
    """Load a tuned model at the side that it was tuned at, and its way to take images.

    Args:
        files: where it is.
        params: the section `annotate.label`, for device and precision.

    Raises:
        DataError: its files do not fit, or are not those that were written.
        InputError: there is no such device.
    """
    clip = load(files.base)[0] if files.adapter is None else load_tuned(files.base, files.adapter)
    usage = read_usage(files.described_in)
    fit = files.trained_fit() if usage is None else usage.preprocess.fit
    device, dtype = placement(params, "annotate.label")
    tower = DenseClip(clip).eval().to(device)
    return ClipReader(tower, tower.tokenizer, ImageInput.of(tower, None, fit), device, dtype)


class TunedReader:
    """A tuned model with the embeddings of a vocabulary; it reads each image of a batch once, whoever asks."""

    def __init__(self, reader: ClipReader, name: str, vocabulary: Vocabulary, temperature_factor: float) -> None:
        """Embed the vocabulary once.

        Args:
            reader: the model, in eval mode on its device, at its own side.
            name: the source of its texts.
            vocabulary: the concepts.
            temperature_factor: times the model's logit scale.
        """
        self.name = name
        self._reader = ClipReader(
            reader.tower, reader.tokenize, reader.images.of_regions, reader.device, reader.dtype, reader.texts_read
        )
        self._scale = reader.scoring.scale * temperature_factor
        prompts = [*map(with_article, vocabulary.things), *(f"on {name}" for name in vocabulary.stuff)]
        self._concepts = self.texts(prompts)
        self._seen: dict[int, tuple[Pixels, ImageReading]] = {}

    def texts(self, texts: Sequence[str]) -> Float[torch.Tensor, "t d"]:
        """Embed texts with the model, as they are."""
        parts = [self._reader.texts(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        return torch.cat(parts) if parts else torch.zeros(0, 1)

    def read(self, images: Sequence[Pixels]) -> list[ImageReading]:
        """Return a reading of each image; those of the last call are remembered."""
        if not all(id(pixels) in self._seen for pixels in images):
            self._seen = {}
            different = list({id(pixels): pixels for pixels in images}.values())
            for start in range(0, len(different), _BATCH):
                part = different[start : start + _BATCH]
                embedded, dense = self._reader.read(part)
                for pixels, image, one in zip(part, embedded.cpu(), dense, strict=True):
                    # the pixels are held, so that no other image gets their identity
                    self._seen[id(pixels)] = pixels, ImageReading(image, one.cpu(), self._concepts, self._scale)
        return [self._seen[id(pixels)][1] for pixels in images]
