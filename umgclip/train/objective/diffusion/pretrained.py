"""A pretrained diffusion model through `diffusers`, frozen: its autoencoder, its U-Net and its empty text.

diffusers is an extra (`pip install "umgclip[diffusion]"`), imported only where a parameter asks for it. Written against
the documented interfaces of `AutoencoderKL`, `UNet2DConditionModel`, `DDPMScheduler` and transformers' `CLIPTextModel`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from umgclip import extras
from umgclip.errors import InputError

_LOCAL = {"local_files_only": True}
_SAFE = _LOCAL | {"use_safetensors": True}


class PretrainedDiffusion(nn.Module):
    """A frozen latent diffusion model that predicts the noise, given the tower's tokens in place of a text's (DIVA).

    Only the linear map from the tower's tokens learns here. As in DIVA the embedding of the empty text is added: token
    by token if there are as many tokens as the text has, else its mean.

    Args:
        folder: of a pipeline of Stable Diffusion: vae, unet, scheduler, tokenizer, text_encoder.
        token_dim: numbers in a token of the tower.
        device: of the weights.

    Raises:
        InputError: diffusers or the weights are missing, or the model predicts something other than the noise.
    """

    empty_text: Float[Tensor, "m k"]

    def __init__(self, folder: str, token_dim: int, device: torch.device) -> None:
        super().__init__()
        where = "train.diffusion.pretrained"
        diffusers = _library("diffusers", where)
        scheduler = _loaded(diffusers.DDPMScheduler, folder, "scheduler", where, _LOCAL)
        if scheduler.config.prediction_type != "epsilon":
            raise InputError(
                f"{where}: expected a model that predicts the noise (epsilon), such as Stable Diffusion 1.5 or "
                f"2.1-base, got prediction_type {scheduler.config.prediction_type}"
            )
        # in a tuple, so that processes neither share nor save what never changes
        unet = _still(_loaded(diffusers.UNet2DConditionModel, folder, "unet", where, _SAFE), device)
        self._frozen: tuple[Any, Any] = (autoencoder(folder, where, device), unet)
        self._shares = scheduler.alphas_cumprod.float().to(device)
        self.project = nn.Linear(token_dim, unet.config.cross_attention_dim)
        self.register_buffer("empty_text", _empty_text(folder, where).to(device), persistent=False)

    def forward(
        self,
        pixels: Float[Tensor, "b 3 side side"],
        condition: Float[Tensor, "b m d"],
        generators: list[torch.Generator],
    ) -> Float[Tensor, " b"]:
        """Return each image's squared error of the noise, at a uniform time."""
        vae, unet = self._frozen
        with torch.no_grad():
            latents = encoded(vae, pixels)
        time = torch.stack([torch.randint(len(self._shares), (), generator=g) for g in generators]).to(latents.device)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators]).to(latents.device)
        share = self._shares[time][:, None, None, None]
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        text = self.empty_text if len(self.empty_text) == condition.shape[1] else self.empty_text.mean(0, keepdim=True)
        predicted = unet(noisy, time, encoder_hidden_states=text + self.project(condition)).sample
        return (predicted.float() - noise).square().flatten(1).mean(dim=1)


def autoencoder(folder: str, where: str, device: torch.device) -> Any:  # noqa: ANN401 - a class of diffusers
    """Load a frozen `AutoencoderKL` from its own folder or from that of a pipeline.

    Raises:
        InputError: diffusers or the weights are missing.
    """
    kind = _library("diffusers", where).AutoencoderKL
    inner = "vae" if (Path(folder) / "vae").is_dir() else None
    return _still(_loaded(kind, folder, inner, where, _SAFE), device)


def encoded(vae: Any, pixels: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b c h w"]:  # noqa: ANN401
    """Return the means of the latents of images with values from 0 to 1, at the scale that the autoencoder states."""
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    latents: Tensor = (vae.encode(pixels * 2 - 1).latent_dist.mean.float() - shift) * vae.config.scaling_factor
    return latents


def _empty_text(folder: str, where: str) -> Float[Tensor, "m k"]:
    """Return the embedding of the empty text by the model's own text encoder."""
    transformers = _library("transformers", where)
    tokenizer = _loaded(transformers.CLIPTokenizer, folder, "tokenizer", where, _LOCAL)
    encoder = _loaded(transformers.CLIPTextModel, folder, "text_encoder", where, _SAFE)
    tokens = tokenizer([""], padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    with torch.no_grad():
        hidden: Tensor = encoder.eval()(tokens.input_ids)[0]
    return hidden[0].float()


def _library(name: str, where: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{where}: needs {name}; run: {extras.install('diffusion')}") from error


def _loaded(kind: Any, folder: str, inner: str | None, where: str, how: dict[str, bool]) -> Any:  # noqa: ANN401
    """Load one part of a pipeline from a local folder."""
    if not Path(folder).is_dir():
        raise InputError(
            f"{where}: expected a folder of weights, got {folder}; run: hf download MODEL --local-dir FOLDER"
        )
    try:
        return kind.from_pretrained(folder, **({"subfolder": inner} if inner else {}), **how)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{where}: cannot load {inner or 'the autoencoder'} of {folder}: {first}") from error


def _still(model: Any, device: torch.device) -> Any:  # noqa: ANN401 - a model of diffusers
    return model.to(device).eval().requires_grad_(False)
