"""`Model`: turns images, texts, boxes and masks into embeddings and probabilities of labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.inference.arguments import (
    Boxes,
    Labels,
    Masks,
    batches,
    find_device,
    listed_texts,
    read_pictures,
)
from umgclip.inference.detecting.methods import DetectMethods
from umgclip.inference.hub.methods import PretrainedMethods
from umgclip.inference.region_methods import BATCH, Many, Rows, finite
from umgclip.inference.text_cache import TextCache
from umgclip.io.pictures import Picture, Pictures
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.preprocess import FITS, Fit
from umgclip.model.clip.prompts import fill_template
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage
from umgclip.params.section import BOX_SHARE

_TEXT_BATCH = 256
_LABELS_KEPT = 1 << 14


class Model(DetectMethods, PretrainedMethods):
    """A CLIP that embeds images, texts, boxes and masks into one space, as float32 rows of length 1.

    An image is a path, the bytes of an image file, an open binary file, a PIL image, an RGB array (height, width, 3) of
    uint8 or a tensor (3, height, width); see `umgclip.io.pictures.read_picture` for other types and grey. The same
    picture gives the same row in every form. Boxes are `x0, y0, x1, y1` in pixels of the upright image. A single text
    counts as a list of one.

    A model can be used from several threads, copied and pickled.

    Example:
        >>> import umgclip
        >>> model = umgclip.load("artifacts")
        >>> model.embed_dim
        512
        >>> images = model.embed_images(["photo.jpg", "photo.jpg"])
        >>> texts = model.embed_texts(["a photo of a dog", "a photo of a cat", "a photo of an apple"])
        >>> images.shape, texts.shape
        ((2, 512), (3, 512))
        >>> (images @ texts.T).shape  # cosines, because rows have length 1
        (2, 3)

    Attributes:
        embed_dim: dimension of the space.
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: share of a box's sides that is read, about its middle.
        resize: how an image of another aspect than the model's is fitted.
        tower: the network, for whatever this class does not offer.
    """

    def __init__(
        self,
        clip: nn.Module,
        *,
        template: str = "{a} {}",
        device: str | None = None,
        image_px: int | None = None,
        resize: Fit | None = None,
        box_share: float = BOX_SHARE,
    ) -> None:
        """Wrap an open_clip model and move it to the device; see `umgclip.load` for the arguments.

        Raises:
            InputError: the value of an argument is not allowed.
        """
        if not 0 < box_share <= 1:
            raise InputError(f"box_share: expected more than 0 and at most 1, got {box_share}")
        if "{}" not in template:
            raise InputError(f"template: expected a text with {{}} where the label goes, got {template!r}")
        self.tower = DenseClip(clip).eval().to(find_device(device))
        self.resize = self.tower.preprocess.fit if resize is None else resize
        if self.resize not in FITS:
            raise InputError(f"resize: expected one of {', '.join(FITS)}, got {resize!r}")
        self.template = template
        self.box_share = box_share
        self.embed_dim = self.tower.embed_dim
        images = ImageInput.of(self.tower, image_px, self.resize)
        self._device = next(self.tower.parameters()).device
        self._reader = ClipReader(self.tower, self.tower.tokenizer, images, self._device)
        self._region_reader = replace(self._reader, images=images.of_regions)
        self._labels = TextCache(_LABELS_KEPT)

    def __repr__(self) -> str:
        height, width = self._reader.images.size_hw
        return (
            f"Model({width} x {height} px by {self.resize}, {self.embed_dim} dimensions, "
            f"template={self.template!r}, box_share={self.box_share:g}, device={str(self._device)!r})"
        )

    def embed_images(self, images: Pictures, batch: int = BATCH) -> Rows:
        """Embed whole images by their global embeddings.

        Args:
            images: one image or any iterable of images. They are decoded and embedded in batches, so their pixels need
                not fit into memory together.
            batch: images per forward pass.

        Returns:
            One row per image, shape (images, d).

        Raises:
            InputError: something is not an image; names its index.
            DataError: an image cannot be read.

        Example:
            >>> import umgclip
            >>> model = umgclip.load("artifacts")
            >>> model.embed_images("photo.jpg").shape
            (1, 512)
        """
        rows = [finite(self._reader.read(part)[0]) for part in batches(read_pictures(images, "images"), batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    def embed_texts(self, texts: Labels, batch: int = _TEXT_BATCH) -> Rows:
        """Embed texts as they are, without a prompt; the methods that take labels put them into the prompt.

        A text longer than the model's context is cut, with a warning.

        Returns:
            One row per text, shape (texts, d).

        Raises:
            InputError: something is not a text; names its index.

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").embed_texts(["a dog on a beach", "an apple"]).shape
            (2, 512)
        """
        return self._embed(listed_texts(texts, "texts", empty_allowed=True), batch)

    @overload
    def classify(
        self, image: Picture, labels: Labels, *, boxes_xyxy: Boxes | None = None, masks: Masks | None = None
    ) -> Rows: ...
    @overload
    def classify(
        self, image: Many, labels: Labels, *, boxes_xyxy: Many | None = None, masks: Many | None = None
    ) -> Rows | list[Rows]: ...
    def classify(
        self,
        image: Any,  # noqa: ANN401 - see above
        labels: Labels,
        *,
        boxes_xyxy: Any = None,  # noqa: ANN401
        masks: Any = None,  # noqa: ANN401
    ) -> Any:
        """Return the probability of each label for boxes, masks or whole images.

        With a model trained with a softmax each row sums to 1. A model trained with sigmoids (SigLIP) scores each label
        alone; see `umgclip.model.clip.reader.Scoring`.

        Args:
            image: one image, or several.
            labels: names to choose from; each is put into the prompt `template`.
            boxes_xyxy: as in `embed_boxes`.
            masks: as in `embed_masks`.

        Returns:
            Shape (rows, labels), one row per box or mask, or per image without either. For several images with boxes
            or masks a list with one array per image.

        Raises:
            InputError: there are no labels, there are both boxes and masks, or see the other methods.

        Example:
            >>> import umgclip
            >>> model = umgclip.load("artifacts")
            >>> model.classify("photo.jpg", ["dog", "cat", "apple"]).shape
            (1, 3)
            >>> scores = model.classify("photo.jpg", ["dog", "cat"], boxes_xyxy=[[0, 0, 100, 100]])
            >>> scores.sum(axis=1).round(3).tolist()
            [1.0]
        """
        if boxes_xyxy is not None and masks is not None:
            raise InputError("classify: expected boxes_xyxy or masks or neither, got both; call it once for each")
        prompts = self._prompts(labels)
        if boxes_xyxy is None and masks is None:
            return self._scores(self.embed_images(image), prompts)
        regions = self.embed_boxes(image, boxes_xyxy) if masks is None else self.embed_masks(image, masks)
        if isinstance(regions, list):
            return [self._scores(rows, prompts) for rows in regions]
        return self._scores(regions, prompts)

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """The settings by which images and labels reach the model."""
        return Usage(replace(self.tower.preprocess, fit=self.resize), self.template, self.box_share)

    def _warn_of_side(self) -> None:
        if self._reader.images.size_hw != self.tower.image_hw:
            side = self._reader.images.size_hw[0]
            warnings.warn(f"image_px={side} is not saved: give it to umgclip.load again", stacklevel=3)

    def _prompts(self, labels: Labels) -> Float[Tensor, "n d"]:
        """Embed labels in their prompt, from the cache of recent prompts where possible."""
        texts = listed_texts(labels, "labels", empty_allowed=False)
        if not texts:
            raise InputError("labels: expected at least one text, got none")
        prompts = [fill_template(self.template, text) for text in texts]
        known = self._labels.get(prompts)
        if missing := [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]:
            fresh = dict(zip(missing, torch.from_numpy(self._embed(missing, _TEXT_BATCH)), strict=True))
            self._labels.put(fresh)
            known |= fresh
        return torch.stack([known[prompt] for prompt in prompts])

    def _scores(self, rows: Rows, prompts: Float[Tensor, "labels d"]) -> Float[np.ndarray, "n labels"]:
        return self._reader.scoring.probabilities(torch.from_numpy(rows), prompts).numpy()

    def _embed(self, texts: Sequence[str], batch: int) -> Rows:
        if cut := self.tower.tokenizer.cut(texts):
            warnings.warn(
                f"texts: {len(cut)} of {len(texts)} are longer than the model's {self.tower.context_length} tokens and "
                f"are cut, first {cut[0][:80]!r}",
                stacklevel=3,
            )
        rows = [finite(self._reader.texts(part)) for part in batches(texts, batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)
