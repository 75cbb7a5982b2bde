"""Requests to a server that speaks OpenAI's chat completions: in parallel, repeated with back-off, within a deadline.

A fault of one sample (a refusal, no JSON in all tries, an image that the server rejects, a time-out) is a `Failure` of
that sample. Any other fault (the server is gone, the key is wrong, the token budget is used up) ends the run, which
resumes when it is started again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from umgclip.annotate.models.vlm.answers import NoAnswerError, shown
from umgclip.annotate.models.vlm.forms import AnswerForm
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.pictures import Picture
from umgclip.annotate.models.vlm.reading import answer_text, text_of
from umgclip.annotate.models.vlm.reply import UNKNOWN_SCORE, Reply, TokenLog, read_reply
from umgclip.annotate.models.vlm.wire import Raw, Wire, WireError, WireLimits
from umgclip.annotate.rejected import Failure
from umgclip.annotate.rules.repetition import loops
from umgclip.data.refusals.apology import refuses
from umgclip.errors import InputError, UmgclipError
from umgclip.params.annotators import VlmParams
from umgclip.safe_text import printable, without_secrets

__all__ = ["UNKNOWN_SCORE", "Answer", "Client", "ImagePrompt"]

A = TypeVar("A")
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_MINE = (401, 403, 404, 405)  # errors that every sample would get
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class ImagePrompt(Generic[A]):
    """A prompt about one picture, and the form of its answer."""

    picture: Picture
    prompt: str
    form: AnswerForm[A]


@dataclass(frozen=True)
class Answer(Generic[A]):
    """A valid answer; the score is the mean probability of its tokens, which follow if the server sends them."""

    content: A
    score: float
    tokens: tuple[TokenLog, ...] = ()


class _Useless(Exception):
    """An answer or an error that may be better at the next try."""

    def __init__(self, failure: Failure, wait_s: float | None = None) -> None:
        super().__init__(failure.reason)
        self.failure, self.wait_s = failure, wait_s


def _key(params: VlmParams, where: str) -> str:
    """Return the API key from the environment, or an empty text if the params name no variable."""
    if params.api_key_env is None:
        return ""
    key = os.environ.get(params.api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        got = "nothing" if not key else "other characters than printable ASCII"
        raise InputError(f"{where}.api_key_env: expected the variable {params.api_key_env} to hold a key, got {got}")
    return key


def _endpoint(params: VlmParams, where: str) -> str:
    url = f"{params.url.rstrip('/')}/chat/completions"
    try:
        parts = httpx.URL(url)
        if not parts.host or not 0 < (parts.port or 80) < 1 << 16:
            raise httpx.InvalidURL("no host, or an invalid port")
    except httpx.InvalidURL as error:
        raise InputError(f"{where}.url: expected http://HOST:PORT/v1, got {params.url!r} ({error})") from error
    return url


class Client:
    """A client of one server and one model, safe to use from several threads."""

    def __init__(self, params: VlmParams, where: str, sleep: Callable[[float], object] | None = None) -> None:
        """Prepare requests; no connection is opened yet.

        Args:
            params: of the model.
            where: name of the model in the params, for messages.
            sleep: waits the given number of seconds; None: a real wait that stops when another request ends the run.

        Raises:
            InputError: `api_key_env` names a variable without a key, or `url` is not an address.
        """
        self._key = _key(params, where)
        self._url = _endpoint(params, where)
        self._ended = threading.Event()
        self._params, self._where, self._sleep = params, where, sleep or self._ended.wait
        self._wire = Wire({"Authorization": f"Bearer {self._key}"} if self._key else {}, params.concurrency)
        self._limits = WireLimits(params.timeout_s, params.max_reply_kb << 10)
        self._pool = ThreadPoolExecutor(params.concurrency)
        self._tokens, self._lock = 0, threading.Lock()

    def ask(self, questions: Sequence[ImagePrompt[A]]) -> list[Answer[A] | Failure]:
        """Return the answers in the order of the questions, with at most `concurrency` requests at once.

        Raises:
            UmgclipError: the server does not answer at all or refuses the key or the model, or the budget is used up.
        """
        self._ended.clear()
        self._wire.resume()
        futures = [self._pool.submit(self._ask, question) for question in questions]
        try:
            return [future.result() for future in futures]
        finally:
            self._ended.set()  # otherwise threads that wait for an answer or their next try keep the process alive
            for future in futures:
                future.cancel()
            self._wire.stop()

    def _ask(self, question: ImagePrompt[A]) -> Answer[A] | Failure:
        params, started = self._params, time.monotonic()
        jitter = random.Random(params.seed)  # noqa: S311 - spreads requests, no secret
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
            url = without_secrets(params.url)
            raise UmgclipError(
                f"{self._where}: no answer from {url} in {attempt + 1} tries ({last.failure.detail}); "
                "run it again to continue"
            )
        return last.failure

    def _try(self, question: ImagePrompt[A], attempt: int) -> Answer[A]:
        try:
            reply = self._wire.post(self._url, self._body(question, attempt), self._limits)
        except WireError as error:
            raise _Useless(Failure(error.reason, self._plain(str(error)))) from error
        if not reply.is_answer:
            raise self._complaint(reply)
        return self._read(reply.body, question)

    def _complaint(self, reply: Raw) -> Exception:
        detail = self._plain(reply.body.decode("utf-8", "replace"))[:200]
        if target := reply.headers.get("location"):
            detail = f"it leads to {self._plain(target)[:200]}, where no request and no key is sent; {detail}"
        if reply.status in _MINE or 300 <= reply.status < 400:
            url = without_secrets(self._params.url)
            return UmgclipError(
                f"{self._where}: {url} answers {reply.status} for the model {self._params.model!r}: {detail}"
            )
        after = reply.headers.get("retry-after", "")
        failure = Failure(
            "server_error" if reply.status in _AGAIN else "bad_request", f"status {reply.status}: {detail}"
        )
        wait_s = float(after) if after.isascii() and after.isdigit() else None
        return _Useless(failure, wait_s)

    def _plain(self, text: str) -> str:
        """Return a text of the server on one line, without the key, which some servers repeat."""
        return printable(without_secrets(text.replace(self._key, "***") if self._key else text))

    def _read(self, body: bytes, question: ImagePrompt[A]) -> Answer[A]:
        try:
            reply = read_reply(body)
        except ValueError as error:
            raise _Useless(Failure("invalid_answer", str(error))) from error
        with self._lock:  # if the server does not report its use, it may have used all that is allowed
            self._tokens += self._params.max_tokens if reply.tokens is None else reply.tokens
        if reply.refusal or reply.finish == "content_filter":
            raise _Useless(Failure("refusal", shown(reply.refusal or "the server's content filter")))
        if reply.finish == "length":
            end = shown(text_of(reply.content)[-80:])
            raise _Useless(Failure("truncated", f"more than {self._params.max_tokens} tokens: {end}"))
        return self._answer(reply, question)

    def _answer(self, reply: Reply, question: ImagePrompt[A]) -> Answer[A]:
        text = answer_text(reply.content)
        try:
            if reply.is_reasoning:
                _check_reasoning(text, question.form)
            answer = question.form.read(reply.content)
        except NoAnswerError as error:
            reason = "repetition" if loops(text, 3) else "refusal" if refuses(text) else error.reason
            raise _Useless(Failure(reason, shown(text) if reason == "refusal" else str(error))) from error
        texts = answer.texts  # type: ignore[attr-defined]
        if texts and all(map(refuses, texts)):
            raise _Useless(Failure("refusal", shown(texts[0])))
        if loops(getattr(answer, "caption", ""), 2):
            raise _Useless(Failure("repetition", shown(texts[0])))
        return Answer(answer, reply.score, reply.token_logs)

    def _body(self, question: ImagePrompt[A], attempt: int) -> dict[str, Any]:
        params, form, picture = self._params, question.form, question.picture
        url = picture if isinstance(picture, str) else picture()
        body: dict[str, Any] = {
            **params.extra_body,
            "model": params.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": url}},
                        {"type": "text", "text": f"{question.prompt}{form.request}"},
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
        if params.structured and form.response_format is not None:
            body["response_format"] = form.response_format
        return body

    def _check_budget(self) -> None:
        budget = self._params.token_budget
        if budget is not None and self._tokens >= budget:
            raise UmgclipError(
                f"{self._where}.token_budget: expected at most {budget} tokens, {self._tokens} are used; "
                "raise it and run it again to continue"
            )


def _check_reasoning(text: str, form: AnswerForm[Any]) -> None:
    """Check that the reasoning of a message without content can be the answer, which then ends it.

    Raises:
        NoAnswerError: it may be a draft.
    """
    if not text:
        return
    rest = text[1 + max(text.rfind(mark) for mark in "]}>") :]
    is_whole = says_none(text) or not any(letter.isalnum() for letter in rest)
    if form.reasoning == "refuse" or not is_whole or (form.reasoning == "one_line" and "\n" in text):
        raise NoAnswerError("invalid_answer", f"expected a content, got only reasoning: {shown(text)}")
