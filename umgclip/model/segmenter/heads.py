"""Mask2Former's pixel decoder, transformer decoder and loss (Cheng et al., CVPR 2022), as transformers has them.

Importing this takes seconds, so it is imported only when a segmenter is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerLoss,
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerSinePositionEmbedding,
)

from umgclip.params.segment import DecoderParams, SegmentWeights

_STRIDES = [4, 8, 16, 32]  # of the pyramid, in units of its finest level times 4
_COVERED = 0.4  # share of a place that its mask covers at least
Matching = Literal["places", "hungarian"]
_LEVELS = 3  # that the decoder's layers look at in turn


class Decoded(NamedTuple):
    """Query states after each layer: vectors (b, q, width), and logits of their masks (b, q, h, w)."""

    queries: list[Float[Tensor, "b q width"]]
    masks: list[Float[Tensor, "b q h w"]]


class Mask2FormerHeads(Mask2FormerPreTrainedModel):
    """From a pyramid of four levels, finest first, to queries and their masks at the finest level's resolution.

    A query starts from the pixel decoder's features at its place in a regular grid, not from a learned vector: its
    first mask is what looks like that place.
    """

    def __init__(self, params: DecoderParams) -> None:
        config = _config(params)
        super().__init__(config)
        self.grid = math.isqrt(params.queries)
        self.pixels = Mask2FormerPixelDecoder(config, [params.width] * len(_STRIDES))
        self.positions = Mask2FormerSinePositionEmbedding(params.width // 2, normalize=True)
        self.level = nn.Embedding(_LEVELS, params.width)
        self.start = nn.Sequential(nn.Linear(params.width, params.width), nn.LayerNorm(params.width))
        self.decoder = Mask2FormerMaskedAttentionDecoder(config)
        self.post_init()

    def forward(self, levels: Sequence[Float[Tensor, "b width _ _"]]) -> Decoded:
        """Decode the queries layer by layer."""
        pixels = self.pixels(list(levels), return_dict=True)
        maps = pixels.multi_scale_features
        starts = F.adaptive_avg_pool2d(maps[1], (self.grid, self.grid))
        out = self.decoder(
            inputs_embeds=self.start(_in_rows(starts)),
            multi_stage_positional_embeddings=[self._positions_of(each) for each in maps],
            pixel_embeddings=pixels.mask_features,
            encoder_hidden_states=[_in_rows(m) + e for m, e in zip(maps, self.level.weight, strict=True)],
            query_position_embeddings=self._positions_of(starts),
            feature_size_list=[each.shape[2:] for each in maps],
            return_dict=True,
        )
        return Decoded([each.transpose(0, 1) for each in out.intermediate_hidden_states], [*out.masks_queries_logits])

    def _positions_of(self, maps: Float[Tensor, "b width h w"]) -> Float[Tensor, "places b width"]:
        return _in_rows(self.positions(maps.shape, maps.device, maps.dtype))


def _in_rows(maps: Float[Tensor, "b width h w"]) -> Float[Tensor, "places b width"]:
    """Return the maps as rows, as transformers' decoder expects them."""
    return maps.flatten(2).permute(2, 0, 1)


class Places(nn.Module):
    """Matching by place: up to `most` queries that start inside a true mask are to predict it.

    Unlike one-to-one matching it needs no search, teaches several queries a mask from the first step on, and gives
    no target where no mask covers the image: there may be things without an annotation.
    """

    def __init__(self, most: int = 6) -> None:
        super().__init__()
        self._most = most

    def forward(
        self,
        masks: Float[Tensor, "b q h w"],
        _logits: Float[Tensor, "b q names_and_none"],
        true_masks: list[Float[Tensor, "_ h w"]],
        _true_labels: list[Int[Tensor, " _"]],
    ) -> list[tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]]:
        """Match queries with true masks: for each image, query indices and rows of masks."""
        side = math.isqrt(masks.shape[1])
        return [self._pairs(F.adaptive_avg_pool2d(each[None], side)[0].flatten(1)) for each in true_masks]

    def _pairs(self, cover: Float[Tensor, "r q"]) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
        share, owner = cover.max(dim=0)
        queries = []
        for row in range(len(cover)):
            inside = ((owner == row) & (share >= _COVERED)).nonzero()[:, 0]
            if not len(inside):
                inside = cover[row].argmax()[None]
            drawn = torch.randperm(len(inside))[: self._most]
            queries.append(inside[drawn.to(inside.device)])
        rows = [torch.full_like(each, row) for row, each in enumerate(queries)]
        return torch.cat(queries).cpu(), torch.cat(rows).cpu()


