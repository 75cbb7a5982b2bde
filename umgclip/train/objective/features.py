"""One forward through everything that learns, and what the objective's terms need of it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.model.clip.placement import sent
from umgclip.model.clip.readout import box_weights, pool_regions
from umgclip.model.clip.tower import ClipOutput, DenseClip
from umgclip.train.batch import Batch
from umgclip.train.objective.image_side import ImageObjective, Rows

Pooled = Literal["tokens", "by_mask", "by_box"]
"""What can be read out of a dense map; the fields of `Features` with these names."""


class Embedded(NamedTuple):
    """The output of a forward pass: L2-normalised embeddings, and the scale and bias of their logits.

    `by_images` are the values of the objectives that look at images alone, means over the images of the forward.
    """

    out: ClipOutput
    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""] | None
    by_images: dict[str, Float[Tensor, ""]] = {}  # noqa: RUF012 - never changed


class TowerEmbedder(nn.Module):
    """All learnable calls of a step as one `forward`, so that a wrapper for many processes sees every one of them.

    Args:
        tower: embeds images and texts.
        objectives: on images alone.
        embeds: false if only `objectives` are wanted; embeddings are empty then.
    """

    def __init__(self, tower: DenseClip, objectives: Sequence[ImageObjective] = (), *, embeds: bool = True) -> None:
        super().__init__()
        self.tower: Any = tower  # nn.Module types every submodule as Tensor | Module
        self.objectives: Any = nn.ModuleDict({objective.name: objective for objective in objectives})
        self._embeds = embeds

    def forward(
        self, images: Tensor, tokens: Tensor, valid: Tensor | None = None, rows: Rows | None = None
    ) -> Embedded:
        """Embed images and texts; evaluate the objectives on images if `rows` are given.

        With no image or no text, a stand-in keeps every parameter in the graph.
        """
        embedded = self._embed(images, tokens, valid) if self._embeds else self._nothing(images)
        if rows is None or not self.objectives:
            return embedded
        rows = rows.or_stand_in()
        return embedded._replace(
            by_images={name: objective(self.tower, rows) for name, objective in self.objectives.items()}
        )

    def _nothing(self, images: Tensor) -> Embedded:
        none = images.new_zeros((len(images), self.tower.embed_dim))
        return Embedded(ClipOutput(none, none[:, :, None, None], none[:0]), self.tower.logit_scale().detach(), None)

    def _embed(self, images: Tensor, tokens: Tensor, valid: Tensor | None) -> Embedded:
        no_images, no_texts = not len(images), not len(tokens)
        if no_images:
            images, valid = images.new_zeros((1, *images.shape[1:])), None
        if no_texts and self.training and _distributed():
            tokens = tokens.new_zeros((1, tokens.shape[1]))
        out = self.tower(images, tokens) if valid is None else self.tower(images, tokens, valid)
        if no_images:
            out = ClipOutput(out.image[:0], out.dense[:0], out.text)
        if no_texts:
            out = ClipOutput(out.image, out.dense, out.text[:0])
        bias = self.tower.logit_bias() if hasattr(self.tower, "logit_bias") else None
        return Embedded(out, self.tower.logit_scale(), bias)


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


class Features(NamedTuple):
    """Embeddings that terms look at, of one or several forwards; empty where no term does.

    `by_box` has the things only. `tokens` are the dense maps in row order, and never leave their process.
    """

    image: Float[Tensor, "b d"]
    text: Float[Tensor, "u d"]
    tokens: Float[Tensor, "n d"]
    by_mask: Float[Tensor, "r d"]
    by_box: Float[Tensor, "things d"]


class Slots(NamedTuple):
    """Places of a batch's masks, then of the boxes of its things, in a table with as many for every image.

    Attributes:
        things: the regions that are no stuff, ascending.
        place: of the masks, and of the boxes of `things`.
        of_image: slots of an image.
    """

    things: Int[Tensor, "things"]
    place: Int[Tensor, "n"]
    of_image: int

    def to(self, device: torch.device) -> Slots:
        """Copy the places to a device, without waiting for it."""
        return Slots(sent(self.things, device), sent(self.place, device), self.of_image)


def slots_of(batch: Batch) -> Slots:
    """Give the regions of a batch their places; best on the CPU."""
    image = batch.image_of_region  # ascending
    rank = torch.arange(len(image), device=image.device) - torch.searchsorted(image, image)
    most = int(rank.max()) + 1 if len(rank) else 1
    things = (~batch.is_stuff).nonzero()[:, 0]
    of_mask = image * (2 * most) + rank  # in an image's slots its masks come first
    return Slots(things, torch.cat([of_mask, (of_mask + most)[things]]), 2 * most)


def read_out(out: ClipOutput, batch: Batch, pooled: Set[Pooled], slots: Slots | None = None) -> Features:
    """Read tokens and regions out of a forward's dense map, as far as `pooled` names them.

    Args:
        out: of the forward.
        batch: on its device.
        pooled: what is wanted.
        slots: those of the batch, on the same device; None: they are found there.
    """
    none = out.dense.new_zeros((0, out.dense.shape[1]))
    tokens, by_mask, by_box = none, none, none
    if "tokens" in pooled:
        tokens = out.dense.flatten(2).transpose(1, 2).flatten(0, 1)
    if pooled & {"by_mask", "by_box"}:
        by_mask, by_box = _regions(out.dense, batch, slots or slots_of(batch))
    return Features(
        out.image,
        out.text,
        tokens,
        by_mask if "by_mask" in pooled else none,
        by_box if "by_box" in pooled else none,
    )


def _regions(
    dense: Float[Tensor, "b d h w"], batch: Batch, slots: Slots
) -> tuple[Float[Tensor, "r d"], Float[Tensor, "things d"]]:
    """Pool all masks, and the boxes of things, in one product."""
    boxes = box_weights(batch.boxes_xyxy.index_select(0, slots.things), (dense.shape[2], dense.shape[3]))
    rows = pool_regions(dense, torch.cat([batch.masks, boxes]), slots.place, slots.of_image)
    regions = len(batch.masks)
    return rows[:regions], rows[regions:]


def concatenate(parts: list[Features]) -> Features:
    """Concatenate the features of several forward passes."""
    return Features(*(torch.cat(list(rows)) for rows in zip(*parts, strict=True)))


def token_rows(tokens: Int[Tensor, "t length"], part: int, parts: int) -> Int[Tensor, "u length"]:
    """Return the texts of one of several forward passes: an even share, whichever images they belong to."""
    return tokens[len(tokens) * part // parts : len(tokens) * (part + 1) // parts]
