"""Requests to a server that speaks OpenAI's chat completions: some at once, asked again with back-off, never for ever.

What is one sample's fault (a refusal, no JSON in all tries, a picture that the server rejects, a time-out) is a
`Failure` of that sample. What is not (the server is gone, the key is wrong, the token budget is used up) ends the run,
which goes on where it was when it is started again.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from umgclip.annotate.roles import Failure
from umgclip.annotate.rules.refusal import refuses
from umgclip.annotate.rules.repetition import loops
from umgclip.annotate.vlm.answers import HINTS, parse, response_format
from umgclip.annotator_params import VlmParams
from umgclip.errors import InputError, UmgclipError

A = TypeVar("A")
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_MINE = (401, 403, 404, 405)  # nothing that another sample would change
_LONGEST_WAIT_S = 60.0
UNKNOWN_SCORE = 0.5  # of an answer whose server tells no token probabilities


@dataclass(frozen=True)
class Question(Generic[A]):
    """A prompt about one JPEG, and the kind of its answer."""

    jpeg_base64: str
    prompt: str
    kind: type[A]


@dataclass(frozen=True)
class Answer(Generic[A]):
    """A valid answer; the score is the mean probability of its tokens."""

    content: A
    score: float


@dataclass(frozen=True)
class _Useless(Exception):
    """An answer or an error that may be better next time."""

    failure: Failure
    wait_s: float | None = None


class Client:
    """One server, one model. Safe to use from several threads."""

    def __init__(self, params: VlmParams, where: str, sleep: Callable[[float], object] | None = None) -> None:
        """Open nothing yet.

        Args:
            params: of the model.
            where: its entry in the params, for messages.
            sleep: waits so many seconds; None: really, until another request ends the run.

        Raises:
            InputError: `api_key_env` names a variable that is not set.
        """
        headers = {}
        if params.api_key_env is not None:
            key = os.environ.get(params.api_key_env)
            if not key:
                raise InputError(f"{where}.api_key_env: expected the variable {params.api_key_env} to hold a key")
            headers["Authorization"] = f"Bearer {key}"
        self._ended = threading.Event()
        self._params, self._where, self._sleep = params, where, sleep or self._ended.wait
        limits = httpx.Limits(max_connections=params.concurrency, max_keepalive_connections=params.concurrency)
        self._http = httpx.Client(headers=headers, timeout=params.timeout_s, limits=limits)
        self._pool = ThreadPoolExecutor(params.concurrency)
        self._url = params.url.rstrip("/")
        self._tokens, self._lock = 0, threading.Lock()

    def ask(self, questions: Sequence[Question[A]]) -> list[Answer[A] | Failure]:
        """Answers in the order of the questions, at most `concurrency` on their way at once.

        Raises:
            UmgclipError: the server does not answer at all, refuses the key or the model, or the budget is used up.
        """
        self._ended.clear()
        futures = [self._pool.submit(self._ask, question) for question in questions]
        try:
            return [future.result() for future in futures]
        finally:
            self._ended.set()  # or threads that wait for their next try would keep the process
            for future in futures:
                future.cancel()

    def _ask(self, question: Question[A]) -> Answer[A] | Failure:
        params, started = self._params, time.monotonic()
        jitter = random.Random(params.seed)  # noqa: S311 - spreads requests, hides nothing
        for attempt in range(params.retries + 1):
            self._check_budget()
            try:
                return self._try(question, attempt)
            except _Useless as useless:
                last = useless
            wait = params.backoff_s * 2**attempt * (0.5 + jitter.random()) if last.wait_s is None else last.wait_s
            wait = min(wait, _LONGEST_WAIT_S)
            if last.failure.reason == "refusal" or attempt == params.retries:
                break
            if self._ended.is_set() or time.monotonic() - started + wait > params.deadline_s:
                break
            self._sleep(wait)
        if last.failure.reason == "unreachable":
            raise UmgclipError(
                f"{self._where}: no answer from {params.url} in {attempt + 1} tries ({last.failure.detail}); "
                "run again to go on"
            )
        return last.failure

    def _try(self, question: Question[A], attempt: int) -> Answer[A]:
        try:
            response = self._http.post(f"{self._url}/chat/completions", json=self._body(question, attempt))
        except httpx.ConnectError as error:
            raise _Useless(Failure("unreachable", str(error))) from error
        except httpx.TimeoutException as error:
            raise _Useless(Failure("timeout", f"no answer within {self._params.timeout_s} s")) from error
        except httpx.TransportError as error:
            raise _Useless(Failure("connection_lost", f"{type(error).__name__}: {error}")) from error
        if response.status_code != httpx.codes.OK:
            raise self._complaint(response)
        return self._read(response, question)

    def _complaint(self, response: httpx.Response) -> Exception:
        status, said = response.status_code, response.text[:200]
        if status in _MINE:
            return UmgclipError(
                f"{self._where}: {self._params.url} answers {status} for the model {self._params.model!r}: {said}"
            )
        failure = Failure("server_error" if status in _AGAIN else "bad_request", f"status {status}: {said}")
        after = response.headers.get("retry-after", "")
        return _Useless(failure, float(after) if after.isdigit() else None)

    def _read(self, response: httpx.Response, question: Question[A]) -> Answer[A]:
        try:
            body = response.json()
            choice = body["choices"][0]
            content = choice["message"].get("content") or choice["message"].get("refusal") or ""
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Useless(Failure("invalid_answer", f"no chat completion: {response.text[:80]!r}")) from error
        with self._lock:
            self._tokens += int((body.get("usage") or {}).get("total_tokens") or 0)
        if choice["message"].get("refusal") or refuses(content):
            raise _Useless(Failure("refusal", content[:200]))
        if choice.get("finish_reason") == "length":
            raise _Useless(Failure("truncated", f"more than {self._params.max_tokens} tokens: {content[-80:]!r}"))
        try:
            answer = parse(content, question.kind)  # type: ignore[type-var]
        except ValueError as error:
            reason = "repetition" if loops(content, 3) else "invalid_answer"
            raise _Useless(Failure(reason, str(error))) from error
        caption = getattr(answer, "caption", "")
        if refuses(caption):
            raise _Useless(Failure("refusal", caption[:200]))
        if loops(caption, 2):
            raise _Useless(Failure("repetition", caption[:200]))
        return Answer(answer, _score(choice))

    def _body(self, question: Question[A], attempt: int) -> dict[str, Any]:
        params = self._params
        hint = HINTS[question.kind]  # type: ignore[index]
        body: dict[str, Any] = {
            "model": params.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{question.jpeg_base64}"}},
                        {"type": "text", "text": f"{question.prompt}\nAnswer with JSON alone, such as {hint}"},
                    ],
                }
            ],
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed + attempt,
        }
        if params.logprobs:
            body["logprobs"] = True
        if params.structured:
            body["response_format"] = response_format(question.kind)  # type: ignore[arg-type]
        return body

    def _check_budget(self) -> None:
        budget = self._params.token_budget
        if budget is not None and self._tokens >= budget:
            raise UmgclipError(
                f"{self._where}.token_budget: expected at most {budget} tokens, {self._tokens} are used; "
                "raise it and run again to go on"
            )


def _score(choice: dict[str, Any]) -> float:
    """The mean probability of the answer's tokens, where the server tells."""
    try:
        logs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError, ValueError):
        return UNKNOWN_SCORE
    return min(1.0, math.exp(sum(logs) / len(logs))) if logs else UNKNOWN_SCORE
