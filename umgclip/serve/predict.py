"""`/predict`: from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect

from umgclip.errors import InputError, UmgclipError
from umgclip.params import threads
from umgclip.register.answering import NotFiniteError
from umgclip.register.request import LimitError, Limits, Prepared
from umgclip.serve.batching import Answer, Batcher
from umgclip.serve.current import Current, Served
from umgclip.serve.guard import client_of, read_body
from umgclip.serve.settings import ServeSettings
from umgclip.serve.shares import BusyError, Claim, Pool

_RETRY_AFTER_S = "1"
_SMALL_BODY = 1 << 16  # bytes; parsing these at once costs less than handing them to a thread
_logger = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """The images of a request, and whether they came as a list, as their answers then do."""

    rows: list[Mapping[str, Any]]
    listed: bool


class Predictor:
    """Reads, checks, decodes and answers requests.

    Attributes:
        images: places for images that are accepted and not yet answered.
    """

    def __init__(self, settings: ServeSettings, current: Current, batcher: Batcher, *, keyed: bool) -> None:
        self.images = Pool("places in the queue", settings.batching.queue_images)
        self._bodies = Pool("bytes of bodies", settings.capacity.bodies_bytes)
        self._keyed = keyed
        self._settings = settings
        self._current = current
        self._batcher = batcher
        limits = settings.limits
        # the bytes of an image need no limit of their own: they are part of the body
        self._limits = Limits(
            pixels=limits.pixels, texts=limits.texts, text_chars=limits.text_chars, regions=limits.regions
        )
        self._decoders = ThreadPoolExecutor(
            settings.batching.decode_threads or threads(), thread_name_prefix="umgclip-decode"
        )

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def respond(self, request: Request) -> Response:
        """Answer a request; whatever may be wrong with it ends as a status below 500.

        Raises:
            HTTPException: the request is not what it should be.
        """
        try:
            # places in the queue are for requests that are there, and not for slow ones
            with Claim(client_of(request, keyed=self._keyed)) as claim:
                body = await read_body(
                    request,
                    self._settings.limits.body_bytes,
                    self._settings.timeouts.body_s,
                    partial(claim.hold, self._bodies),
                )
                asked = await self._parse(body)
                del body  # the parsed copy stays
                claim.hold(self.images, len(asked.rows))
                async with asyncio.timeout(self._settings.timeouts.answer_s):
                    return await self._answer(asked)
        except TimeoutError:
            return _busy(f"busy: no answer within {self._settings.timeouts.answer_s:g} s")
        except BusyError as error:
            return _busy(str(error))
        except LimitError as error:
            raise HTTPException(413, str(error)) from error
        except NotFiniteError:
            _logger.exception("version %s", self._current.served.version)
            raise HTTPException(500, "the model's answer is not finite; the server's log has the reason") from None
        except UmgclipError as error:
            raise HTTPException(422, str(error)) from error
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    async def _parse(self, body: bytes) -> _Asked:
        parse = asyncio.to_thread(from_json, body, allow_inf_nan=False) if len(body) > _SMALL_BODY else None
        try:
            content = await parse if parse else from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"body: expected JSON, got {len(body)} bytes that are not: {error}") from error
        listed = isinstance(content, list)
        rows = content if listed else [content]
        most = self._settings.limits.images
        if len(rows) > most:
            raise HTTPException(413, f"body: expected a list of at most {most} images, got {len(rows)}")
        if not rows:
            raise HTTPException(422, "body: expected an object, or a list of at least one, got an empty list")
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                found = f"{type(row).__name__} {str(row)[:40]!r}"
                raise HTTPException(
                    422, f"{_name(index, listed)}: expected an object with the field image, got {found}"
                )
        return _Asked(rows, listed)

    async def _answer(self, asked: _Asked) -> Response:
        served = self._current.served
        loop = asyncio.get_running_loop()
        # all are checked before the first is run: a list is answered as a whole or not at all
        prepared = await asyncio.gather(
            *(
                loop.run_in_executor(self._decoders, self._prepare, served, row, _name(index, asked.listed))
                for index, row in enumerate(asked.rows)
            )
        )
        answers: list[Answer] = await asyncio.gather(
            *(asyncio.wrap_future(self._batcher.submit(served, one)) for one in prepared)
        )
        content = to_json(answers if asked.listed else answers[0])
        return Response(content, media_type="application/json", headers={"X-Model-Version": served.version})

    def _prepare(self, served: Served, row: Mapping[str, Any], where: str) -> Prepared:
        try:
            return served.answerer.prepare(row, where=where, limits=self._limits)
        except UmgclipError:
            raise
        except Exception as error:  # there is no end to what libraries raise over foreign bytes
            _logger.warning("%s: refused late: %r", where, error)
            raise InputError(f"{where}: expected fields that can be read, got {type(error).__name__}") from error


def _name(index: int, listed: bool) -> str:
    return f"body[{index}]" if listed else "body"


def _busy(detail: str) -> Response:
    return JSONResponse({"detail": detail}, 503, {"Retry-After": _RETRY_AFTER_S})
