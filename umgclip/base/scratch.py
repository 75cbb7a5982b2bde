"""Train the small CLIP from nothing but images and their alt texts.

Two phases, because contrastive learning on crowded scenes from the start learns the background (measured in the
prototype): first images whose alt text names one concept, small; then all images at full size, with tags.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from umgclip.data.concepts import Vocabulary, mine, with_article
from umgclip.data.stream import Sample, batches, decode, read_raw, shuffled
from umgclip.io.shards import RawSample
from umgclip.losses.image_text import info_nce
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.model.files import Tokenizer, build, to_input, tower_config
from umgclip.model.tower import DenseClip
from umgclip.params import BaseParams
from umgclip.records import parse_record

Report = Callable[[int, dict[str, float]], None]
_SHUFFLE_BUFFER = 4000


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size."""

    name: str
    steps: int
    batch: int
    image_px: int
    tag_weight: float


def train(params: BaseParams, dataset: Path, report: Report) -> tuple[nn.Module, dict]:
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
    captions = {raw.key: _alt(raw) for _, raw in read_raw(dataset)}
    vocabulary = mine(captions.values(), params.min_concept_count)
    phases = (
        Phase("short", params.short_steps, params.short_batch, params.short_px, 0.0),
        Phase("long", params.long_steps, params.long_batch, params.tower.image_px, params.tag_weight),
    )
    done = 0
    for number, phase in enumerate(phases):
        stream = shuffled(dataset, params.seed + number, _SHUFFLE_BUFFER)
        single = phase.name == "short"
        keep = (lambda raw: len(vocabulary.find(captions[raw.key])) == 1) if single else (lambda _: True)
        feed = batches(stream, phase.batch, keep=keep)
        for step, losses in enumerate(_run(tower, phase, feed, vocabulary, params)):
            report(done + step, losses)
        done += phase.steps
    return clip.eval(), model_cfg


def _alt(raw: RawSample) -> str:
    captions = parse_record(raw.json, where=raw.key).captions or []
    return captions[0].text if captions else ""


def _run(
    tower: DenseClip, phase: Phase, feed: Iterator[list[RawSample]], vocabulary: Vocabulary, params: BaseParams
) -> Iterator[dict[str, float]]:
    optimizers = _optimizers(tower.clip, params)
    tokenizer = Tokenizer(tower.context_length)
    rng = np.random.default_rng([params.seed, phase.image_px])
    tag_tokens = tokenizer([with_article(name) for name in vocabulary.concepts])
    index = {name: i for i, name in enumerate(vocabulary.concepts)}
    for step, raws in enumerate(itertools.islice(feed, phase.steps)):
        scale = _schedule(step, phase.steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * scale
        samples = [decode(raw, "train") for raw in raws]
        images = to_input(np.stack([_view(sample, phase.image_px, rng) for sample in samples]))
        texts = [sample.record.captions[0].text for sample in samples]
        unique = list(dict.fromkeys(texts))
        text_of = torch.tensor([unique.index(text) for text in texts])
        image, _ = tower.encode_image(images)
        text = tower.encode_text(tokenizer(unique))
        loss = info_nce(image, text[text_of], tower.logit_scale(), text_of)
        losses = {"image_text": float(loss.detach())}
        if phase.tag_weight:
            targets = _targets(texts, vocabulary, index)
            tags = _tag_term(tower, image, tag_tokens, targets)
            losses["tags"] = float(tags.detach())
            loss = loss + phase.tag_weight * tags
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        yield losses


def _tag_term(tower: DenseClip, image: Tensor, tag_tokens: Tensor, targets: Tensor) -> Tensor:
    logits = tower.logit_scale() * image @ tower.encode_text(tag_tokens).T
    # the bias that makes an average image expect as many tags as images have
    prior = targets.float().mean()
    logits = logits - logits.detach().mean() + torch.log(prior / (1 - prior))
    return asymmetric_loss(logits, targets, asymmetry=Asymmetry(gamma_neg=2.0, gamma_pos=0.0, clip=0.0)) / 10


def _targets(texts: list[str], vocabulary: Vocabulary, index: dict[str, int]) -> Tensor:
    targets = torch.zeros(len(texts), len(index), dtype=torch.bool)
    for row, text in enumerate(texts):
        targets[row, [index[name] for name in vocabulary.find(text)]] = True
    return targets


def _view(sample: Sample, image_px: int, rng: np.random.Generator) -> np.ndarray:
    """The whole image at the phase's size, mirrored half of the time."""
    pixels = sample.pixels
    if pixels.shape[:2] != (image_px, image_px):
        pixels = cv2.resize(pixels, (image_px, image_px), interpolation=cv2.INTER_AREA)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _optimizers(clip: nn.Module, params: BaseParams) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks, AdamW for embeddings, norms, biases and projections."""
    named = list(clip.named_parameters())
    matrices = [p for name, p in named if "resblocks" in name and p.ndim == 2]
    others = [p for name, p in named if not ("resblocks" in name and p.ndim == 2)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(
            matrices, lr=params.lr_matrix, weight_decay=params.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=params.lr_other, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _schedule(step: int, steps: int, warmup_share: float = 0.08) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
