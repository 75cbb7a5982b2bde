"""Token clustering: the middle blocks of a ViT run on a coarser grid (Expedit, Liang et al., NeurIPS 2022).

After block a the cells become clusters, class and register tokens stay apart. Centres start as the adaptive average
pool of the h x w tokens to h' x w'. Then, some times over, every token is shared among the centres near its place,
`Q = softmax_i(-t |z_j - s_i|^2)`, and every centre becomes the mean of its tokens, `s_i = sum(Q z) / sum(Q)`. Before
the last block each cell gets the mean of its nearest clusters, weighted by `exp(-t |z_j - s_i|^2)` (z and s of block a)
with a sum of 1.

Assignments are constants of the backward pass: gradients reach the tokens through the means, those of the centres and
those of the cells. There is nothing to learn, so any tower takes it. Clusters remain a grid of fixed size in row order.
Cells without image belong to no cluster, and clusters without image are no keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.model.clip.vision.token_grid import Merged, TokenGrid
from umgclip.params import ClusteringParams

REACH = 2  # clusters to each side of a token's own place that it may belong to: a window of 5 x 5, as released
_TINY = 1e-30  # less mass than this is none, and a centre without mass stays where it was
_Block = TypeVar("_Block")


def clustering_of(visual: Any) -> ClusteringParams | None:  # noqa: ANN401 - any image tower
    """Return the settings written down on an image tower; None: all blocks run on all tokens."""
    return getattr(visual, "umgclip_clustering", None)


def run_merged(
    blocks: Sequence[_Block],
    x: Float[Tensor, "b n d"],
    grid: TokenGrid,
    clustering: ClusteringParams,
    run: Callable[[Sequence[_Block], Tensor, TokenGrid], Tensor],
) -> Float[Tensor, "b n d"]:
    """Run all blocks but the last, those after `after_block` on clusters.

    Args:
        blocks: of the tower.
        x: the first block's input.
        grid: where its tokens stand.
        clustering: the settings; `applies` is true of them.
        run: runs some blocks on the tokens of a grid.

    Returns:
        The last block's input, on the grid that came in.
    """
    x = run(blocks[: clustering.after_block], x, grid)
    x, clusters = merge(x, grid, clustering)
    x = run(blocks[clustering.after_block : -1], x, clusters)
    return unmerge(x, clusters)[0]


def coarse_hw(grid: TokenGrid, clustering: ClusteringParams) -> tuple[int, int]:
    """Return rows and columns of the clusters, along each side at most as many as there are cells."""
    rows, columns = clustering.rows_columns
    return min(rows, grid.height), min(columns, grid.width)


def applies(clustering: ClusteringParams | None, grid: TokenGrid) -> bool:
    """Return whether there are fewer clusters than cells, so that clustering has something to do."""
    return clustering is not None and coarse_hw(grid, clustering) != (grid.height, grid.width)


def merge(
    x: Float[Tensor, "b n d"], grid: TokenGrid, clustering: ClusteringParams
) -> tuple[Float[Tensor, "b m d"], TokenGrid]:
    """Replace cells by clusters; the prefix stays.

    Returns:
        Tokens, and their grid, which knows the way back.
    """
    rows, columns = coarse_hw(grid, clustering)
    cells = x[:, grid.prefix :]
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        places = _Places.of(grid, (rows, columns), x.device)
        shares, weights = _assign(cells.detach().float(), places, clustering)
    with torch.autocast(x.device.type, enabled=False):
        centres = (shares @ cells.float()).to(x.dtype)
    valid = None if places.alive is None else places.alive.unflatten(1, (rows, columns))
    coarse = TokenGrid(rows, columns, grid.prefix, valid, merged=Merged(grid, weights))
    return torch.cat([x[:, : grid.prefix], centres], dim=1), coarse


def unmerge(x: Float[Tensor, "b m d"], grid: TokenGrid) -> tuple[Float[Tensor, "b n d"], TokenGrid]:
    """Give each cell the weighted mean of its clusters; tokens that were never merged stay as they are."""
    if grid.merged is None:
        return x, grid
    with torch.autocast(x.device.type, enabled=False):
        cells = (grid.merged.weights @ x[:, grid.prefix :].float()).to(x.dtype)
    return torch.cat([x[:, : grid.prefix], cells], dim=1), grid.merged.cells


class _Places:
    """The places of cells and clusters on the grid.

    Attributes:
        pool: shares of the cells in each cluster before the first iteration.
        far: minus infinity where a cluster is none of a cell's, else 0.
        valid: 1 for cells with image, 0 for others; None: all have some.
        alive: clusters with image; None: all.
    """

    def __init__(
        self,
        pool: Float[Tensor, "b_or_1 c n"],
        far: Float[Tensor, "b_or_1 n c"],
        valid: Float[Tensor, "b n"] | None,
        alive: Bool[Tensor, "b c"] | None,
    ) -> None:
        self.pool, self.far, self.valid, self.alive = pool, far, valid, alive

    @classmethod
    def of(cls, grid: TokenGrid, coarse: tuple[int, int], device: torch.device) -> _Places:
        """Place `coarse` clusters on a grid."""
        sides = [_along(n, m, device) for n, m in zip((grid.height, grid.width), coarse, strict=True)]
        (pool_y, near_y), (pool_x, near_x) = sides
        pool = (pool_y[:, None, :, None] & pool_x[None, :, None, :]).flatten(2).flatten(0, 1)[None]
        near = (near_y[:, None, :, None] & near_x[None, :, None, :]).flatten(2).flatten(0, 1)[None]
        if grid.valid is None:
            shares = pool.float()
            return cls(shares / shares.sum(2, keepdim=True), _minus_infinity(~near), None, None)
        valid = grid.valid.flatten(1)
        shares = (pool & valid[:, None]).float()
        alive = shares.sum(2) > 0
        # cells without image may belong to anything, because they count for nothing
        near = (near & alive[:, None]) | ~valid[:, :, None]
        return cls(shares / shares.sum(2, keepdim=True).clamp(min=1), _minus_infinity(~near), valid.float(), alive)


def _along(
    cells: int, clusters: int, device: torch.device
) -> tuple[Bool[Tensor, "clusters cells"], Bool[Tensor, "cells clusters"]]:
    """Return, along one side, the cells in each cluster's window of the adaptive pool, and the clusters near a cell."""
    cell, cluster = torch.arange(cells, device=device), torch.arange(clusters, device=device)
    first, stop = cluster * cells // clusters, -(-(cluster + 1) * cells // clusters)
    covered = (cell >= first[:, None]) & (cell < stop[:, None])
    place = cell * clusters // cells
    return covered, (place[:, None] - cluster).abs() <= REACH


