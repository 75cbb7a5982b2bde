"""The terms of the objective: how one is described, and the inputs that it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.errors import InputError
from umgclip.learning.world import World
from umgclip.model.clip.placement import sent
from umgclip.params import TrainParams
from umgclip.train.batch import Batch
from umgclip.train.objective.features import Features, Pooled
from umgclip.train.objective.labels import JoinedLabels, Labels


@dataclass(frozen=True)
class Similarity:
    """The scale and bias that turn cosines into logits, and the tower's kind of contrast."""

    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""] | None = None
    pairwise: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def required_bias(self) -> Float[Tensor, ""]:
        """The bias of a tower that learns by sigmoids.

        Raises:
            InputError: it has none.
        """
        if self.bias is None:
            raise InputError("model: expected a logit bias of a tower that learns by sigmoids, got none")
        return self.bias


@dataclass(frozen=True)
class GlobalBatch:
    """A process's batch together with the labels of the global batch.

    Attributes:
        batch: this process's part, on the device of its features.
        read: the same on the CPU, where rows are chosen, so that nothing waits for the device; None: `batch` is there.
        parts: the labels of every process's part, on the CPU.
        joined: the same as those of one batch.
        rank: the place of this process among them.
        base_text: the base's embeddings of this process's used texts; None: nobody asks, or the model's are the base's.
    """

    batch: Batch
    parts: tuple[Labels, ...]
    joined: JoinedLabels
    rank: int = 0
    base_text: Float[Tensor, "u d"] | None = None
    read: Batch | None = None

    @property
    def on_cpu(self) -> Batch:
        """This process's part on the CPU."""
        return self.batch if self.read is None else self.read

    @property
    def own(self) -> Labels:
        """The labels of this process's own part."""
        return self.parts[self.rank]


@dataclass(frozen=True)
class TermInputs:
    """The inputs of the terms of one step: this process's features and, gathered at first use, those of all processes.

    Labels and all that chooses rows by them stay on the CPU, and only the choice goes to the features' device.

    Every process computes the same terms in the same order, so that all of them gather together.

    Attributes:
        local: features of this process's part.
        global_batch: what is known of them, and the labels of all parts.
        similarity: how cosines become logits.
        params: the section `train`.
        world: the processes.
        state: what a term remembers from step to step, by its name; changed in place.
    """

    local: Features
    global_batch: GlobalBatch
    similarity: Similarity
    params: TrainParams
    world: World = World()
    state: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def labels(self) -> Labels:
        """The labels of the global batch."""
        return self.global_batch.joined.labels

    @property
    def device(self) -> torch.device:
        """The device that all features are on."""
        return self.local.image.device

    @cached_property
    def image(self) -> Float[Tensor, "b d"]:
        """The embeddings of the images of all processes."""
        return self.world.gather(self.local.image, [part.images for part in self.global_batch.parts])

    @cached_property
    def _text(self) -> Float[Tensor, "u d"]:
        return self.world.gather(self.local.text, [len(part.used) for part in self.global_batch.parts])

    @cached_property
    def by_mask(self) -> Float[Tensor, "r d"]:
        """The features of all regions, pooled over their masks."""
        return self.world.gather(self.local.by_mask, [len(part.region_text) for part in self.global_batch.parts])

    @cached_property
    def by_box(self) -> Float[Tensor, "things d"]:
        """The features of all things, pooled in their boxes."""
        return self.world.gather(self.local.by_box, [part.things for part in self.global_batch.parts])

    @cached_property
    def joint_places(self) -> Int[Tensor, "texts"]:
        """The place in `labels.texts` of each of this process's texts; -1 at the end."""
        return self.global_batch.joined.places[self.global_batch.rank]

    def here(self, values: Tensor) -> Tensor:
        """Copy something of the CPU to the features' device."""
        return sent(values, self.device)

    def rows_of(self, places: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """Return the rows of encoded texts by their places in `labels.texts`; equal texts have one row."""
        return self.here(self.global_batch.joined.row_of_text[places.cpu()])

    def texts(self, places: Int[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """Return embeddings of texts by their places in `labels.texts`."""
        return self._text.index_select(0, self.rows_of(places))

    @cached_property
    def _places_of_names(self) -> Int[Tensor, "t"]:
        return self.labels.region_text[self.labels.region_text >= 0].unique()

    def region_names(self) -> Float[Tensor, "t d"]:
        """Return embeddings of the distinct texts that regions carry.

        Regions compete for the batch's region texts only. Were captions and tags among them, the name of a held-out
        class, which no region may carry, would be a negative of every region, that of its own objects too.
        """
        return self._names

    @cached_property
    def _names(self) -> Float[Tensor, "t d"]:
        return self.texts(self._places_of_names)

    @cached_property
    def names_by_base(self) -> Float[Tensor, "t d"]:
        """The base's embeddings of `region_names`; `train.joint_threshold` compares these."""
        given = self.global_batch.base_text
        if given is None:
            return self.region_names().detach()
        rows = self.world.gather(given, [len(part.used) for part in self.global_batch.parts])
        return rows[self.rows_of(self._places_of_names)]

    @cached_property
    def row_of_name(self) -> Int[Tensor, "texts"]:
        """The row in `region_names` of each place in `labels.texts`; that of other texts, and the last, is -1."""
        names = self._places_of_names
        rows = torch.full((len(self.labels.texts) + 1,), -1)
        rows[names] = torch.arange(len(names))
        return rows


@dataclass(frozen=True)
class Objective:
    """A term of the objective: its name, its needs and how it is computed.

    Attributes:
        name: that of its weight in `train.weights` and of its curve.
        compute: its value. Contrasts look at the features of all processes and give the same on each; means over rows
            look at this process's rows.
        texts: places in `Batch.texts` of the texts it looks at, which are encoded; None: it looks at no text.
        pooled: what it looks at in the dense map, besides the map itself.
        rows: of a mean over rows, the number of rows in a part; None: it is no such mean.
        state: makes what it remembers from step to step, which joins the checkpoint; None: nothing.
    """

    name: str
    compute: Callable[[TermInputs], Float[Tensor, ""]]
    texts: Callable[[Batch], Int[Tensor, "n"]] | None = None
    pooled: frozenset[Pooled] = frozenset()
    rows: Callable[[Labels], float] | None = None
    state: Callable[[], Tensor] | None = None
