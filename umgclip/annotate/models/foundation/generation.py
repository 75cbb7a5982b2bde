"""Texts that a model generates, each with the mean probability of its tokens."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from umgclip.annotate.models.foundation.weights import LoadedModel


class Generated(NamedTuple):
    """One answer: its token ids without those of the prompt, its score 0 to 1, and whether it ended by itself."""

    ids: torch.Tensor
    score: float
    ended: bool


def generate(
    loaded: LoadedModel, inputs: dict[str, Any], prompt_tokens: int, max_new_tokens: int, beams: int = 1
) -> list[Generated]:
    """Generate answers without sampling, so that the same image gives the same text.

    Args:
        loaded: the model.
        inputs: the output of its processor, on its device.
        prompt_tokens: ids at the start of each answer that belong to the prompt; 0 for encoder-decoders.
        max_new_tokens: the length at which an answer is cut.
        beams: beams of the search; 1 is greedy.
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
    for ids, log_probs in zip(out.sequences[:, prompt_tokens:].cpu(), logs.float().cpu(), strict=True):
        new = ids[-len(log_probs) :].tolist()
        length = next((i + 1 for i, token in enumerate(new) if token in ends), len(new))
        finite = log_probs[:length][torch.isfinite(log_probs[:length])]
        score = float(finite.mean().exp()) if len(finite) else 0.0
        answers.append(Generated(ids, min(max(score, 0.0), 1.0), any(token in ends for token in new)))
    return answers
