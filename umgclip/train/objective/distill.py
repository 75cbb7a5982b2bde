"""Distillation: dense features towards a teacher's crops, and the tuned model towards what its base knew."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.losses.checks import require_shape
from umgclip.losses.similarity import Scalar, connected_zero, full_precision, scaled_cosine, unit_rows
from umgclip.train.objective.term import TermInputs


def distill_term(seen: TermInputs) -> Float[Tensor, ""]:
    """Draw mask-pooled features of this process's regions to the base's embeddings of the regions' crops.

    No name is needed, so the held-out classes are taught too; `relational_term` likewise.
    """
    known = seen.here(_known(seen.global_batch.on_cpu.teacher_region))
    rows = seen.global_batch.batch.teacher_region.index_select(0, known)
    return cosine_distillation(seen.local.by_mask.index_select(0, known), F.normalize(rows, dim=1))


def relational_term(seen: TermInputs) -> Float[Tensor, ""]:
    """Ask each region to be as near to the crops of the batch's other regions as its own crop is."""
    given = seen.labels.teacher_region
    if given is None:
        return connected_zero(seen.by_mask)
    known = _known(given)
    teacher = F.normalize(seen.here(given[known]), dim=1)
    return relational_keep(
        seen.by_mask.index_select(0, seen.here(known)), teacher, teacher, teacher, seen.similarity.scale
    )


def keep_term(seen: TermInputs) -> Float[Tensor, ""]:
    """Draw this process's image embeddings to the base's own."""
    known = seen.here(_known(seen.global_batch.on_cpu.teacher_image))
    rows = seen.global_batch.batch.teacher_image.index_select(0, known)
    return cosine_distillation(seen.local.image.index_select(0, known), rows)


def _known(teacher: Float[Tensor, "n d"]) -> Int[Tensor, "k"]:
    """Return the rows that a teacher gave."""
    return teacher.isfinite().all(dim=1).nonzero()[:, 0]


def cosine_distillation(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    weight: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, ""]:
    """Weighted mean of `1 - cos(student_i, teacher_i)` (CLIPSelf, Wu et al., ICLR 2024).

    With region features against the base's embeddings of the crops it teaches dense features; with global
    embeddings against the base's it keeps image-level ability.

    Args:
        student: Features that learn; normalised here.
        teacher: Features to reach; detached here.
        weight: >= 0 for each row; rows of weight 0 are left out. None: all 1.

    Returns:
        In [0, 2]; 0 when there are no rows or no weight.

    Raises:
        InputError: `teacher` is not of the student's shape, or `weight` has not one value a row.
    """
    require_shape("teacher", teacher, tuple(student.shape))
    if weight is None:
        if not len(student):
            return connected_zero(student)
        return (1 - (unit_rows(student) * unit_rows(teacher.detach())).sum(dim=1)).mean()
    require_shape("weight", weight, (student.shape[0],))
    known_rows = weight > 0
    if not known_rows.any():
        return connected_zero(student)
    weight = full_precision(weight[known_rows])
    cosine = (unit_rows(student[known_rows]) * unit_rows(teacher[known_rows].detach())).sum(dim=1)
    return ((1 - cosine) * weight).sum() / weight.sum()


def relational_keep(
    student_image: Float[Tensor, "b d"],
    student_text: Float[Tensor, "b d"],
    teacher_image: Float[Tensor, "b e"],
    teacher_text: Float[Tensor, "b e"],
    scale: Scalar,
) -> Float[Tensor, ""]:
    """Keep the base's image-text relations: KL of in-batch softmaxes, base to tuned, both ways.

    Dense tuning costs image-level ability (CLIPSelf, issue 11). `cosine_distillation` of global embeddings pins each
    embedding where it was; this pins only which captions an image is near to, and in what proportion, so that the
    space may turn as a whole. As the base's probabilities are soft, equal captions are no false negatives. It is
    affinity mimicking without the temperature's square (TinyCLIP, Wu et al., ICCV 2023), and with its direction:
    `KL(base || tuned)`, rows of image-to-text and of text-to-image, averaged.

    Args:
        student_image: Image features of the tuned model, whole (gathered) batch; normalised here.
        student_text: Caption features of the tuned model, or the base's where the text tower is frozen.
        teacher_image: Image features of the base; detached here. Its width may differ from the student's.
        teacher_text: Caption features of the base; detached here.
        scale: Multiplier of both models' cosines, the base's exponentiated logit scale; lower is softer.

    Returns:
        Mean divergence of a row, in nats, >= 0 up to rounding; 0 for an empty batch, and for a single row.

    Raises:
        InputError: Texts do not have the shape of their images, or the two models' batches differ.
    """
    rows = student_image.shape[0]
    require_shape("student_text", student_text, tuple(student_image.shape))
    require_shape("teacher_image", teacher_image, (rows, teacher_image.shape[1]))
    require_shape("teacher_text", teacher_text, tuple(teacher_image.shape))
    if rows == 0:
        return connected_zero(student_image, student_text, scale)
    fixed_scale = scale.detach() if isinstance(scale, Tensor) else scale
    tuned = scaled_cosine(student_image, student_text, scale)
    base = scaled_cosine(teacher_image.detach(), teacher_text.detach(), fixed_scale)
    return (_divergence(base, tuned) + _divergence(base.T, tuned.T)) / 2


def _divergence(base: Float[Tensor, "n m"], tuned: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    """Mean over rows of KL(softmax(base) || softmax(tuned))."""
    log_base, log_tuned = torch.log_softmax(base, dim=1), torch.log_softmax(tuned, dim=1)
    return (log_base.exp() * (log_base - log_tuned)).sum(dim=1).mean()
