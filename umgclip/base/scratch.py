"""Train the small CLIP from nothing but images and their alt texts.

Two phases, because contrastive learning on crowded scenes from the start learns the background (measured in the
prototype): first images whose alt text names one concept, small; then all images at full size, with tags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from umgclip.base.muon import Muon
from umgclip.base.views import cut_out, whole
from umgclip.data.concepts import Vocabulary, mine, with_article
from umgclip.data.stream import batches, decode, read_raw, shuffled
from umgclip.io.shards import RawSample
from umgclip.losses.image_text import info_nce
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.model.deterministic import deterministic
from umgclip.model.files import Tokenizer, build, to_input, tower_config
from umgclip.model.tower import DenseClip
from umgclip.params import BaseParams
from umgclip.records import ImageRecord, parse_record

Report = Callable[[int, dict[str, float]], None]
_SHUFFLE_BUFFER = 4000


@dataclass(frozen=True)
class Kind:
    """What one step trains on: images whose alt text names one concept, or all."""

    single: bool
    batch: int
    image_px: int
    tag_weight: float
    cut_out_share: float


@deterministic()
def train(params: BaseParams, dataset: Path, report: Report) -> tuple[nn.Module, dict[str, Any]]:
    """Train from scratch; gives the model in eval mode and its open_clip config.

    Args:
        params: the section `base`.
        dataset: folder of raw shards; only images and captions are read.
        report: called with (step, losses) after every step.
    """
    torch.manual_seed(params.seed)
    model_cfg = tower_config(params.tower)
    clip = build(model_cfg).train()
    tower = DenseClip(clip)
    captions = {raw.key: _alt(parse_record(raw.json, where=raw.key)) for _, raw in read_raw(dataset)}
    vocabulary = mine(captions.values(), params.min_concept_count)
    singles = {key for key, caption in captions.items() if len(vocabulary.find(caption)) == 1}
    short = Kind(True, params.short_batch, params.short_px, 0.0, params.cut_out_share)
    full = Kind(False, params.full_batch, params.tower.image_px, params.tag_weight, 0.0)
    feeds = {
        short: batches(
            shuffled(dataset, params.seed, _SHUFFLE_BUFFER, keep=lambda raw: raw.key in singles), short.batch
        ),
        full: batches(
            shuffled(dataset, params.seed + 1, _SHUFFLE_BUFFER, keep=lambda raw: bool(captions[raw.key])), full.batch
        ),
    }
    # the short kind goes on beside the full one, or small crops would be forgotten
    kinds = [short] * params.short_steps + [full, short, short] * params.full_steps
    step = _Step(tower, vocabulary, params)
    for number, kind in enumerate(kinds):
        step.set_rate(_schedule(number, len(kinds)))
        report(number, step(kind, next(feeds[kind])))
    return clip.eval(), model_cfg


def _alt(record: ImageRecord) -> str:
    return record.captions[0].text if record.captions else ""


class _Step:
    """One optimizer step on one kind of batch."""

    def __init__(self, tower: DenseClip, vocabulary: Vocabulary, params: BaseParams) -> None:
        self._tower, self._vocabulary = tower, vocabulary
        self._optimizers = _optimizers(tower.clip, params)
        self._tokenizer = Tokenizer(tower.context_length)
        self._rng = np.random.default_rng([params.seed, 7])
        self._tag_tokens = self._tokenizer([with_article(name) for name in vocabulary.concepts])

    def set_rate(self, scale: float) -> None:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * scale

    def _view(self, pixels: np.ndarray, kind: Kind) -> np.ndarray:
        cut = self._rng.random() < kind.cut_out_share
        return (cut_out if cut else whole)(pixels, kind.image_px, self._rng)

    def __call__(self, kind: Kind, raws: list[RawSample]) -> dict[str, float]:
        samples = [decode(raw, "train") for raw in raws]
        images = to_input(np.stack([self._view(sample.pixels, kind) for sample in samples]))
        texts = [_alt(sample.record) for sample in samples]
        unique = list(dict.fromkeys(texts))
        text_of = torch.tensor([unique.index(text) for text in texts])
        image, _ = self._tower.encode_image(images)
        text = self._tower.encode_text(self._tokenizer(unique))
        loss = info_nce(image, text[text_of], self._tower.logit_scale(), text_of)
        losses = {"image_text": float(loss.detach())}
        if kind.tag_weight:
            tags = _tag_term(self._tower, image, self._tag_tokens, _targets(texts, self._vocabulary))
            losses["tags"] = float(tags.detach())
            loss = loss + kind.tag_weight * tags
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        return losses


def _tag_term(tower: DenseClip, image: Tensor, tag_tokens: Tensor, targets: Tensor) -> Tensor:
    logits = tower.logit_scale() * image @ tower.encode_text(tag_tokens).T
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
    """Muon for the matrices inside blocks, AdamW for embeddings, norms, biases and projections."""
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
    """Linear warm-up, a plateau, then a straight line down to 2 %."""
    progress = (step + 1) / steps
    return max(0.02, min(1.0, progress / warmup_share, (1 - progress) / decay_share))
