"""Texts that a model generates, each with the mean probability of its tokens."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from umgclip.annotate.models.foundation.weights import Loaded


class Generated(NamedTuple):
    """One answer: its token ids without the prompt's, its score 0 to 1, and whether it ended by itself."""

    ids: torch.Tensor
    score: float
    ended: bool


def generate(
    loaded: Loaded, inputs: dict[str, Any], prompt_tokens: int, max_new_tokens: int, beams: int = 1
) -> list[Generated]:
    """Answers without sampling, so that the same image gives the same text.

    Args:
        loaded: the model.
        inputs: what its processor gave, on its device.
        prompt_tokens: ids at the start of each answer that are the prompt's; 0 for encoder-decoders.
        max_new_tokens: where an answer is cut.
        beams: of the search; 1 is greedy.
    """
    out = loaded.model.generate(
        **inputs, max_new_tokens=max_new_tokens, num_beams=beams, do_sample=False, output_scores=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    beam_indices = getattr(out, "beam_indices", None)
    logs = loaded.model.compute_transition_scores(out.sequences, out.scores, beam_indices, normalize_logits=True)
    ends = loaded.model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    answers = []
    for ids, own in zip(out.sequences[:, prompt_tokens:].cpu(), logs.float().cpu(), strict=True):
        new = ids[-len(own) :].tolist()
        length = next((i + 1 for i, token in enumerate(new) if token in ends), len(new))
        told = own[:length][torch.isfinite(own[:length])]
        score = float(told.mean().exp()) if len(told) else 0.0
        answers.append(Generated(ids, min(max(score, 0.0), 1.0), any(token in ends for token in new)))
    return answers
