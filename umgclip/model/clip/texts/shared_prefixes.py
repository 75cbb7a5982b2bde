"""Texts of a causal tower without computing anything twice: no padding, and every common beginning once.

What a causal tower makes of a token depends on the tokens before it alone. So the beginnings of a batch's texts form a
tree ("a dog" and "a dog on grass" share three nodes), and all that acts on single tokens (norms, projections, MLPs) is
computed for its nodes. Attention alone sees whole texts, the nodes on their paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor

from umgclip.model.clip.placement import sent

_PARTS = 3  # query, key, value
_LENGTHS = (4, 8, 16, 32, 64)  # texts of up to as many tokens share a batch of attention; longer ones another


@dataclass(frozen=True)
class PrefixTree:
    """The distinct beginnings of some texts; a node is a beginning's last token.

    Attributes:
        token: the id of each node.
        position: its place in its texts.
        paths: the nodes of whole texts, texts of similar length together; after a text's end any node.
        place: where each node stands in these rows, one after the other.
        end: the node that ends each text.
    """

    token: Int[Tensor, "nodes"]
    position: Int[Tensor, "nodes"]
    paths: tuple[Int[Tensor, "_ _"], ...]
    place: Int[Tensor, "nodes"]
    end: Int[Tensor, "texts"]

    def to(self, device: torch.device) -> PrefixTree:
        """Copy the tree to a device, without waiting for it."""
        if device.type == "cpu":
            return self
        return PrefixTree(
            sent(self.token, device),
            sent(self.position, device),
            tuple(sent(path, device) for path in self.paths),
            sent(self.place, device),
            sent(self.end, device),
        )

    def attend(
        self, projected: Float[Tensor, "1 nodes thrice"], heads: int, dtype: torch.dtype
    ) -> Float[Tensor, "1 nodes d"]:
        """Compute causal self-attention of all texts for the nodes.

        Args:
            projected: query, key and value of each node, one after the other.
            heads: how many.
            dtype: to compute in.
        """
        mixed = []
        for path in self.paths:
            rows = projected[0].index_select(0, path.flatten()).to(dtype).unflatten(0, path.shape)
            q, k, v = rows.unflatten(-1, (_PARTS, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            mixed.append(seen.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(mixed).index_select(0, self.place).to(projected.dtype)[None]


def prefix_tree(tokens: Int[Tensor, "texts length"]) -> PrefixTree:
    """Find the distinct beginnings of texts.

    Args:
        tokens: on the CPU, at least one text; a text ends with its largest id, as CLIP's do.
    """
    ids = tokens.numpy()
    ends = ids.argmax(axis=1)
    node = np.zeros((len(ids), int(ends.max()) + 1), np.int64)
    base, at = _batches(ends)
    token, position, place, count = [], [], [], 0
    parent = np.zeros(len(ids), np.int64)
    for number in range(node.shape[1]):
        inside = np.flatnonzero(ends >= number)
        # a node is its parent and its token
        keys = parent[inside] * (int(ids.max()) + 1) + ids[inside, number]
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        parent[inside] = node[inside, number] = count + which
        owner = inside[first]
        token.append(ids[owner, number])
        position.append(np.full(len(owner), number))
        place.append(at[owner] + number)
        count += len(owner)
    return PrefixTree(
        token=torch.from_numpy(np.concatenate(token)),
        position=torch.from_numpy(np.concatenate(position)),
        paths=tuple(torch.from_numpy(node[texts, :length]) for texts, length in base),
        place=torch.from_numpy(np.concatenate(place)),
        end=torch.from_numpy(node[np.arange(len(ids)), ends]),
    )


def _batches(ends: Int[np.ndarray, "texts"]) -> tuple[list[tuple[Int[np.ndarray, "_"], int]], Int[np.ndarray, "texts"]]:
    """Divide texts by length; return the batches with their length, and where each text's row of tokens begins."""
    kind = np.searchsorted(_LENGTHS, ends + 1)
    at, batches, begin = np.zeros(len(ends), np.int64), [], 0
    for number in np.unique(kind):
        texts = np.flatnonzero(kind == number)
        length = int(ends[texts].max()) + 1
        at[texts] = begin + length * np.arange(len(texts))
        batches.append((texts, length))
        begin += length * len(texts)
    return batches, at


_running: ContextVar[PrefixTree | None] = ContextVar("umgclip_prefix_tree", default=None)


def current_tree() -> PrefixTree | None:
    """Return the tree whose nodes stand in the place of tokens in this thread; None: there are ordinary texts."""
    return _running.get()


@contextmanager
def attending_in(tree: PrefixTree) -> Iterator[None]:
    """Have attention layers take their tokens for the nodes of a tree."""
    before = _running.set(tree)
    try:
        yield
    finally:
        _running.reset(before)