def _minus_infinity(where: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return torch.zeros(where.shape, device=where.device).masked_fill(where, -torch.inf)


def _assign(
    z: Float[Tensor, "b n d"], places: _Places, clustering: ClusteringParams
) -> tuple[Float[Tensor, "b c n"], Float[Tensor, "b n c"]]:
    """Return the shares of the cells in each centre, and the weights of the clusters in each cell."""
    z = _about_mean(z, places.valid)
    shares = places.pool.expand(z.shape[0], -1, -1)  # len would fix the batch of an exported graph
    centres = shares @ z
    for _ in range(clustering.iterations):
        given = _likeness(z, centres, places.far, clustering.temperature).softmax(dim=2)
        if places.valid is not None:
            given = given * places.valid[:, :, None]
        mass = given.sum(1)[:, :, None]
        shares = torch.where(mass > _TINY, given.transpose(1, 2) / mass.clamp(min=_TINY), shares)
        centres = shares @ z
    living = None if places.alive is None else _minus_infinity(~places.alive)[:, None]
    likeness = _likeness(z, centres, living, clustering.temperature)
    nearest = likeness.topk(min(clustering.neighbours, likeness.shape[2]), dim=2).values[:, :, -1:]
    return shares, likeness.masked_fill(likeness < nearest, -torch.inf).softmax(dim=2)


def _about_mean(z: Float[Tensor, "b n d"], valid: Float[Tensor, "b n"] | None) -> Float[Tensor, "b n d"]:
    """Move an image's tokens to around 0, which changes no distance but makes its rounding error small."""
    if valid is None:
        return z - z.mean(1, keepdim=True)
    share = valid / valid.sum(1, keepdim=True)
    return z - (share[:, None] @ z)


def _likeness(
    z: Float[Tensor, "b n d"],
    centres: Float[Tensor, "b c d"],
    added: Float[Tensor, "b_or_1 _ c"] | None,
    temperature: float,
) -> Float[Tensor, "b n c"]:
    """Return `-t |z_j - s_i|^2` but for what all clusters of a cell have in common."""
    alone = -temperature * (centres * centres).sum(2)[:, None]
    alone = alone if added is None else alone + added
    return alone + (2 * temperature) * (z @ centres.transpose(1, 2))
