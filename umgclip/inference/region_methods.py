"""Regions of a `Model`: embeddings of boxes and masks, and maps of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, UInt8
from torch import Tensor

from umgclip.errors import DataError, InputError
from umgclip.inference.arguments import (
    Boxes,
    Labels,
    Masks,
    batches,
    box_shares,
    masks_inside,
    one_picture,
    read_pictures,
)
from umgclip.io.pictures import Picture, is_picture, pictures, read_picture
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.readout import cell_weights, pool_boxes, pool_masks

BATCH = 32  # images in a forward pass
Many = list[Any] | tuple[Any, ...]  # any iterable will do; `Iterable` would include a path, which is one image
Rows = Float[np.ndarray, "n d"]
_Read = Callable[[Float[Tensor, "d h w"], Any, tuple[int, int], str], Tensor]


def finite(rows: Tensor) -> Tensor:
    """Return numbers as float32 on the CPU.

    Raises:
        DataError: one is infinite or none.
    """
    rows = rows.float().cpu()
    if not rows.isfinite().all():
        raise DataError("the model gives numbers that are infinite or none: its weights are damaged")
    return rows


class RegionMethods:
    """Embeddings of boxes and masks, and maps.

    Attributes:
        box_share: share of a box's sides that is read, about its middle.
    """

    box_share: float
    _reader: ClipReader  # of whole images
    _region_reader: ClipReader  # the same model with images fitted for regions

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

    def embed_with_regions(
        self, images: Many, boxes_xyxy: Many, masks: Many | None = None, batch: int = BATCH
    ) -> list[tuple[Float[np.ndarray, " d"], Rows]]:
        """Embed images and their regions, both from one forward pass where images are fitted alike for both.

        Args:
            images: several images.
            boxes_xyxy: one array of boxes per image, as in `embed_boxes`; empty for an image without regions.
            masks: one list per image with a mask or None for each of its boxes. A mask is read in place of its box.
            batch: images per forward pass.

        Returns:
            One pair per image: its embedding (d,), and those of its regions (boxes, d). They are those of
            `embed_images`, `embed_boxes` and `embed_masks`.

        Raises:
            InputError: see those methods.
            DataError: an image cannot be read.

        Example:
            >>> import umgclip
            >>> model = umgclip.load("artifacts")
            >>> ((image, regions),) = model.embed_with_regions(["photo.jpg"], [[[0, 0, 100, 100], [50, 20, 300, 200]]])
            >>> image.shape, regions.shape
            ((512,), (2, 512))
        """
        together = self._region_reader.images == self._reader.images
        results: list[tuple[Float[np.ndarray, " d"], Rows]] = []
        for part in batches(read_pictures(images, "images"), batch):
            whole, dense = self._reader.read(part)
            maps = [finite(one) for one in dense] if together else self._dense_maps(part)
            for pixels, image, cells in zip(part, finite(whole), maps, strict=True):
                index, size = len(results), (pixels.shape[1], pixels.shape[0])
                shares = box_shares(boxes_xyxy[index], size, f"boxes_xyxy[{index}]")
                rows = pool_boxes(cells[None], shares, torch.zeros(len(shares), dtype=torch.long), self.box_share)
                drawn = [] if masks is None else [(i, one) for i, one in enumerate(masks[index]) if one is not None]
                if drawn:
                    inside = masks_inside([one for _, one in drawn], (size[1], size[0]), f"masks[{index}]")
                    weights = cell_weights(inside, (cells.shape[1], cells.shape[2]))
                    pooled = pool_masks(cells[None], weights, torch.zeros(len(weights), dtype=torch.long))
                    rows[[i for i, _ in drawn]] = pooled
                results.append((image.numpy(), rows.numpy()))
        return results

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
        for part in batches(read_pictures(images, "image"), BATCH):
            for pixels, dense in zip(part, self._dense_maps(part), strict=True):
                index, size = len(results), (pixels.shape[1], pixels.shape[0])
                results.append(read(dense, each[index], size, f"{where}[{index}]").numpy())
        return results

    def _dense(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> Float[Tensor, "d h w"]:
        return self._dense_maps([pixels])[0]

    def _dense_maps(self, pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float[Tensor, "d _ _"]]:
        """Return the dense map of each image, without its padding."""
        return [finite(dense) for dense in self._region_reader.read(pixels)[1]]

    def _prompts(self, labels: Labels) -> Float[Tensor, "n d"]:
        """Embed labels in their prompt."""
        raise NotImplementedError