class _Loss(Mask2FormerLoss):
    """transformers' loss, with either way of matching; a mean over the pairs that were matched."""

    def __init__(self, config: Any, matching: Matching) -> None:  # noqa: ANN401 - transformers' own
        super().__init__(config, {})
        if matching == "places":
            self.matcher = Places()
            self.empty_weight[-1] = 0.0

    def loss_masks(self, masks: Tensor, true_masks: list[Tensor], pairs: Any, _count: Tensor) -> dict[str, Tensor]:  # noqa: ANN401
        """Compute the mask losses as the base class does, with the number of pairs where each mask has one query."""
        count = max(1, sum(len(queries) for queries, _ in pairs))
        losses: dict[str, Tensor] = super().loss_masks(masks, true_masks, pairs, count)
        return losses


class Criterion:
    """Matching and the three losses, after every layer, summed by weight."""

    def __init__(self, params: DecoderParams, weights: SegmentWeights, points: int, matching: Matching) -> None:
        self._weights, self._matching = weights, matching
        self._config = _config(params)
        self._config.update(
            {
                "class_weight": weights.label,
                "mask_weight": weights.mask,
                "dice_weight": weights.dice,
                "no_object_weight": weights.no_object,
                "train_num_points": points,
            }
        )

    def __call__(
        self,
        masks: Sequence[Float[Tensor, "b q h w"]],
        logits: Sequence[Float[Tensor, "b q names_and_none"]],
        true_masks: list[Float[Tensor, "_ h w"]],
        true_labels: list[Int[Tensor, " _"]],
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Return the loss, and its unweighted parts of the last layer.

        Args:
            masks: logits after each layer.
            logits: of the names, then of `no object`, after each layer.
            true_masks: of each image, at least one; shares of each place.
            true_labels: the names' places in `logits`; -100 for a mask without a name, by matching of places only.
        """
        self._config.num_labels = logits[-1].shape[-1] - 1
        loss = _Loss(self._config, self._matching).to(masks[-1].device)
        earlier: list[dict[str, Tensor]] = [
            {"masks_queries_logits": m, "class_queries_logits": c} for m, c in zip(masks[:-1], logits[:-1], strict=True)
        ]
        losses: dict[str, Tensor] = loss(masks[-1], logits[-1], true_masks, true_labels, earlier)
        weight = {"loss_cross_entropy": self._weights.label, "loss_mask": self._weights.mask}
        weight["loss_dice"] = self._weights.dice
        total = torch.stack([value * weight[_kind(name)] for name, value in losses.items()]).sum()
        return total, {name.removeprefix("loss_"): float(losses[name].detach()) for name in weight}


def _kind(name: str) -> str:
    """Return the kind of a loss: `loss_mask_3`, of the third layer, is a `loss_mask`."""
    return name.rstrip("0123456789").rstrip("_")


def _config(params: DecoderParams) -> Any:  # noqa: ANN401 - transformers' own
    return Mask2FormerConfig(
        feature_size=params.width,
        mask_feature_size=params.width,
        hidden_dim=params.width,
        encoder_feedforward_dim=params.feedforward,
        dim_feedforward=params.feedforward,
        encoder_layers=params.encoder_layers,
        decoder_layers=params.decoder_layers + 1,  # transformers counts the prediction before the first layer
        num_attention_heads=params.heads,
        num_queries=params.queries,
        common_stride=_STRIDES[0],
        feature_strides=list(_STRIDES),
        dropout=0.0,
        # points are drawn evenly: masks of annotators are least to be trusted where they are hardest
        oversample_ratio=1.0,
        importance_sample_ratio=0.0,
    )
