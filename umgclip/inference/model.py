"""`Model`: images, texts, boxes and masks to embeddings, and to scores of labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from umgclip.errors import DataError, InputError
from umgclip.inference.arguments import Boxes, Labels, Masks, box_shares, listed_texts, masks_inside
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
Many = list[Any] | tuple[Any, ...]  # any iterable; but a path is one, too, which types cannot tell apart
Rows = Float[np.ndarray, "n d"]


class Model:
    """Embeds images, texts, boxes and masks into one space; every embedding is a float32 row of length 1.

    An image is a path, the bytes of an image file, an open binary file, a PIL image, an RGB array (height, width, 3) of
    uint8 or a tensor (3, height, width); see `umgclip.io.pictures.read_picture` for other types and grey. The same
    picture gives the same row whatever it comes as. Boxes are `x0, y0, x1, y1` in pixels of the upright image. A text
    where texts are asked for is one text.

    It may be used from several threads, copied and pickled.

    Attributes:
        embed_dim: dimension of the space.
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: what is read of a box, of its sides about its middle.
        resize: what becomes of an aspect that is not the model's.
        tower: the network, for what is not offered here.
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
        """Take an open_clip model; see `load` for the arguments.

        Raises:
            InputError: an argument is none of those that there are.
        """
        if not 0 < box_share <= 1:
            raise InputError(f"box_share: expected more than 0 and at most 1, got {box_share}")
        if "{}" not in template:
            raise InputError(f"template: expected a text with {{}} where the label goes, got {template!r}")
        self.tower = DenseClip(clip).eval().to(_device(device))
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
        """Global embeddings.

        Args:
            images: one or any number; they are decoded and embedded in batches, so they need not fit into memory as
                pixels.
            batch: images a forward.

        Raises:
            InputError: something is no image; names its place in the list.
            DataError: an image cannot be read.
        """
        rows = [_finite(self._reader.read(part)[0]) for part in _batches(_read(images, "images"), batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    def embed_texts(self, texts: Labels, batch: int = _TEXT_BATCH) -> Rows:
        """Text embeddings, of the texts as they are; labels get their prompt in the methods that take labels.

        A text that is longer than the model's context is cut, with a warning.

        Raises:
            InputError: something is no text; names its place in the list.
        """
        return self._embed(listed_texts(texts, "texts", empty_allowed=True), batch)

    @overload
    def embed_boxes(self, image: Picture, boxes_xyxy: Boxes) -> Rows: ...
    @overload
    def embed_boxes(self, image: Many, boxes_xyxy: Iterable[Boxes]) -> list[Rows]: ...
    def embed_boxes(self, image: Any, boxes_xyxy: Any) -> Any:
        """Embeddings of regions by box.

        Args:
            image: one image, or several.
            boxes_xyxy: one row `x0, y0, x1, y1` a box, in pixels of the upright image; of several images one such array
                an image. What lies outside the image is cut off.

        Returns:
            One row a box; of several images a list, one array an image.

        Raises:
            InputError: another shape or number, or a box is empty or outside the image; names it.
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
        """Embeddings of regions by mask.

        Args:
            image: one image, or several.
            masks: one array of bool of the image's height and width a region; of several images one list an image.

        Returns:
            One row a mask; of several images a list, one array an image.

        Raises:
            InputError: a mask is empty or not of the image's size; names it.
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
        """Probabilities of the labels: of boxes, or of masks, or of the whole image as one row.

        Of a model that was trained with a softmax each row sums to 1. Of one trained with a sigmoid (SigLIP) each label
        is a question of its own.

        Args:
            image: one image, or several.
            labels: what to choose from; a single text is one label.
            boxes_xyxy: as in `embed_boxes`.
            masks: as in `embed_masks`.

        Returns:
            (rows, labels): one row a box or mask, or an image where there are neither; of several images with boxes or
            masks a list, one array an image.

        Raises:
            InputError: no labels, both boxes and masks, or what the other methods refuse.
        """
        if boxes_xyxy is not None and masks is not None:
            raise InputError("classify: expected boxes_xyxy or masks or neither, got both")
        prompts = self._prompts(labels)
        if boxes_xyxy is None and masks is None:
            return self._scores(self.embed_images(image), prompts)
        regions = self.embed_boxes(image, boxes_xyxy) if masks is None else self.embed_masks(image, masks)
        if isinstance(regions, list):
            return [self._scores(rows, prompts) for rows in regions]
        return self._scores(regions, prompts)

    def similarity_map(self, image: Picture, labels: Labels) -> Float[np.ndarray, "labels height width"]:
        """Cosine of each pixel's place with each label, interpolated to the size of the image."""
        prompts, pixels = self._prompts(labels), _one(image)
        cells = torch.einsum("ld,dhw->lhw", prompts, self._dense(pixels))
        size = (pixels.shape[0], pixels.shape[1])
        return F.interpolate(cells[None], size, mode="bilinear", align_corners=False)[0].numpy()

    def dense(self, image: Picture) -> Float[np.ndarray, "d h w"]:
        """Embeddings of the places of an image, one a cell of the model's grid."""
        return self._dense(_one(image)).numpy()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model into a new folder that `load` reads again, and open_clip as `local-dir:FOLDER`.

        A canvas of another side than the model's own (`image_px`) is no part of it, and is warned of.

        Raises:
            InputError: the folder holds something already, or the model cannot be written: it was made in memory, or
                its adapter cannot be merged.
            OutputError: the folder cannot be written.
        """
        from umgclip.inference.export.open_clip_folder import save_model

        save_model(self.tower, self.usage, Path(folder))
        if self._reader.images.size_hw != self.tower.image_hw:
            side = self._reader.images.size_hw[0]
            warnings.warn(f"image_px={side} is not saved: give it to umgclip.load again", stacklevel=2)

    @property
    def usage(self) -> Usage:
        """How images and labels reach the model."""
        return Usage(replace(self.tower.preprocess, fit=self.resize), self.template, self.box_share)

    def _regions(self, image: Any, regions: Any, where: str, read: _Read) -> Rows | list[Rows]:  # noqa: ANN401
        """What `read` makes of each image's regions on its dense map."""
        if is_picture(image):
            pixels = read_picture(image)
            return read(self._dense(pixels), regions, (pixels.shape[1], pixels.shape[0]), where).numpy()
        if not isinstance(regions, Iterable) or isinstance(regions, str | bytes):
            raise InputError(f"{where}: expected a list, one entry an image, got a {type(regions).__name__}")
        images, each = list(pictures(image, "image")), list(regions)
        if len(images) != len(each):
            raise InputError(f"{where}: expected one entry an image, {len(images)} in all, got {len(each)}")
        found: list[Rows] = []
        for part in _batches(_read(images, "image"), _BATCH):
            for pixels, dense in zip(part, self._dense_maps(part), strict=True):
                place, size = len(found), (pixels.shape[1], pixels.shape[0])
                found.append(read(dense, each[place], size, f"{where}[{place}]").numpy())
        return found

    def _prompts(self, labels: Labels) -> Float[Tensor, "n d"]:
        """Embeddings of labels in their prompt; those asked for lately are remembered."""
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
        rows = [_finite(self._reader.texts(part)) for part in _batches(texts, batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    def _dense(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> Float[Tensor, "d h w"]:
        return self._dense_maps([pixels])[0]

    def _dense_maps(self, pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float[Tensor, "d _ _"]]:
        """Return the dense map of each image, without its padding."""
        return [_finite(dense) for dense in self._region_reader.read(pixels)[1]]


_Read = Callable[[Float[Tensor, "d h w"], Any, tuple[int, int], str], Tensor]


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"device: expected one of torch's, such as cpu, cuda or cuda:1, got {name!r}") from error
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # no driver, no such GPU, or torch was built without
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"device: expected one that is here, such as cpu, got {str(device)!r}: {reason}") from error
    return device


def _finite(rows: Tensor) -> Tensor:
    rows = rows.float().cpu()
    if not rows.isfinite().all():
        raise DataError("the model gives numbers that are infinite or none: its weights are damaged")
    return rows


def _one(image: Picture) -> UInt8[np.ndarray, "height width 3"]:
    if not is_picture(image):
        raise InputError(f"image: expected one image, got a {type(image).__name__}")
    return read_picture(image)


def _read(images: Pictures, where: str) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    single = is_picture(images)
    for place, image in enumerate(pictures(images, where)):
        yield read_picture(image, "image" if single else f"{where}[{place}]")


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    if size < 1:
        raise InputError(f"batch: expected at least 1, got {size}")
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
