"""A second path of a text tower for long texts, as FG-CLIP and FG-CLIP 2 have it: positions and projection of its own.

A text of more tokens than the short path reads takes the long path, any other the short one. Both ends and, where the
tokenizer counts it, the end-of-text token are tokens. This holds in training, evaluation, serving and ONNX alike,
because it is part of the tower.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


class LongText(nn.Module):
    """Positions and projection of the long path; the blocks are those of the short one.

    Attributes:
        short_length: tokens of the longest text that takes the short path.
        length: tokens of the longest text.
        positions: (length, width).
        projection: from the tower's width into the joint space.
    """

    def __init__(self, *, width: int, embed_dim: int, length: int, short_length: int, bias: bool) -> None:
        """Build with random weights.

        Raises:
            ValueError: the long path is not longer than the short one.
        """
        super().__init__()
        if length <= short_length:
            raise ValueError(f"long_text: expected more than {short_length} tokens, got {length}")
        self.length, self.short_length = length, short_length
        self.positions = nn.Parameter(0.01 * torch.randn(length, width))
        self.projection = nn.Linear(width, embed_dim, bias=bias)


def long_text_of(clip: Any) -> LongText | None:  # noqa: ANN401 - open_clip's models share no base class
    """Return the long path of a model's text tower; None where it has only one path."""
    path = getattr(clip, "long_text", None)
    return path if isinstance(path, LongText) else None


def takes_long_path(
    path: LongText,
    tokens: Int[Tensor, "t length"],
    pad_id: int | None,
) -> Bool[Tensor, "t"]:
    """Return which texts have more tokens than the short path reads.

    Args:
        path: the long path.
        tokens: padded token ids.
        pad_id: of padding; None where a text ends with the highest id (CLIP).
    """
    counts = tokens.argmax(dim=1) + 1 if pad_id is None else (tokens != pad_id).sum(dim=1)
    return counts > path.short_length
