"""Diffusion feedback: a generative model reconstructs the image from the tower's tokens, and the tower learns from it.

Two kinds of models, one objective:

* GenHancer (Ma et al., ICCV 2025): a small transformer that starts from nothing learns to reconstruct first, while this
  term leaves the tower alone; then the tower learns. The condition is the class token alone: local tokens would make
  reconstruction trivial, and nothing would reach the global embedding.
* DIVA (Wang et al., ICLR 2025): a pretrained diffusion model, frozen, with a linear map of the tower's tokens.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from umgclip.errors import InputError
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.params.train import Condition, DiffusionParams
from umgclip.train.objective.diffusion.denoiser import Denoiser
from umgclip.train.objective.diffusion.targets import LatentTarget, PixelTarget, Reconstructed
from umgclip.train.objective.image_side import ImageObjective, Rows

RANDOM_PATCHES = 76  # with the class token as many as Stable Diffusion's text has
POOLED_PATCHES = 6
Generators = list[torch.Generator]


class Reconstruction(Protocol):
    """A generative model that is asked how well it reconstructs images from tokens."""

    def __call__(
        self, pixels: Float[Tensor, "b 3 side side"], condition: Float[Tensor, "b m d"], generators: Generators
    ) -> Float[Tensor, " b"]:
        """Return the loss of each image.

        Args:
            pixels: from 0 to 1.
            condition: tokens of the tower, the one of the whole image first.
            generators: a random source for each image.
        """


class DiffusionFeedback(ImageObjective):
    """The loss of reconstructing images from the tower's tokens, in two phases.

    In the first phase no gradient reaches the tower. In the second it does, and the denoiser stays as it is if
    `train.diffusion.freeze` says so.
    """

    name = "diffusion"

    def __init__(self, tower: DenseClip, params: TrainParams) -> None:
        super().__init__()
        self._params = params.diffusion
        self._first = round(params.steps * params.diffusion.first_share)
        self._channels = tower.preprocess.mean, tower.preprocess.std
        self.rate_factor = params.diffusion.denoiser_lr / params.rate
        device = tower.logit_scale().device
        with torch.random.fork_rng(devices=[]):  # the same in every process, and nobody else's numbers change
            torch.manual_seed(params.seed)
            self.model = _reconstruction(tower, params.diffusion, device).to(device)

    def rate_at(self, step: int) -> float:
        """Return 0 for a denoiser that stays as it is."""
        return 0.0 if self._params.freeze and step >= self._first else self.rate_factor

    def forward(self, tower: DenseClip, rows: Rows) -> Float[Tensor, ""]:
        """Return the mean over images of the reconstruction's loss at a random time of each."""
        learns = rows.step >= self._first
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            image, dense = tower.encode_image(rows.images, rows.valid)
        generators = rows.generators(self.name)
        condition = condition_tokens(image, dense, self._params.condition, generators)
        pixels = self._pixels(rows.images)
        if not (learns and self._params.freeze):
            losses: Tensor = self.model(pixels, condition, generators)
            return losses.mean()
        parameters = dict(self.model.named_parameters())
        fixed = {name: parameter.detach() for name, parameter in parameters.items()}
        losses = functional_call(self.model, fixed, (pixels, condition, generators))
        # every parameter has a gradient, of 0, which processes that train together wait for
        return losses.mean() + 0.0 * torch.stack([parameter.sum() for parameter in parameters.values()]).sum()

    def _pixels(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 3 side side"]:
        """Return the images with values from 0 to 1, at the side that is reconstructed."""
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in self._channels)
        side = self._params.image_px
        small = F.interpolate((images * std + mean).float(), (side, side), mode="bilinear", antialias=True)
        return small.clamp(0, 1)


