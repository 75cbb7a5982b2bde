"""Maps of the image tower's tokens at several depths, taken out of the one forward that gives the dense map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.clustering import unmerge
from umgclip.model.clip.vision.encoder import as_map
from umgclip.model.clip.vision.token_grid import current_grid

LEVELS = 4


def tapped_blocks(tower: DenseClip) -> list[nn.Module]:
    """Return the blocks whose output is read: at one, two and three quarters of the depth; none without tokens."""
    visual = tower.clip.visual
    trunk: Any = getattr(visual, "trunk", None)
    stack = visual.transformer.resblocks if hasattr(visual, "transformer") else getattr(trunk, "blocks", ())
    blocks = list(stack)
    return [blocks[max(0, len(blocks) * quarter // LEVELS - 1)] for quarter in range(1, LEVELS)] if blocks else []


def widths(tower: DenseClip) -> list[int]:
    """Channels of the maps that `read_maps` gives."""
    tapped = [_width(block) for block in tapped_blocks(tower)]
    return [*(tapped or [tower.embed_dim] * (LEVELS - 1)), tower.embed_dim]


def _width(block: Any) -> int:  # noqa: ANN401 - blocks of several libraries
    norm: Any = block.ln_1 if hasattr(block, "ln_1") else block.norm1
    return int(norm.normalized_shape[0])


def read_maps(
    tower: DenseClip, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
) -> tuple[Float[Tensor, "b d h w"], list[Float[Tensor, "b _ h w"]]]:
    """Return the dense map, and the maps of four depths, the last of which is the dense map itself."""
    blocks = tapped_blocks(tower)
    maps: dict[nn.Module, Tensor] = {}
    with _tapped(blocks, maps):
        _, dense = tower.encode_image(images, valid)
    tapped = [maps[block] for block in blocks] or [dense] * (LEVELS - 1)
    return dense, [*tapped, dense]


@contextmanager
def _tapped(blocks: list[nn.Module], maps: dict[nn.Module, Tensor]) -> Iterator[None]:
    def keep(block: nn.Module, _: Any, tokens: Tensor) -> None:  # noqa: ANN401 - what a hook is given
        grid = current_grid()
        assert grid is not None  # noqa: S101 - every block is run with its grid known
        tokens, grid = unmerge(tokens, grid)
        maps[block] = as_map(tokens[:, grid.prefix :], grid.height, grid.width)

    handles = [block.register_forward_hook(keep) for block in dict.fromkeys(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
