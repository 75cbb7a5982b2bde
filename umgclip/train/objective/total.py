"""The multi-granularity objective: features of one forward, and the terms of all processes' features together.

Terms that contrast (captions, tags, regions) see the features of the global batch. Those that are means over rows
(pixels, distillation) see this process's rows and count by their share of the global batch's. Summed over the
processes, the parts are the loss of the same batch in one process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.errors import InputError
from umgclip.learning.world import World
from umgclip.losses.image_text import info_nce, sigmoid_loss
from umgclip.losses.similarity import connected_zero
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.model.clip.files import Tokenizer
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights
from umgclip.train.batch import Batch
from umgclip.train.objective.combine import TERMS, combine
from umgclip.train.objective.distill import cosine_distillation, relational_keep
from umgclip.train.objective.features import Features, TowerEmbedder, read_out
from umgclip.train.objective.labels import JoinedLabels, Labels, join, labels_of
from umgclip.train.objective.pixel import pixel_loss
from umgclip.train.objective.region_tags import region_tag_loss
from umgclip.train.objective.region_text import joint_positives, region_sigmoid_loss, region_text_loss

_TAG_FOCUS = Asymmetry(gamma_neg=2.0, gamma_pos=0.0, clip=0.0)
_BY_ROWS = ("pixel", "distill", "keep")  # means over rows of this process
_ALONE = World()


@dataclass(frozen=True)
class Similarity:
    """The scale and bias that turn cosines into logits, and the tower's kind of contrast."""

    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""] | None = None
    pairwise: str = "softmax"


@dataclass(frozen=True)
class GlobalBatch:
    """A process's batch together with the labels of the global batch.

    Attributes:
        batch: this process's part, on the device of its features.
        parts: the labels of every process's part, on the CPU.
        joined: the same as those of one batch.
        rank: the place of this process among them.
    """

    batch: Batch
    parts: tuple[Labels, ...]
    joined: JoinedLabels
    rank: int = 0

    @property
    def own(self) -> Labels:
        """The labels of this process's own part."""
        return self.parts[self.rank]


