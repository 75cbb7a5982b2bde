"""The residual blocks of both towers, whichever library's they are."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_STACKS = ("resblocks", "blocks")  # open_clip's name for them, and timm's


def residual_blocks(tower: nn.Module, *, images_only: bool = False) -> Iterator[nn.Module]:
    """Yield the residual blocks of both towers, or of the one for images, in order."""
    for name, module in tower.named_modules():
        *path, last = name.split(".")
        wanted = last in _STACKS and ("visual" in path or not images_only)
        if wanted and isinstance(module, nn.ModuleList | nn.Sequential):
            yield from module
