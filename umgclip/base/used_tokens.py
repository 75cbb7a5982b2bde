"""A token embedding cut down to the tokens that a data set uses, while it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from umgclip.model.clip.files import Tokenizer


class UsedTokens:
    """A tokenizer whose ids count only the tokens in use, and a model with that many rows of its embedding.

    The other rows have no gradient, but the optimizer would pass over all 49,408 of them in every step. The order of
    ids stays, so the end of a text is still its largest id.
    """

    def __init__(self, clip: nn.Module, context_length: int, texts: Iterable[str]) -> None:
        """Cut the model's embedding down, in place, until `restore`.

        Args:
            clip: an open_clip `CLIP`.
            context_length: longest text in tokens.
            texts: every text that will be tokenised.
        """
        self._clip: Any = clip
        self._tokenize = Tokenizer(context_length)
        used: set[int] = set()
        for text in texts:
            used.update(self._tokenize([text])[0].tolist())
        self._ids = torch.tensor(sorted(used))
        whole: Any = clip.token_embedding
        self._full: nn.Embedding = whole
        clip.token_embedding = nn.Embedding.from_pretrained(self._full.weight[self._ids].detach(), freeze=False)

    def __call__(self, texts: list[str]) -> Int[Tensor, "t length"]:
        """Token ids as the cut-down embedding counts them.

        Raises:
            KeyError: a text has a token that was not announced.
        """
        tokens = self._tokenize(texts)
        places = torch.searchsorted(self._ids, tokens).clamp(max=len(self._ids) - 1)
        unknown = (self._ids[places] != tokens).any(dim=1)
        if unknown.any():
            raise KeyError(texts[int(unknown.nonzero()[0])])
        return places

    @torch.no_grad()
    def restore(self) -> None:
        """Give the model its whole embedding back, with the rows as they are now."""
        self._full.weight[self._ids] = self._clip.token_embedding.weight
        self._clip.token_embedding = self._full
