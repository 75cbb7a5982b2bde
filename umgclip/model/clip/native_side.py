"""The side that a model was made for, and how a model is given another one for good."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from umgclip.errors import InputError
from umgclip.model.clip.vision.open_clip_vit import OpenClipVit
from umgclip.model.clip.vision.select import vision_encoder

Size = tuple[int, int]


@torch.no_grad()
def set_native_side(clip: Any, image_hw: Size) -> None:  # noqa: ANN401 - open_clip's models share no base class
    """Make a size the model's own, in place, as if it had been made for it.

    Positions of open_clip's own ViTs are resized once, as every forward pass at that size resizes them, so embeddings
    stay the same, and plain open_clip takes images of that size. A trunk of timm keeps its positions, because open_clip
    always builds it at the side of its name; they go on being resized in each forward pass.

    Args:
        clip: an open_clip model.
        image_hw: height and width in pixels, multiples of the patch.

    Raises:
        InputError: a side is no multiple of the patch.
    """
    visual = clip.visual
    if tuple(map(int, _pair(visual.image_size))) == image_hw:
        return
    encoder = vision_encoder(visual)
    if any(side % patch for side, patch in zip(image_hw, encoder.patch_px, strict=True)):
        raise InputError(f"image size: expected multiples of the patch {encoder.patch_px}, got {image_hw}")
    grid_hw = (image_hw[0] // encoder.patch_px[0], image_hw[1] // encoder.patch_px[1])
    if isinstance(encoder, OpenClipVit):
        learns = visual.positional_embedding.requires_grad
        visual.positional_embedding = nn.Parameter(encoder.positions(*grid_hw).clone(), requires_grad=learns)
        visual.grid_size = grid_hw
    visual.image_size = image_hw
    _tell(clip, image_hw)


def _pair(size: Any) -> Any:  # noqa: ANN401 - open_clip holds one number or two
    return (size, size) if isinstance(size, int) else size


def _tell(clip: Any, image_hw: Size) -> None:  # noqa: ANN401
    """Write the size into the configs that the model carries."""
    size = image_hw[0] if image_hw[0] == image_hw[1] else list(image_hw)
    preprocess = getattr(clip.visual, "preprocess_cfg", None)
    if preprocess is not None:
        clip.visual.preprocess_cfg = {**preprocess, "size": image_hw}
    config = getattr(clip, "umgclip_config", None)
    if config is not None:
        clip.umgclip_config = copy.deepcopy(config)
        clip.umgclip_config["vision_cfg"]["image_size"] = size
