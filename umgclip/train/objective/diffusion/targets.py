"""Targets that a denoiser reconstructs: patches of pixels, or patches of an autoencoder's latents."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.errors import InputError
from umgclip.train.objective.diffusion.pretrained import autoencoder, encoded

_LATENT_PATCH = 2  # latents along a side of a token, as in Flux


class Reconstructed:
    """From images to the tokens of a square grid.

    Attributes:
        grid: tokens along a side.
        token_dim: numbers in a token.
    """

    grid: int
    token_dim: int

    def __call__(self, pixels: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b n c"]:
        """Return the tokens of images with values from 0 to 1."""
        raise NotImplementedError


class PixelTarget(Reconstructed):
    """Patches of pixels with values from -1 to 1.

    Args:
        image_px: side of the images.
        patch_px: side of a patch.

    Raises:
        InputError: the side is no multiple of the patch.
    """

    def __init__(self, image_px: int, patch_px: int) -> None:
        if image_px % patch_px:
            raise InputError(
                f"train.diffusion.image_px: expected a multiple of train.diffusion.patch_px ({patch_px}), "
                f"got {image_px}"
            )
        self._patch, self.grid, self.token_dim = patch_px, image_px // patch_px, 3 * patch_px**2

    def __call__(self, pixels: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b n c"]:
        """Return the patches in row order."""
        return patches(pixels * 2 - 1, self._patch)


class LatentTarget(Reconstructed):
    """Patches of 2 x 2 latents of a frozen autoencoder of diffusers (`AutoencoderKL`).

    Args:
        folder: of its weights, or of a pipeline that has it.
        image_px: side of the images.
        device: of the weights.

    Raises:
        InputError: diffusers or the weights are missing, or the side fits no whole number of patches.
    """

    def __init__(self, folder: str, image_px: int, device: torch.device) -> None:
        self._vae: Any = autoencoder(folder, "train.diffusion.vae", device)
        with torch.no_grad():
            _, channels, height, _ = encoded(self._vae, torch.zeros(1, 3, image_px, image_px, device=device)).shape
        if height % _LATENT_PATCH:
            raise InputError(
                "train.diffusion.image_px: expected an even number of latents along a side, "
                f"got {height} from {image_px}"
            )
        self.grid, self.token_dim = height // _LATENT_PATCH, channels * _LATENT_PATCH**2

    def __call__(self, pixels: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b n c"]:
        """Return the patches of latents in row order."""
        with torch.no_grad():
            return patches(encoded(self._vae, pixels), _LATENT_PATCH)


def patches(rows: Float[Tensor, "b c height width"], side: int) -> Float[Tensor, "b n k"]:
    """Return the square patches of maps in row order, each with its channels first."""
    batch, channels, height, width = rows.shape
    cut = rows.reshape(batch, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * side**2)
