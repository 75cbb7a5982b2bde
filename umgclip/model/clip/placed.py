"""A model where the params want it: on another device or in less precision, for callers who stay on the CPU."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.encoder import DensePath
from umgclip.model.clip.vision.peers import Profile


class PlacedClip(DenseClip):
    """A CLIP that takes inputs from the CPU and answers there in float32, wherever and however it computes."""

    def __init__(self, clip: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        """Take a model and move it.

        Args:
            clip: as for `DenseClip`.
            device: where it computes.
            dtype: float32, or what autocast computes matrix products in.
        """
        super().__init__(clip)
        self._place = device
        self._autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self.to(device)

    def encode_image(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None = None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Encode images on the device, as `DenseClip.encode_image` does."""
        with self._autocast:
            image, dense = super().encode_image(images.to(self._place), self._there(valid))
        return image.float().cpu(), dense.float().cpu()

    def encode_global(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d"]:
        """Encode images on the device, as `DenseClip.encode_global` does."""
        with self._autocast:
            return super().encode_global(images.to(self._place)).float().cpu()

    def encode_dense(
        self, images: Float[Tensor, "b 3 height width"], path: DensePath, valid: Bool[Tensor, "b h w"] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """Encode images on the device, as `DenseClip.encode_dense` does."""
        with self._autocast:
            return super().encode_dense(images.to(self._place), path, self._there(valid)).float().cpu()

    def encode_foveal(
        self,
        images: Float[Tensor, "b 3 height width"],
        box_shares: Float[Tensor, "r xyxy"],
        image_of_box: Int[Tensor, "r"],
        peak: float,
        profile: Profile = "box",
    ) -> Float[Tensor, "r d"]:
        """Encode images on the device, as `DenseClip.encode_foveal` does."""
        inputs = (images.to(self._place), box_shares.to(self._place), image_of_box.to(self._place))
        with self._autocast:
            return super().encode_foveal(*inputs, peak, profile).float().cpu()

    def encode_text(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        """Encode texts on the device, as `DenseClip.encode_text` does."""
        with self._autocast:
            return super().encode_text(tokens.to(self._place)).float().cpu()

    def _there(self, valid: Tensor | None) -> Tensor | None:
        return None if valid is None else valid.to(self._place)
