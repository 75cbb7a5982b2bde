"""Selection of the encoder that reads an image tower."""

from __future__ import annotations

from typing import Any

from umgclip.errors import InputError
from umgclip.model.clip.vision.encoder import VisionEncoder
from umgclip.model.clip.vision.open_clip_vit import OpenClipVit
from umgclip.model.clip.vision.timm_convnext import TimmConvNext
from umgclip.model.clip.vision.timm_naflex import TimmNaFlex
from umgclip.model.clip.vision.timm_vit import TimmVit

_KINDS = (OpenClipVit, TimmVit, TimmNaFlex, TimmConvNext)


def vision_encoder(visual: Any) -> VisionEncoder:  # noqa: ANN401 - open_clip's towers share no base class
    """Return the encoder for an open_clip image tower.

    Raises:
        InputError: no dense features are known for this tower; names what has them.
    """
    trunk = getattr(visual, "trunk", None)
    for kind in _KINDS:
        if kind.handles(visual):
            return kind(visual)
    name = type(visual).__name__ if trunk is None else f"{type(visual).__name__} around timm's {type(trunk).__name__}"
    raise InputError(
        f"model: expected an image tower with dense features (open_clip's and timm's ViTs, EVA-02, PE, NaFlex, "
        f"ConvNeXt), got {name}; base.model may be ViT-B-32, ViT-B-16, ViT-L-14, ViT-B-16-SigLIP, EVA02-B-16, "
        "PE-Core-B-16, convnext_base, ..."
    )
