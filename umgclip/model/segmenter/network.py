"""The segmenter: a frozen tower, a pyramid, Mask2Former's decoder, and text embeddings as the classifier.

A query is named by the frozen dense map pooled over its mask, plus what the query itself has to add: it starts from
what the tower says of the mask, so that names which no training mask carried can be asked for as well (the mask-pooled
classifier of FC-CLIP, Yu et al., NeurIPS 2023).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.model.clip.tower import DenseClip
from umgclip.model.segmenter.pyramid import Pyramid
from umgclip.model.segmenter.token_maps import read_maps, widths
from umgclip.params.segment import DecoderParams

_EPS = 1e-6


class Queries(NamedTuple):
    """The state of the queries after a layer.

    `masks` are logits at the pyramid's finest resolution, `names` L2-normalised embeddings in the joint space, `pooled`
    those of the frozen dense map alone, `none` logits of being no object.
    """

    masks: Float[Tensor, "b q h w"]
    names: Float[Tensor, "b q d"]
    pooled: Float[Tensor, "b q d"]
    none: Float[Tensor, "b q"]


class Segmenter(nn.Module):
    """The segmenter on a frozen tuned tower.

    Args:
        tower: the tuned tower; frozen, and no part of this module's state.
        params: sizes.
        adapted: a copy of the tower with an adapter, which the pyramid reads; None: the tower itself.
    """

    def __init__(self, tower: DenseClip, params: DecoderParams, adapted: DenseClip | None = None) -> None:
        super().__init__()
        from umgclip.model.segmenter.heads import Mask2FormerHeads

        self._frozen = (tower.requires_grad_(False).eval(),)  # in a tuple, a module is not a part
        self.adapted: Any = adapted
        self.pyramid = Pyramid(widths(tower), params.width, pixel_stem=params.pixel_stem)
        self.heads: Any = Mask2FormerHeads(params)
        self.name = nn.Linear(params.width, tower.embed_dim)
        self.none = nn.Linear(params.width, 1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(float(tower.logit_scale().detach()))))
        for layer in (self.name, self.none):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def tower(self) -> DenseClip:
        """The frozen tower that the segmenter reads."""
        return self._frozen[0]

    def learned(self) -> dict[str, nn.Parameter]:
        """Return the trainable parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def to_device(self, device: torch.device) -> Segmenter:
        """Move this and the frozen tower."""
        self.tower.to(device)
        return self.to(device)

    def forward(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None = None
    ) -> list[Queries]:
        """Return the queries after each layer; the last one is the result."""
        with torch.no_grad():
            dense, maps = read_maps(self.tower, images, valid)
        if self.adapted is not None:
            _, maps = read_maps(self.adapted, images, valid)
        decoded = self.heads(self.pyramid(maps, images))
        return [self._read(dense, q, m) for q, m in zip(decoded.queries, decoded.masks, strict=True)]

    def _read(
        self, dense: Float[Tensor, "b d h w"], queries: Float[Tensor, "b q width"], masks: Float[Tensor, "b q mh mw"]
    ) -> Queries:
        pooled = pool_soft(dense, masks.detach())
        names = F.normalize(pooled + self.name(queries), dim=-1)
        return Queries(masks, names, pooled, self.none(queries)[..., 0])

    def logits(self, queries: Queries, texts: Float[Tensor, "t d"]) -> Float[Tensor, "b q names_and_none"]:
        """Logits of the names, then of `no object`."""
        names = self.log_scale.exp().clamp(max=100.0) * (queries.names @ texts.T)
        return torch.cat([names, queries.none[..., None]], dim=-1)


def pool_soft(dense: Float[Tensor, "b d h w"], masks: Float[Tensor, "b q mh mw"]) -> Float[Tensor, "b q d"]:
    """Return one L2-normalised embedding per mask: the dense map's mean weighted by mask probability per cell."""
    weights = F.adaptive_avg_pool2d(masks.sigmoid(), (dense.shape[2], dense.shape[3])).flatten(2).to(dense.dtype)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=_EPS)
    return F.normalize(weights @ dense.flatten(2).transpose(1, 2), dim=-1)