class RectifiedFlow(nn.Module):
    """A denoiser and what it reconstructs: pixels, or the latents of an autoencoder.

    Args:
        target: from images to tokens.
        denoiser: predicts velocities of these tokens.
        time_scale: deviation of the logit of the time.
    """

    def __init__(self, target: Reconstructed, denoiser: nn.Module, time_scale: float) -> None:
        super().__init__()
        self.target, self.denoiser, self._scale = target, denoiser, time_scale

    def forward(
        self, pixels: Float[Tensor, "b 3 side side"], condition: Float[Tensor, "b m d"], generators: Generators
    ) -> Float[Tensor, " b"]:
        """Return each image's squared error of the velocity, at a logit-normal time."""
        data = self.target(pixels)
        normal = torch.stack([torch.randn((), generator=g) for g in generators])
        time = torch.sigmoid(self._scale * normal).to(data.device)
        noise = torch.stack([torch.randn(data.shape[1:], generator=g) for g in generators]).to(data.device)
        noisy, velocity = on_the_way(data, noise, time)
        predicted = self.denoiser(noisy, time, condition)
        return (predicted.float() - velocity).square().flatten(1).mean(dim=1)


def on_the_way(
    data: Float[Tensor, "b n c"], noise: Float[Tensor, "b n c"], time: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]]:
    """Return the points on the straight way from data (time 0) to noise (time 1), and the velocity along it.

    Rectified flow: x_t = (1 - t) data + t noise, velocity = noise - data. GenHancer's paper calls the data x_1.
    """
    share = time[:, None, None]
    return (1 - share) * data + share * noise, noise - data


def condition_tokens(
    image: Float[Tensor, "b d"], dense: Float[Tensor, "b d h w"], kind: Condition, generators: Generators
) -> Float[Tensor, "b m d"]:
    """Return the tokens that a generative model is given; the global embedding comes first.

    Args:
        image: global embeddings, L2-normalised.
        dense: dense maps, L2-normalised.
        kind: `class`: nothing else (GenHancer). DIVA's: `class_random`: 76 cells with replacement (OpenAI's ViTs);
            `class_all`: all cells (MetaCLIP, DFN at 224); `class_half`: half of them, drawn without replacement (DFN at
            378); `pooled`: means of six cells that follow each other, a remainder left out (SigLIP at 224).
        generators: a random source for each image.
    """
    first, cells = image[:, None], dense.flatten(2).transpose(1, 2)
    count = cells.shape[1]
    if kind == "class":
        return first
    if kind == "class_all":
        return torch.cat([first, cells], dim=1)
    if kind == "pooled":
        if count < POOLED_PATCHES:
            raise InputError(
                f"train.diffusion.condition: pooled: expected at least {POOLED_PATCHES} cells, "
                f"the dense map has {count}; use another condition or a larger train.image_px"
            )
        pooled = F.avg_pool1d(cells.transpose(1, 2), POOLED_PATCHES).transpose(1, 2)
        return torch.cat([first, pooled], dim=1)
    if kind == "class_random":
        drawn = [torch.randint(count, (RANDOM_PATCHES,), generator=g) for g in generators]
    else:
        drawn = [torch.randperm(count, generator=g)[: count // 2] for g in generators]
    at = torch.stack(drawn).to(cells.device)[:, :, None].expand(-1, -1, cells.shape[2])
    return torch.cat([first, cells.gather(1, at)], dim=1)


def _reconstruction(tower: DenseClip, params: DiffusionParams, device: torch.device) -> nn.Module:
    """Build the generative model that the parameters name."""
    if params.pretrained is not None:
        from umgclip.train.objective.diffusion.pretrained import PretrainedDiffusion

        return PretrainedDiffusion(params.pretrained, tower.embed_dim, device)
    target: Reconstructed = PixelTarget(params.image_px, params.patch_px)
    if params.vae is not None:
        target = LatentTarget(params.vae, params.image_px, device)
    denoiser = Denoiser(target.token_dim, tower.embed_dim, target.grid, params.denoiser)
    return RectifiedFlow(target, denoiser, params.time_scale)
