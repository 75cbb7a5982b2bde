"""The multi-granularity objective: which terms a batch has, from one vision and one text forward."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.data.batch import Batch
from umgclip.losses.combine import combine
from umgclip.losses.distill import cosine_distillation, relational_keep
from umgclip.losses.image_text import info_nce
from umgclip.losses.pixel import pixel_loss
from umgclip.losses.region_tags import region_tag_loss
from umgclip.losses.region_text import joint_positives, region_text_loss
from umgclip.losses.tags import Asymmetry, asymmetric_loss
from umgclip.model.files import Tokenizer
from umgclip.model.readout import pool_boxes, pool_masks
from umgclip.model.tower import ClipOutput, DenseClip
from umgclip.params import LossWeights

_TAG_FOCUS = Asymmetry(gamma_neg=2.0, gamma_pos=0.0, clip=0.0)


def loss(
    tower: DenseClip, batch: Batch, weights: LossWeights, tokenizer: Tokenizer
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """One forward and the weighted sum of all terms whose weight is above 0; a weight of 0 costs nothing.

    Returns:
        The total, and each term's unweighted value.
    """
    used = _texts_needed(batch, weights)
    out = tower(batch.images, tokenizer([batch.texts[i] for i in used.tolist()]))
    position = torch.full((len(batch.texts) + 1,), -1)
    position[used] = torch.arange(len(used))
    scale = tower.logit_scale()
    terms: dict[str, Tensor] = {}
    if weights.image_text:
        caption = position[batch.caption]
        terms["image_text"] = info_nce(out.image, out.text[caption], scale, caption)
    if weights.tags:
        terms["tags"] = tag_term(out, batch, position, scale)
    # Regions compete for the batch's region texts only. Were captions and tags among them, the name of a held-out
    # class, which no region may carry, would be a negative of every region, that of its own objects too.
    names = batch.region_text[batch.region_text >= 0].unique()
    name_of = torch.full((len(batch.texts) + 1,), -1)
    name_of[names] = torch.arange(len(names))
    if weights.pixel:
        tokens = out.dense.flatten(2).transpose(1, 2).flatten(0, 1)
        target = name_of[batch.token_text]
        terms["pixel"] = pixel_loss(tokens, out.text[position[names]], target, batch.token_weight, scale)
    if weights.region_text or weights.region_tags or weights.distill or weights.relational:
        by_mask = pool_masks(out.dense, batch.masks, batch.image_of_region)
        if weights.region_text:
            terms["region_text"] = region_term(out, by_mask, batch, (out.text[position[names]], name_of), scale)
        if weights.region_tags:
            tags = out.text[position[batch.tag_texts]]
            terms["region_tags"] = region_tag_loss(by_mask, batch.image_of_region, tags, batch.tag_targets, scale)
        terms |= _teacher_terms(by_mask, batch, weights, scale)
    if weights.keep:
        known = batch.teacher_image.isfinite().all(dim=1)
        terms["keep"] = cosine_distillation(out.image[known], batch.teacher_image[known])
    return combine(terms, {name: value for name, value in weights.model_dump().items() if value})


def _texts_needed(batch: Batch, weights: LossWeights) -> Tensor:
    """Indices of the texts that some active term looks at."""
    needed = []
    if weights.image_text:
        needed.append(batch.caption)
    if weights.tags or weights.region_tags:
        needed.append(batch.tag_texts)
    if weights.region_text or weights.pixel:
        needed.append(batch.region_text[batch.region_text >= 0])
    return torch.cat(needed).unique() if needed else torch.zeros(0, dtype=torch.long)


def tag_term(out: ClipOutput, batch: Batch, position: Tensor, scale: Tensor) -> Float[Tensor, ""]:
    """Multi-label loss over the tags of the batch, centred so that an average image expects an average number."""
    logits = scale * out.image @ out.text[position[batch.tag_texts]].T
    prior = batch.tag_targets.float().mean().clamp(1e-4, 1 - 1e-4)  # all images may have all tags
    logits = logits - logits.detach().mean() + torch.log(prior / (1 - prior))
    return asymmetric_loss(logits, batch.tag_targets, asymmetry=_TAG_FOCUS) / 10


def region_term(
    out: ClipOutput,
    by_mask: Float[Tensor, "r d"],
    batch: Batch,
    names: tuple[Float[Tensor, "t d"], Int[Tensor, "all_texts"]],
    scale: Tensor,
) -> Float[Tensor, ""]:
    """All regions by mask pooling, things by RoIAlign as well, against the texts that regions of the batch carry.

    Args:
        out: of the forward.
        by_mask: regions' features pooled over their masks.
        batch: what the forward saw.
        names: features of those texts, and each text's row among them.
        scale: inverse temperature.
    """
    texts, row_of = names
    things = ~batch.is_stuff
    by_box = pool_boxes(out.dense, batch.boxes_xyxy[things], batch.image_of_region[things])
    text_of = row_of[batch.region_text]
    positives = joint_positives(torch.cat([text_of, text_of[things]]), texts)
    return region_text_loss(torch.cat([by_mask, by_box]), texts, positives, scale)


def _teacher_terms(
    by_mask: Float[Tensor, "r d"], batch: Batch, weights: LossWeights, scale: Tensor
) -> dict[str, Float[Tensor, ""]]:
    """Mask-pooled dense features against the teacher's embeddings of the regions' crops, labelled or not.

    `distill` is CLIPSelf's cosine. `relational` asks that each region be as near to the crops of the batch's other
    regions as its own crop is. Neither needs a name, so the held-out classes are taught too.
    """
    known = batch.teacher_region.isfinite().all(dim=1)
    student, teacher = by_mask[known], F.normalize(batch.teacher_region[known], dim=1)
    terms: dict[str, Float[Tensor, ""]] = {}
    if weights.distill:
        terms["distill"] = cosine_distillation(student, teacher)
    if weights.relational:
        terms["relational"] = relational_keep(student, teacher, teacher, teacher, scale)
    return terms
