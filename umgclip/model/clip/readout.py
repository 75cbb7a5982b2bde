"""Region embeddings read out of a dense map: boxes by RoIAlign, masks by pooling on the token grid."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.geometry.masks import to_grid
from umgclip.model.clip.light_open_clip import roi_align

_EPS = 1e-6


def pool_boxes(
    dense: Float[Tensor, "b d h w"],
    boxes_xyxy: Float[Tensor, "r 4"],
    image_of_box: Int[Tensor, "r"],
    share: float = 1.0,
) -> Float[Tensor, "r d"]:
    """Return one L2-normalised embedding per box, by RoIAlign with one bin (He et al., ICCV 2017).

    The rim of a box shows what is behind its object more often than the object, and cells of the dense map that it
    crosses show things beyond it. Less than the whole box keeps both out.

    Args:
        dense: the dense map.
        boxes_xyxy: boxes as shares of the image's sides, 0 to 1.
        image_of_box: index of each box's image in the batch.
        share: of each side of the box, about its middle, that is pooled; over 0, 1 is the whole box.
    """
    if share != 1.0:
        middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]).repeat(1, 2) / 2
        boxes_xyxy = middle + share * (boxes_xyxy - middle)
    height, width = dense.shape[2:]
    dense = dense.float()  # bfloat16 would round the boxes, and image numbers above 256
    scale = boxes_xyxy.new_tensor([width, height, width, height])
    rois = torch.cat([image_of_box[:, None].float(), (boxes_xyxy * scale).float()], dim=1)
    pooled = roi_align(dense, rois, (1, 1), spatial_scale=1.0, sampling_ratio=-1, aligned=True)
    return F.normalize(pooled.flatten(1), dim=-1)


def pool_masks(
    dense: Float[Tensor, "b d h w"], masks: Float[Tensor, "r h w"], image_of_mask: Int[Tensor, "r"]
) -> Float[Tensor, "r d"]:
    """Return one L2-normalised embedding per mask: sum(m f) / sum(m), m the covered share of a grid cell.

    One product an image pools all of its masks, so no copy of a dense map is made for each of them.
    """
    weights = masks.flatten(1).to(dense.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=_EPS)
    pooled = dense.new_zeros((len(masks), dense.shape[1]))
    for image in image_of_mask.unique().tolist():
        rows = (image_of_mask == image).nonzero()[:, 0]
        pooled[rows] = weights[rows] @ dense[image].flatten(1).T
    return F.normalize(pooled, dim=-1)


def pool_regions(
    dense: Float[Tensor, "b d h w"], weights: Float[Tensor, "r h w"], slot: Int[Tensor, "r"], slots: int
) -> Float[Tensor, "r d"]:
    """Return one L2-normalised embedding per region: the sum of its image's cells by its weights, in float32.

    One product an image pools all of its regions, and keeps no copy of the dense map for the backward.

    Args:
        dense: the dense map.
        weights: of each region's cells; they need no sum of 1.
        slot: the place of each region among `slots` of every image, those of the first image first; no two share one.
        slots: of each image.
    """
    images, cells = dense.shape[0], weights.shape[1] * weights.shape[2]
    table = weights.new_zeros((images * slots, cells), dtype=torch.float32)
    table = table.index_copy(0, slot, weights.flatten(1).float()).unflatten(0, (images, slots))
    kind = dense.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        pooled = torch.bmm(table, dense.flatten(2).transpose(1, 2).float()).flatten(0, 1)
    return F.normalize(pooled.index_select(0, slot), dim=-1)


@torch.no_grad()
def box_weights(boxes_xyxy: Float[Tensor, "r 4"], grid_hw: tuple[int, int]) -> Float[Tensor, "r h w"]:
    """Return how much of each grid cell `pool_boxes` reads: the weights of RoIAlign with one bin, of sum 1.

    RoIAlign averages bilinear samples at even distances, at most one cell, along both sides (torchvision's
    `sampling_ratio=-1` and `aligned=True`), so its weights are a product of those along either side.

    Args:
        boxes_xyxy: boxes as shares of the image's sides, 0 to 1.
        grid_hw: rows and columns of the dense map.
    """
    rows = _side_weights(boxes_xyxy[:, 1], boxes_xyxy[:, 3], grid_hw[0])
    columns = _side_weights(boxes_xyxy[:, 0], boxes_xyxy[:, 2], grid_hw[1])
    return rows[:, :, None] * columns[:, None, :]


def _side_weights(low: Float[Tensor, "r"], high: Float[Tensor, "r"], cells: int) -> Float[Tensor, "r cells"]:
    start, end = low.float() * cells - 0.5, high.float() * cells - 0.5
    size = (end - start)[:, None]
    samples = size.ceil()
    number = torch.arange(cells, device=low.device)  # no box has more samples than there are cells
    at = (start[:, None] + (number + 0.5) * size / samples.clamp_min(1)).clamp(0, cells - 1)
    near = F.relu(1 - (at[:, :, None] - number).abs())  # (r, samples, cells)
    return (near * (number < samples)[:, :, None]).sum(1) / samples.clamp_min(1)


def cell_weights(masks: Sequence[Bool[np.ndarray, "height width"]], grid_hw: tuple[int, int]) -> Float[Tensor, "r h w"]:
    """Return the share of each grid cell that each mask covers, with cells off the mask at 0."""
    if not masks:
        return torch.zeros(0, *grid_hw)
    return torch.from_numpy(np.stack([to_grid(mask, grid_hw) for mask in masks]))


def pool_masks_of_one(dense: Float[Tensor, "d h w"], weights: Float[Tensor, "r h w"]) -> Float[Tensor, "r d"]:
    """Pool the masks of one image as one matrix product, `pool_masks` but for rounding.

    The weights need no sum of 1, because every pooled embedding is normalised.
    """
    return F.normalize(weights.flatten(1) @ dense.flatten(1).T, dim=-1)


@torch.inference_mode()
def read_masks(
    dense: Float[Tensor, "d h w"], masks: Sequence[Bool[np.ndarray, "height width"]]
) -> Float[Tensor, "r d"]:
    """Embed masks, at the size of the image, out of one image's dense map."""
    return pool_masks_of_one(dense, cell_weights(masks, (dense.shape[1], dense.shape[2])))
