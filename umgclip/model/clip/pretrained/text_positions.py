"""Longer texts for a tower that was trained on short ones, by stretched positions (Long-CLIP, Zhang et al., ECCV 2024).

The first 20 positions stay, because most captions end before them and they are trained well. The others are stretched
to the new length by linear interpolation. With n positions before and m after, and s = (m - 20) / (n - 20):

    new[j] = old[j]                     for j < 20
    new[j] = old at 20 + (j - 20) / s   for j >= 20, between two positions in proportion, and past the last one along
                                        the line through the last two

s = 4 gives Long-CLIP's 248 of CLIP's 77 positions, and FG-CLIP 2's 196 of SigLIP's 64.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip import files
from umgclip.model.clip.long_text import long_text_of
from umgclip.model.clip.text import text_module

UNCHANGED = 20
FACTOR = 4
_LEAST = UNCHANGED + 2  # a line needs two positions


def stretched_length(length: int) -> int:
    """Return the length of the texts of a tower whose positions are stretched by 4."""
    return UNCHANGED + FACTOR * (length - UNCHANGED)


@torch.no_grad()
def stretch(positions: Float[Tensor, "n width"], length: int) -> Float[Tensor, "m width"]:
    """Stretch positional embeddings to another length; the formula stands above.

    Args:
        positions: learned positional embeddings, at least 22.
        length: how many to return, not fewer than there are.
    """
    count = len(positions)
    places = UNCHANGED + (torch.arange(UNCHANGED, length, dtype=torch.float64) - UNCHANGED) * (count - UNCHANGED) / (
        length - UNCHANGED
    )
    below = places.long().clamp(max=count - 2)
    share = (places - below)[:, None].to(positions.device)
    exact = positions.double()
    line = exact[below] + share * (exact[below + 1] - exact[below])
    return torch.cat([positions[:UNCHANGED], line.to(positions.dtype)])


@torch.no_grad()
def with_longer_texts(
    clip: Any,  # noqa: ANN401 - open_clip's models share no base class
    model_cfg: Mapping[str, Any],
    context_length: int | None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a model with stretched text positions, and its config.

    Everything else is the same. Where texts are read causally (CLIP), a text of at most 20 tokens has exactly the same
    embedding as before. A tower that reads its padding (SigLIP) reads more of it, so its texts change until it is
    tuned.

    Args:
        clip: the model.
        model_cfg: open_clip's config of it.
        context_length: tokens of the longest text; None: see `stretched_length`.

    Raises:
        InputError: its text tower has no learned positions of its own, has too few, or has as many already.
    """
    if long_text_of(clip) is not None:
        raise InputError("base.text_positions: expected original or short, the model has a path for long texts already")
    positions = _positions(clip, model_cfg)
    count = len(positions)
    if count < _LEAST:
        raise InputError(
            f"base.text_positions: expected a text tower of at least {_LEAST} positions for stretched, got {count}"
        )
    length = stretched_length(count) if context_length is None else context_length
    if length <= count:
        raise InputError(f"base.context_length: expected more than the model's {count} tokens, got {length}")
    config = copy.deepcopy(dict(model_cfg))
    config["text_cfg"]["context_length"] = length
    weights = clip.state_dict()
    name = next(name for name in ("positional_embedding", "text.positional_embedding") if name in weights)
    longer: Any = files.build(config)
    longer.load_state_dict({**weights, name: stretch(positions, length)})
    files.describe(longer, config, getattr(clip.visual, "preprocess_cfg", None), None)
    files.set_positions(longer, files.positions_of(clip))
    return longer.eval(), config


def _positions(clip: Any, model_cfg: Mapping[str, Any]) -> Float[Tensor, "n width"]:  # noqa: ANN401
    text = text_module(clip)
    positions = getattr(text, "positional_embedding", None)
    theirs = model_cfg["text_cfg"].get("hf_model_name")
    if theirs or not isinstance(positions, Tensor) or getattr(text, "cls_emb", None) is not None:
        kind = f"Hugging Face's {theirs}" if theirs else type(text).__name__
        raise InputError(
            "base.text_positions: expected original, for only open_clip's own text towers (CLIP, EVA, SigLIP) have "
            f"positions that can be stretched, and this one is {kind}; got stretched"
        )
    return positions.detach()
