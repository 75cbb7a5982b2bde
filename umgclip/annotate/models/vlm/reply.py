"""The body of a chat completion as real servers send it: fields may be missing, null, or of an odd type."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umgclip.annotate.models.vlm.reading import text_of

UNKNOWN_SCORE = 0.5  # of an answer whose server sends no token probabilities
_REASONING = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class TokenLog:
    """A token of an answer: the bytes that it spells, and the logarithm of its probability."""

    spelled: bytes
    log: float


@dataclass(frozen=True)
class Reply:
    """A chat completion, with defaults for what the server left out.

    Attributes:
        content: of the message, unchanged; if it is missing, the field that the server calls reasoning.
        is_reasoning: whether the content is that field.
        refusal: the refusal in the message, or an empty text.
        finish: why the answer ended; empty if the server does not say.
        score: mean probability of the tokens of the answer, 0 to 1.
        tokens: used by prompt and answer; None if the server does not say.
        token_logs: those of the answer; empty if the server sends none, or one of them is not readable.
    """

    content: Any
    refusal: str
    finish: str
    score: float
    tokens: int | None
    is_reasoning: bool = False
    token_logs: tuple[TokenLog, ...] = ()


def read_reply(body: bytes) -> Reply:
    """Read the body of a reply.

    Raises:
        ValueError: it is not a chat completion; the message shows what it is.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no chat completion: {_shown(body)}") from error
    choices = _get(value, "choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = _get(choice, "message")
    if not isinstance(message, Mapping):
        complaint = _get(_get(value, "error"), "message")
        detail = f"the server says {complaint[:80]!r}" if isinstance(complaint, str) else _shown(body)
        raise ValueError(f"no chat completion: {detail}")
    content = message.get("content")
    is_reasoning = content is None or content == ""
    if is_reasoning:
        content = next((message[key] for key in _REASONING if message.get(key)), None)
    logs = _get(_get(choice, "logprobs"), "content")
    refusal, finish = message.get("refusal"), _get(choice, "finish_reason")
    return Reply(
        content,
        "" if not refusal else refusal if isinstance(refusal, str) else text_of(refusal) or "refused",
        finish if isinstance(finish, str) else "",
        _score(logs),
        _count(_get(_get(value, "usage"), "total_tokens")),
        is_reasoning,
        _token_logs(logs),
    )


def _get(value: Any, key: str) -> Any:  # noqa: ANN401 - any JSON
    return value.get(key) if isinstance(value, Mapping) else None


def _shown(body: bytes) -> str:
    return f"{body[:80].decode('utf-8', 'replace')!r}"


def _count(value: Any) -> int | None:  # noqa: ANN401
    """Return a number of tokens, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def _score(tokens: Any) -> float:  # noqa: ANN401
    """Return the mean probability of the tokens of an answer, or 0.5 if one of them is missing."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str) or not tokens:
        return UNKNOWN_SCORE
    logs = [_get(token, "logprob") for token in tokens]
    if any(isinstance(log, bool) or not isinstance(log, int | float) for log in logs):
        return UNKNOWN_SCORE
    try:
        mean = math.fsum(logs) / len(logs)
    except (OverflowError, ValueError):
        return UNKNOWN_SCORE
    return math.exp(min(mean, 0.0)) if not math.isnan(mean) else UNKNOWN_SCORE


def _token_logs(tokens: Any) -> tuple[TokenLog, ...]:  # noqa: ANN401
    """Return the tokens with what they spell, by their bytes where the server sends these; none if one is odd."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str):
        return ()
    read = []
    for token in tokens:
        log, text, spelled = _log(_get(token, "logprob")), _get(token, "token"), _get(token, "bytes")
        if log is None:
            return ()
        if isinstance(spelled, list) and all(type(one) is int and 0 <= one < 256 for one in spelled):
            read.append(TokenLog(bytes(spelled), log))
        elif isinstance(text, str):
            read.append(TokenLog(text.encode("utf-8", "surrogatepass"), log))
        else:
            return ()
    return tuple(read)


def _log(value: Any) -> float | None:  # noqa: ANN401
    """Return the logarithm of a probability, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        log = float(value)
    except OverflowError:
        return None
    return None if math.isnan(log) else min(log, 0.0)
