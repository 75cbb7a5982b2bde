"""Train the small CLIP from nothing but images and their alt texts.

Two phases, because contrastive learning on crowded scenes from the start learns the background (measured in the
prototype): first images whose alt text names one concept, small; then all images at full size, with tags.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.base.feed import CaptionBatch, CaptionFeed, Kind
from umgclip.base.muon import Muon
from umgclip.base.used_tokens import UsedTokens
from umgclip.data.stream import prefetched
from umgclip.data.vocabulary import Vocabulary
from umgclip.losses.image_text import info_nce
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.model.clip.deterministic import deterministic
from umgclip.model.clip.files import build, tower_config
from umgclip.model.clip.placement import placement
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.tower import DenseClip
from umgclip.params import BaseParams

Report = Callable[[int, dict[str, float]], None]


def train(params: BaseParams, dataset: Path, report: Report) -> tuple[nn.Module, dict[str, Any]]:
    """Train from scratch; return the model in eval mode, on the CPU, and its open_clip config.

    It computes where and how precisely `base.device` and `base.dtype` say; weights are always float32. On a
    CPU the same seed gives the same bytes.

    Args:
        params: the section `base`.
        dataset: folder of raw shards; only images and captions are read.
        report: called with (step, losses) after every step.

    Raises:
        DataError: as for `CaptionFeed`.
        InputError: as for `CaptionFeed`, or there is no such device.
    """
    device, dtype = placement(params, "base")
    with deterministic() if device.type == "cpu" else nullcontext():
        return _train(params, dataset, report, device, dtype)


def _train(
    params: BaseParams, dataset: Path, report: Report, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(params.seed)
    model_cfg = tower_config(params.tower)
    clip = build(model_cfg).train().to(device)
    feed = CaptionFeed(dataset, params)
    short = Kind(True, params.short_batch, params.short_px, 0.0, params.cut_out_share)
    full = Kind(False, params.full_batch, params.tower.image_px, params.tag_weight, 0.0)
    # the short kind continues with the full one, or the model would forget small crops
    kinds = [short] * params.short_steps + [full, short, short] * params.full_steps
    tower = DenseClip(clip)
    names = [with_article(name) for name in feed.vocabulary.concepts]
    tokens = UsedTokens(clip, tower.context_length, [*feed.texts, *names])
    step = _Step(tower, feed.vocabulary, tokens, params, dtype)
    for number, batch in enumerate(prefetched(feed.batches(kinds))):
        step.set_rate(_schedule(number, len(kinds)))
        report(number, step(batch))
    tokens.restore()
    return clip.eval().cpu(), model_cfg


class _Step:
    """One optimizer step on one batch, on the device that the tower is on."""

    def __init__(
        self,
        tower: DenseClip,
        vocabulary: Vocabulary,
        tokens: UsedTokens,
        params: BaseParams,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._tower, self._vocabulary, self._tokenizer = tower, vocabulary, tokens
        self._device = tower.clip.logit_scale.device
        self._autocast = torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=dtype == torch.float16)
        self._optimizers = _optimizers(tower.clip, params)
        names = [with_article(name) for name in vocabulary.concepts]
        tag_tokens, self._column_of_concept = distinct(self._tokenizer(names))
        self._tag_tokens = tag_tokens.to(self._device)

    def set_rate(self, scale: float) -> None:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * scale

    def __call__(self, batch: CaptionBatch) -> dict[str, float]:
        texts, tag_weight = batch.texts, batch.kind.tag_weight
        tokens, text_of = distinct(self._tokenizer(texts))
        text_of = text_of.to(self._device)
        image = self._embed_images(batch.images)
        text = self._embed_texts(tokens)
        loss = info_nce(image, text[text_of], self._tower.logit_scale(), text_of)
        losses = {"image_text": float(loss.detach())}
        if tag_weight:
            targets = torch.zeros(len(texts), len(self._tag_tokens), dtype=torch.long)
            targets.index_add_(1, self._column_of_concept, _targets(texts, self._vocabulary).long())
            names = self._embed_texts(self._tag_tokens)
            tags = _tag_term(self._tower.logit_scale(), image, names, (targets > 0).to(self._device))
            losses["tags"] = float(tags.detach())
            loss = loss + tag_weight * tags
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        for optimizer in self._optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()
        return losses

    def _embed_images(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d"]:
        with self._autocast:
            return self._tower.encode_image(images.to(self._device))[0].float()

    def _embed_texts(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        with self._autocast:
            return self._tower.encode_text(tokens.to(self._device)).float()


def distinct(tokens: Int[Tensor, "t length"]) -> tuple[Int[Tensor, "u length"], Int[Tensor, "t"]]:
    """Return the distinct texts in order of first occurrence, and for each text its row among them."""
    index_of: dict[bytes, int] = {}
    places = torch.tensor(
        [index_of.setdefault(row.tobytes(), len(index_of)) for row in tokens.numpy()], dtype=torch.long
    )
    first = [places.tolist().index(number) for number in range(len(index_of))]
    return tokens[first], places


def _tag_term(scale: Tensor, image: Tensor, names: Tensor, targets: Tensor) -> Tensor:
    logits = scale * image @ names.T
    # the bias that makes an average image expect as many tags as images have
    prior = targets.float().mean().clamp(1e-4, 1 - 1e-4)
    logits = logits - logits.detach().mean() + torch.log(prior / (1 - prior))
    return asymmetric_loss(logits, targets, asymmetry=Asymmetry(gamma_neg=2.0, gamma_pos=0.0, clip=0.0)) / 10


def _targets(texts: list[str], vocabulary: Vocabulary) -> Tensor:
    index = {name: i for i, name in enumerate(vocabulary.concepts)}
    targets = torch.zeros(len(texts), len(index), dtype=torch.bool)
    for row, text in enumerate(texts):
        targets[row, [index[name] for name in vocabulary.find(text)]] = True
    return targets


def _optimizers(clip: nn.Module, params: BaseParams) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside blocks, AdamW for embeddings, norms, biases and projections."""
    named = list(clip.named_parameters())
    inside = {name for name, p in named if "resblocks" in name and p.ndim == 2}
    matrices = [p for name, p in named if name in inside]
    others = [p for name, p in named if name not in inside]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=params.lr_matrix, weight_decay=params.weight_decay),
        torch.optim.AdamW(others, lr=params.lr_other, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _schedule(step: int, steps: int, warmup_share: float = 0.05, decay_share: float = 0.4) -> float:
    """Return the share of the rate: linear warm-up, a plateau, then a straight line down to 2 %."""
    progress = (step + 1) / steps
    return max(0.02, min(1.0, progress / warmup_share, (1 - progress) / decay_share))
