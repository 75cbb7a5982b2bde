"""`Model`: turns images, texts, boxes and masks into embeddings and probabilities of labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from umgclip.errors import DataError, InputError
from umgclip.inference.arguments import (
    Boxes,
    Labels,
    Masks,
    batches,
    box_shares,
    find_device,
    listed_texts,
    masks_inside,
    one_picture,
    read_pictures,
)
from umgclip.inference.text_cache import TextCache
from umgclip.io.pictures import Picture, Pictures, is_picture, pictures, read_picture
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.preprocess import FITS, Fit
from umgclip.model.clip.prompts import fill_template
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.readout import cell_weights, pool_boxes, pool_masks
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage
from umgclip.params.section import BOX_SHARE

_BATCH, _TEXT_BATCH = 32, 256
_LABELS_KEPT = 1 << 14
_Item = TypeVar("_Item")
Many = list[Any] | tuple[Any, ...]  # any iterable will do; `Iterable` would include a path, which is one image
Rows = Float[np.ndarray, "n d"]


class Model:
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

    def embed_images(self, images: Pictures, batch: int = _BATCH) -> Rows:
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
        rows = [_finite(self._reader.read(part)[0]) for part in batches(read_pictures(images, "images"), batch)]
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
    def embed_boxes(self, image: Picture, boxes_xyxy: Boxes) -> Rows: ...
    @overload
    def embed_boxes(self, image: Many, boxes_xyxy: Iterable[Boxes]) -> list[Rows]: ...
    def embed_boxes(self, image: Any, boxes_xyxy: Any) -> Any:
        """Embed regions of images given by boxes.

        Args:
            image: one image, or several.
            boxes_xyxy: one row `x0, y0, x1, y1` per box, in pixels of the upright image; for several images one such
                array per image. The part outside the image is cut off.

        Returns:
            Shape (boxes, d); for several images a list with one array per image.

        Raises:
            InputError: the shape or a number is wrong, or a box is empty or outside the image; names the box.

        Example:
            >>> import umgclip
            >>> model = umgclip.load("artifacts")
            >>> model.embed_boxes("photo.jpg", [[0, 0, 100, 100], [50, 20, 300, 200]]).shape
            (2, 512)
        """

        def read(dense: Float[Tensor, "d h w"], boxes: Boxes, size_wh: tuple[int, int], where: str) -> Tensor:
            shares = box_shares(boxes, size_wh, where)
            return pool_boxes(dense[None], shares, torch.zeros(len(shares), dtype=torch.long), self.box_share)

        return self._regions(image, boxes_xyxy, "boxes_xyxy", read)

    @overload
    def embed_masks(self, image: Picture, masks: Masks) -> Rows: ...
    @overload
    def embed_masks(self, image: Many, masks: Iterable[Masks]) -> list[Rows]: ...
    def embed_masks(self, image: Any, masks: Any) -> Any:
        """Embed regions of images given by masks.

        Args:
            image: one image, or several.
            masks: one array of bool per region, of the image's height and width; for several images one list per
                image.

        Returns:
            Shape (masks, d); for several images a list with one array per image.

        Raises:
            InputError: a mask is empty or has another size than the image; names the mask.

        Example:
            >>> import numpy as np
            >>> import umgclip
            >>> mask = np.zeros((480, 640), dtype=bool)
            >>> mask[100:200, 300:400] = True
            >>> umgclip.load("artifacts").embed_masks("photo.jpg", [mask]).shape
            (1, 512)
        """

        def read(dense: Float[Tensor, "d h w"], masks: Masks, size_wh: tuple[int, int], where: str) -> Tensor:
            inside = masks_inside(masks, (size_wh[1], size_wh[0]), where)
            weights = cell_weights(inside, (dense.shape[1], dense.shape[2]))
            return pool_masks(dense[None], weights, torch.zeros(len(weights), dtype=torch.long))

        return self._regions(image, masks, "masks", read)

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

    def similarity_map(self, image: Picture, labels: Labels) -> Float[np.ndarray, "labels height width"]:
        """Return the cosine of each pixel with each label, interpolated from the grid to the size of the image.

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").similarity_map("photo.jpg", ["dog", "apple"]).shape
            (2, 480, 640)
        """
        prompts, pixels = self._prompts(labels), one_picture(image)
        cells = torch.einsum("ld,dhw->lhw", prompts, self._dense(pixels))
        size = (pixels.shape[0], pixels.shape[1])
        return F.interpolate(cells[None], size, mode="bilinear", align_corners=False)[0].numpy()

    def dense(self, image: Picture) -> Float[np.ndarray, "d h w"]:
        """Return the dense map of an image: one embedding per cell of the model's grid, shape (d, h, w).

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").dense("photo.jpg").shape  # 96 pixels in cells of 12
            (512, 8, 8)
        """
        return self._dense(one_picture(image)).numpy()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model into a new folder, which `umgclip.load` reads, and open_clip as `local-dir:FOLDER`.

        A side other than the model's (`image_px`) is not saved; a warning says so.

        Raises:
            InputError: the folder is not empty, or the model cannot be written: it was made in memory, or its adapter
                cannot be merged.
            OutputError: the folder cannot be written.

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").save("saved")
            >>> umgclip.load("saved").embed_dim
            512
        """
        from umgclip.inference.export.open_clip_folder import save_model

        save_model(self.tower, self.usage, Path(folder))
        if self._reader.images.size_hw != self.tower.image_hw:
            side = self._reader.images.size_hw[0]
            warnings.warn(f"image_px={side} is not saved: give it to umgclip.load again", stacklevel=2)

    @property
    def usage(self) -> Usage:
        """The settings by which images and labels reach the model."""
        return Usage(replace(self.tower.preprocess, fit=self.resize), self.template, self.box_share)

    def _regions(self, image: Any, regions: Any, where: str, read: _Read) -> Rows | list[Rows]:  # noqa: ANN401
        """Apply `read` to the regions of each image and its dense map."""
        if is_picture(image):
            pixels = read_picture(image)
            return read(self._dense(pixels), regions, (pixels.shape[1], pixels.shape[0]), where).numpy()
        if not isinstance(regions, Iterable) or isinstance(regions, str | bytes):
            raise InputError(f"{where}: expected a list, one entry per image, got a {type(regions).__name__}")
        images, each = list(pictures(image, "image")), list(regions)
        if len(images) != len(each):
            raise InputError(f"{where}: expected one entry per image, {len(images)} in all, got {len(each)}")
        results: list[Rows] = []
        for part in batches(read_pictures(images, "image"), _BATCH):
            for pixels, dense in zip(part, self._dense_maps(part), strict=True):
                index, size = len(results), (pixels.shape[1], pixels.shape[0])
                results.append(read(dense, each[index], size, f"{where}[{index}]").numpy())
        return results

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
        rows = [_finite(self._reader.texts(part)) for part in batches(texts, batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    def _dense(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> Float[Tensor, "d h w"]:
        return self._dense_maps([pixels])[0]

    def _dense_maps(self, pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float[Tensor, "d _ _"]]:
        """Return the dense map of each image, without its padding."""
        return [_finite(dense) for dense in self._region_reader.read(pixels)[1]]


_Read = Callable[[Float[Tensor, "d h w"], Any, tuple[int, int], str], Tensor]


def _finite(rows: Tensor) -> Tensor:
    rows = rows.float().cpu()
    if not rows.isfinite().all():
        raise DataError("the model gives numbers that are infinite or none: its weights are damaged")
    return rows
