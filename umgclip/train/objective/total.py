"""The multi-granularity objective: features of one forward, and the terms of all processes' features together.

Terms that contrast (captions, tags, regions) see the features of the global batch. Those that are means over rows
(pixels, distillation) see this process's rows and count by their share of the global batch's. Summed over the
processes, the parts are the loss of the same batch in one process.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.losses.similarity import connected_zero
from umgclip.model.clip.files import Tokenizer
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.train.batch import Batch
from umgclip.train.objective.combine import combine
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.objective.labels import join
from umgclip.train.objective.registry import features_of, labels_of, states_of, wanted
from umgclip.train.objective.term import GlobalBatch, Objective, Similarity, TermInputs


def loss(
    tower: DenseClip, batch: Batch, params: TrainParams, tokenizer: Tokenizer
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Run a forward pass and return the weighted sum of all terms; a term with weight 0 costs nothing.

    Returns:
        The total, and each term's unweighted value.
    """
    parts = (labels_of(batch, params.weights, tokenizer),)
    global_batch = GlobalBatch(batch, parts, join(parts))
    tokens = tokenizer([batch.texts[i] for i in global_batch.own.used.tolist()])
    embedded = TowerEmbedder(tower)(batch.images, tokens, batch.valid)
    features = features_of(embedded.out, batch, params.weights)
    similarity = Similarity(embedded.scale, embedded.bias, tower.pairwise)
    return total(TermInputs(features, global_batch, similarity, params, state=states_of(params.weights)))


def total(seen: TermInputs) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the weighted sum of the terms of the global batch.

    Returns:
        What this process differentiates: gradients of its parameters, averaged over the processes, are those of the
        global loss. And each term's unweighted value over the global batch.

    Raises:
        InputError: the tower learns by sigmoids and has no bias.
    """
    world, objectives = seen.world, wanted(seen.params.weights)
    parts = {objective.name: _part(objective, seen) for objective in objectives}
    part, values = combine(parts, {name: getattr(seen.params.weights, name) for name in parts})
    if world.size == 1:
        return part, values
    names = list(values)
    summed = world.add(torch.tensor([values[name] for name in names], dtype=torch.float64)).tolist()
    # averaging the gradients, as DDP does, divides by the number of processes; every feature must have one
    return part * world.size + connected_zero(*seen.local), dict(zip(names, summed, strict=True))


def _part(objective: Objective, seen: TermInputs) -> Float[Tensor, ""]:
    """Return this process's part of a term: the parts of all processes add up to it."""
    value = objective.compute(seen)
    if objective.rows is not None:
        here, everywhere = objective.rows(seen.global_batch.own), objective.rows(seen.labels)
        return value * (here / everywhere if everywhere else 1.0)
    # a contrast over all features is the same on every process
    return value if seen.world.size == 1 else value / seen.world.size
