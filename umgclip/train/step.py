"""Loss and gradients of one global batch: in one forward, or in several with the loss of one (GradCache).

With micro-batches, features are computed without a graph first, the loss and its gradients with respect to all
features next, and then each micro-batch again, which passes those gradients on to the weights (Gao et al., RepL4NLP
2021). Two forwards, the memory of one micro-batch, and the loss of the whole batch, for any terms.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.learning.counts import of_texts
from umgclip.learning.quarantine import Failed
from umgclip.learning.world import World
from umgclip.model.clip.files import Tokenizer
from umgclip.model.clip.placement import sent
from umgclip.params import TrainParams
from umgclip.train.batch import Batch
from umgclip.train.feed import LoadedBatch
from umgclip.train.objective.base_texts import BaseTexts
from umgclip.train.objective.features import Embedded, Features, concatenate, slots_of, token_rows
from umgclip.train.objective.image_side import Rows, weighted
from umgclip.train.objective.image_terms import only_images
from umgclip.train.objective.labels import Labels, bounds, cut, join
from umgclip.train.objective.registry import features_of, labels_of
from umgclip.train.objective.term import GlobalBatch, Similarity, TermInputs
from umgclip.train.objective.total import total
from umgclip.train.parallel import Parallel


@dataclass(frozen=True)
class Computed:
    """The outcome of a step: values, counts and failures of the global batch; which images here are odd."""

    values: dict[str, float]
    failed: tuple[Failed, ...]
    keys: tuple[str, ...]
    is_odd: Bool[Tensor, "b"]
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def odd(self) -> tuple[str, ...]:
        """The keys of this process's images whose features are no numbers; to read them waits for the device."""
        return tuple(key for key, is_so in zip(self.keys, self.is_odd.tolist(), strict=True) if is_so)


@dataclass(frozen=True)
class StepScoring:
    """The settings of a forward pass and of its loss.

    Attributes:
        params: precision aside, what is computed.
        pairwise: the tower's kind of contrast, softmax or sigmoid.
        dtype: of autocast; None is plain float32.
        tokenizer: the tower's own.
        scale_loss: float16's loss scaling, the identity otherwise.
        state: what terms remember from step to step, by name.
        base_texts: the base's text tower, if a term compares texts by it.
    """

    params: TrainParams
    pairwise: Literal["softmax", "sigmoid"]
    dtype: torch.dtype | None
    tokenizer: Tokenizer
    scale_loss: Callable[[Tensor], Tensor]
    state: Mapping[str, Tensor] = field(default_factory=dict)
    base_texts: BaseTexts | None = None


def compute(model: Parallel, loaded: LoadedBatch, scoring: StepScoring, world: World) -> Computed:
    """Add the gradients of one global batch to the weights; every process is here at once, with its own part.

    Nothing is added where the loss is no finite number.
    """
    local_labels = labels_of(loaded.batch, scoring.params.weights, scoring.tokenizer)
    texts = [local_labels.texts[i] for i in local_labels.used.tolist()]
    met = of_texts(texts, scoring.tokenizer) + Counter(loaded.seen)
    told: list[tuple[Labels, tuple[Failed, ...], Counter[str]]] = world.tell((local_labels, loaded.failed, met))
    parts = tuple(labels for labels, _, _ in told)
    failed = tuple(failure for _, failures, _ in told for failure in failures)
    tokens = scoring.tokenizer(texts)  # on the CPU, where the text tower looks which have the same beginnings
    batch = to_device(loaded.batch, world.device)
    base_text = None if scoring.base_texts is None else scoring.base_texts(tokens)
    global_batch = GlobalBatch(batch, parts, join(parts), world.rank, base_text, loaded.batch)
    whole_batch = scoring.params.accumulate == 1
    images = [labels.images for labels in parts]
    rows = Rows(batch.images, batch.valid, loaded.step, sum(images[: world.rank]), scoring.params.seed, batch.views)
    objective = _Objective(global_batch, scoring, world, sum(images))
    values, features = (_at_once if whole_batch else _in_parts)(model, objective, tokens, rows)
    model.finish_gradients()
    is_odd = ~features.image.detach().isfinite().all(dim=1)
    return Computed(values, failed, loaded.keys, is_odd, sum((counts for _, _, counts in told), Counter()))