def loss(
    tower: DenseClip, batch: Batch, weights: LossWeights, tokenizer: Tokenizer
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Run a forward pass and return the weighted sum of all terms; a term with weight 0 costs nothing.

    Returns:
        The total, and each term's unweighted value.
    """
    parts = (labels_of(batch, weights, tokenizer),)
    global_batch = GlobalBatch(batch, parts, join(parts))
    tokens = tokenizer([batch.texts[i] for i in global_batch.own.used.tolist()])
    embedded = TowerEmbedder(tower)(batch.images, tokens, batch.valid)
    features = read_out(embedded.out, batch, weights)
    similarity = Similarity(embedded.scale, embedded.bias, tower.pairwise)
    return total(features, global_batch, similarity, weights)


def total(
    features: Features, global_batch: GlobalBatch, similarity: Similarity, weights: LossWeights, world: World = _ALONE
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the weighted sum of the terms of the global batch.

    Returns:
        What this process differentiates: gradients of its parameters, averaged over the processes, are those of the
        global loss. And each term's unweighted value over the global batch.

    Raises:
        InputError: the tower learns by sigmoids and has no bias.
    """
    own_terms = terms(features, global_batch, similarity, weights, world)
    wanted = {name: value for name, value in weights.model_dump().items() if value and name in TERMS}
    if world.size == 1:
        return combine(own_terms, wanted)
    # each process's part of the sum; a contrast over all features is the same on every one of them
    parts = {n: term if n in _BY_ROWS else term / world.size for n, term in own_terms.items()}
    part, values = combine(parts, wanted)
    names = list(values)
    summed = world.add(torch.tensor([values[name] for name in names], dtype=torch.float64)).tolist()
    # averaging the gradients, as DDP does, divides by the number of processes; every feature must have one
    return part * world.size + connected_zero(*features), dict(zip(names, summed, strict=True))


def terms(
    features: Features, global_batch: GlobalBatch, similarity: Similarity, weights: LossWeights, world: World = _ALONE
) -> dict[str, Float[Tensor, ""]]:
    """Compute each term with a weight above 0; those of `_BY_ROWS` times this process's share of the rows."""
    batch, device = global_batch.batch, features.image.device
    labels, position = global_batch.joined.labels, global_batch.joined.row_of_text.to(device)
    image, text = _gather(features, global_batch, world)
    scale = similarity.scale
    by_name: dict[str, Tensor] = {}
    if weights.image_text:
        captioned = labels.caption.to(device) >= 0  # images without a caption learn from the other terms
        caption = position[labels.caption.to(device)[captioned]]
        by_name["image_text"] = _image_text(image[captioned], text, caption, similarity)
    if weights.tags:
        targets = labels.tag_targets.to(device)
        by_name["tags"] = tag_term(image, text[position[labels.tag_texts.to(device)]], targets, scale)
    # Regions compete for the batch's region texts only. Were captions and tags among them, the name of a held-out
    # class, which no region may carry, would be a negative of every region, that of its own objects too.
    region_text = labels.region_text.to(device)
    names = region_text[region_text >= 0].unique()
    name_of = torch.full((len(labels.texts) + 1,), -1, device=device)
    name_of[names] = torch.arange(len(names), device=device)
    if weights.pixel:
        mapping = global_batch.joined.places[global_batch.rank].to(device)
        target = name_of[mapping[batch.token_text]]
        term = pixel_loss(features.tokens, text[position[names]], target, batch.token_weight, scale)
        by_name["pixel"] = term * _share(global_batch.own.token_weight_sum, labels.token_weight_sum)
    if weights.region_text or weights.region_tags or weights.relational:
        by_mask = world.gather(features.by_mask, [len(part.region_text) for part in global_batch.parts])
        if weights.region_text:
            by_box = world.gather(features.by_box, [part.things for part in global_batch.parts])
            by_name["region_text"] = region_term(
                by_mask, by_box, labels, (text[position[names]], name_of[region_text]), similarity
            )
        if weights.region_tags:
            tags = text[position[labels.tag_texts.to(device)]]
            by_name["region_tags"] = region_tag_loss(
                by_mask, labels.image_of_region.to(device), tags, labels.tag_targets.to(device), scale
            )
    else:
        by_mask = features.by_mask
    return by_name | _teacher_terms(features, by_mask, global_batch, weights, scale)


def _gather(features: Features, global_batch: GlobalBatch, world: World) -> tuple[Tensor, Tensor]:
    """Gather the image and text features of all processes."""
    image = world.gather(features.image, [part.images for part in global_batch.parts])
    text = world.gather(features.text, [len(part.used) for part in global_batch.parts])
    return image, text


def _share(local: float | int, everyone: float | int) -> float:
    return local / everyone if everyone else 1.0


def _image_text(image: Tensor, text: Tensor, caption: Tensor, similarity: Similarity) -> Float[Tensor, ""]:
    if similarity.pairwise == "softmax":
        return info_nce(image, text[caption], similarity.scale, caption)
    return sigmoid_loss(image, text[caption], similarity.scale, _bias(similarity), caption)


def _bias(similarity: Similarity) -> Float[Tensor, ""]:
    if similarity.bias is None:
        raise InputError("model: expected a logit bias of a tower that learns by sigmoids, got none")
    return similarity.bias


def tag_term(
    image: Float[Tensor, "b d"], tags: Float[Tensor, "v d"], targets: Tensor, scale: Tensor
) -> Float[Tensor, ""]:
    """Compute the multi-label loss of the batch's tags, centred so that an average image expects an average number."""
    logits = scale * image @ tags.T
    prior = targets.float().mean().clamp(1e-4, 1 - 1e-4)  # all images may have all tags
    logits = logits - logits.detach().mean() + torch.log(prior / (1 - prior))
    return asymmetric_loss(logits, targets, asymmetry=_TAG_FOCUS) / 10


def region_term(
    by_mask: Float[Tensor, "r d"],
    by_box: Float[Tensor, "things d"],
    labels: Labels,
    names: tuple[Float[Tensor, "t d"], Int[Tensor, "r"]],
    similarity: Similarity,
) -> Float[Tensor, ""]:
    """Contrast regions (mask pooling, things by RoIAlign as well) with the texts that regions of the batch carry.

    Args:
        by_mask: regions' features pooled over their masks.
        by_box: things' features pooled in their boxes.
        labels: of the same regions.
        names: features of those texts, and the row among them of each region's text.
        similarity: how cosines become logits.

    Raises:
        InputError: the tower learns by sigmoids and has no bias.
    """
    texts, text_of = names
    things = ~labels.is_stuff.to(text_of.device)
    positives = joint_positives(torch.cat([text_of, text_of[things]]), texts)
    regions = torch.cat([by_mask, by_box])
    if similarity.pairwise == "softmax":
        return region_text_loss(regions, texts, positives, similarity.scale)
    return region_sigmoid_loss(regions, texts, positives, similarity.scale, _bias(similarity))


def _teacher_terms(
    features: Features,
    by_mask: Float[Tensor, "r d"],
    global_batch: GlobalBatch,
    weights: LossWeights,
    scale: Tensor,
) -> dict[str, Float[Tensor, ""]]:
    """Compare dense features and images with the teacher's embeddings.

    `distill` is CLIPSelf's cosine of mask-pooled features to the embeddings of the regions' crops. `relational` asks
    that each region be as near to the crops of the batch's other regions as its own crop is. Neither needs a name, so
    the held-out classes are taught too. `keep` is the cosine of whole images to the base's own.

    Args:
        features: of this process.
        by_mask: regions' features of all processes.
        global_batch: what is known of both.
        weights: which terms are wanted.
        scale: inverse temperature.
    """
    batch, everyone = global_batch.batch, global_batch.joined.labels
    by_name: dict[str, Tensor] = {}
    if weights.distill:
        known = batch.teacher_region.isfinite().all(dim=1)
        teacher = F.normalize(batch.teacher_region[known], dim=1)
        term = cosine_distillation(features.by_mask[known], teacher)
        by_name["distill"] = term * _share(global_batch.own.taught_regions, everyone.taught_regions)
    if weights.relational and everyone.teacher_region is not None:
        rows = everyone.teacher_region.to(by_mask.device)
        known = rows.isfinite().all(dim=1)
        teacher = F.normalize(rows[known], dim=1)
        by_name["relational"] = relational_keep(by_mask[known], teacher, teacher, teacher, scale)
    if weights.keep:
        known = batch.teacher_image.isfinite().all(dim=1)
        term = cosine_distillation(features.image[known], batch.teacher_image[known])
        by_name["keep"] = term * _share(global_batch.own.taught_images, everyone.taught_images)
    return by_name