@dataclass(frozen=True)
class _Objective:
    """The loss of one global batch of `images` images."""

    global_batch: GlobalBatch
    scoring: StepScoring
    world: World
    images: int

    def of_features(
        self, features: Features, scale: Tensor, bias: Tensor | None
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Return what this process differentiates, and the values of the global batch; nothing if no term asks."""
        params = self.scoring.params
        if only_images(params.weights):
            return scale.new_zeros(()), {"total": 0.0}
        similarity = Similarity(scale, bias, self.scoring.pairwise)
        return total(TermInputs(features, self.global_batch, similarity, params, self.world, self.scoring.state))

    def of_images(self, embedded: Embedded, images: int) -> tuple[Float[Tensor, ""] | None, dict[str, float]]:
        """Return the same of the objectives on images, of a forward's images alone; values are its part of them."""
        share = images / self.images if self.images else 0.0
        loss, values = weighted(embedded.by_images, self.scoring.params.weights, share)
        return None if loss is None else loss * self.world.size, values

    def together(self, values: dict[str, float], by_images: Mapping[str, float]) -> dict[str, float]:
        """Return the values of all terms, given this process's part of those on images; all processes call this."""
        if not by_images:
            return values
        parts = torch.tensor(list(by_images.values()), dtype=torch.float64)
        summed = dict(zip(by_images, self.world.add(parts).tolist(), strict=True))
        weights = self.scoring.params.weights
        whole = values["total"] + sum(getattr(weights, name) * value for name, value in summed.items())
        return {**{n: v for n, v in values.items() if n != "total"}, **summed, "total": whole}


def _at_once(
    model: Parallel, objective: _Objective, tokens: Int[Tensor, "t length"], rows: Rows
) -> tuple[dict[str, float], Features]:
    scoring, batch = objective.scoring, objective.global_batch.batch
    slots = slots_of(objective.global_batch.on_cpu).to(objective.world.device)
    with _autocast(scoring, objective.world):
        embedded = model(batch.images, tokens, batch.valid, rows)
        features = features_of(embedded.out, batch, scoring.params.weights, slots)
        loss, values = objective.of_features(features, embedded.scale, embedded.bias)
        by_images, parts = objective.of_images(embedded, len(batch.images))
    values = objective.together(values, parts)
    if _finite(values):
        scoring.scale_loss(loss if by_images is None else loss + by_images).backward()
    return values, features


def _in_parts(
    model: Parallel, objective: _Objective, tokens: Int[Tensor, "t length"], rows: Rows
) -> tuple[dict[str, float], Features]:
    scoring, world, batch = objective.scoring, objective.world, objective.global_batch.batch
    parts, weights = scoring.params.accumulate, scoring.params.weights
    limits = [bounds(len(batch.images), parts, number) for number in range(parts)]
    pieces = [cut(batch, *limit) for limit in limits]
    texts = [token_rows(tokens, number, parts) for number in range(parts)]
    states, cached = [], []
    for piece, part in zip(pieces, texts, strict=True):
        states.append(_random_state(world))
        with torch.no_grad(), _autocast(scoring, world):
            embedded = model(piece.images, part, piece.valid)
            cached.append(features_of(embedded.out, piece, weights))
    after = _random_state(world)
    leaves = [Features(*(rows.detach().requires_grad_() for rows in part)) for part in cached]
    scale = embedded.scale.detach().requires_grad_()
    bias = None if embedded.bias is None else embedded.bias.detach().requires_grad_()
    features = concatenate(leaves)
    with _autocast(scoring, world):
        loss, values = objective.of_features(features, scale, bias)
    if not _finite(values):
        return values, features
    if loss.requires_grad:
        scoring.scale_loss(loss).backward()
    seen: dict[str, float] = {}
    for number, (piece, part) in enumerate(zip(pieces, texts, strict=True)):
        last = number == parts - 1
        _set_random_state(states[number], world)
        with model.gradients_stay(not last):
            with _autocast(scoring, world):
                embedded = model(piece.images, part, piece.valid, rows.cut(*limits[number]))
                again = features_of(embedded.out, piece, weights)
                by_images, values_of_part = objective.of_images(embedded, len(piece.images))
            learn = [(new, leaf.grad) for new, leaf in zip(again, leaves[number], strict=True)]
            if last:  # scale and bias act in the loss, once
                learn += [(embedded.scale, scale.grad)]
                learn += [] if embedded.bias is None or bias is None else [(embedded.bias, bias.grad)]
            pairs = [(new, grad) for new, grad in learn if new.requires_grad and grad is not None]
            if by_images is not None:
                pairs.append((scoring.scale_loss(by_images), torch.ones_like(by_images)))
                seen = {name: seen.get(name, 0.0) + value for name, value in values_of_part.items()}
            torch.autograd.backward([new for new, _ in pairs], [grad for _, grad in pairs])
    _set_random_state(after, world)
    return objective.together(values, seen), features


def _autocast(scoring: StepScoring, world: World) -> torch.autocast:
    return torch.autocast(world.device.type, dtype=scoring.dtype, enabled=scoring.dtype is not None)


def _finite(values: dict[str, float]) -> bool:
    return abs(values["total"]) < float("inf")


def _random_state(world: World) -> tuple[Tensor, Tensor | None]:
    on_gpu = world.device.type == "cuda"
    return torch.get_rng_state(), torch.cuda.get_rng_state(world.device) if on_gpu else None


def _set_random_state(state: tuple[Tensor, Tensor | None], world: World) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], world.device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch's tensors to a device; texts stay as they are."""
    if device.type == "cpu":
        return batch
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(Batch)}
    moved: dict[str, Any] = {n: sent(v, device) for n, v in fields.items() if isinstance(v, Tensor)}
    moved["views"] = {n: sent(v, device) for n, v in batch.views.items()}
    return dataclasses.replace(batch, **moved)
