"""The handler of `/predict`: it turns the bytes of a request into the bytes of its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from umgclip.errors import UmgclipError
from umgclip.inference.answerer import Answerer, NotFiniteError
from umgclip.serve.batching import Answer, Batcher
from umgclip.serve.current import Current
from umgclip.serve.decoder import DecodePlan, Read, Refused
from umgclip.serve.decoding import Decoders
from umgclip.serve.guard import client_of, read_body
from umgclip.serve.settings import ServeSettings
from umgclip.serve.shares import BusyError, Claim, ResourcePool

_RETRY_AFTER_S = "1"
_logger = logging.getLogger(__name__)


class Predictor:
    """Handler of `/predict` that reads, checks, decodes and answers requests.

    Attributes:
        images: pool of places for images that are accepted and not yet answered.
        decoders: processes that read requests; the owner of this object starts and closes them.
    """

    def __init__(self, settings: ServeSettings, current: Current, batcher: Batcher, *, keyed: bool) -> None:
        self.images = ResourcePool("places in the queue", settings.batching.queue_images)
        self.decoders = Decoders(settings)
        self._bodies = ResourcePool("bytes of bodies", settings.capacity.bodies_bytes)
        self._texts = ResourcePool("places for new labels", settings.capacity.texts)
        self._keyed = keyed
        self._settings = settings
        self._current = current
        self._batcher = batcher

    async def respond(self, request: Request) -> Response:
        """Answer a request; an invalid one gets a status below 500.

        Raises:
            HTTPException: the request is invalid, or the model's answer is not finite.
        """
        limits, timeouts = self._settings.limits, self._settings.timeouts
        try:
            # a request takes a place in the queue only once its body has arrived, so that slow ones do not block it
            with Claim(client_of(request, keyed=self._keyed)) as claim:
                hold = partial(claim.hold, self._bodies)
                body = await read_body(request, limits.body_bytes, timeouts.body_s, hold)
                claim.hold(self.images, 1)
                async with asyncio.timeout(timeouts.answer_s):
                    return await _while_wanted(request, self._answer(body, claim))
        except TimeoutError:
            return _busy(f"busy: no answer within {timeouts.answer_s:g} s")
        except BusyError as error:
            return _busy(str(error))
        except NotFiniteError:
            _logger.exception("version %s gave an answer that is not finite", self._current.served.version)
            raise HTTPException(500, "the model's answer is not finite; see the server's log for the reason") from None
        except UmgclipError as error:
            raise HTTPException(422, str(error)) from error
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone and will not read it

    async def _answer(self, body: bytes, claim: Claim) -> Response:
        served = self._current.served
        # all images are checked before the first forward pass: a list is answered as a whole or not at all
        plan = DecodePlan(served.version, served.answerer.target, served.answerer.embed_dim, self._settings.limits)
        reply = await self.decoders.read(body, plan, claim.client)
        if isinstance(reply, Refused):
            raise HTTPException(reply.status, reply.detail)
        claim.hold(self._bodies, 0)
        claim.hold(self.images, len(reply.images))
        claim.hold(self._texts, _new_texts(reply, served.answerer))
        waiting = [self._batcher.submit(served, one, claim.client) for one in reply.images]
        answers: list[Answer] = await asyncio.gather(*map(asyncio.wrap_future, waiting))
        content = to_json(answers if reply.listed else answers[0])
        return Response(content, media_type="application/json", headers={"X-Model-Version": served.version})


def _new_texts(request: Read, answerer: Answerer) -> int:
    return answerer.lacks({prompt for one in request.images for prompt in answerer.prompts(one)})


async def _while_wanted(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Await the work, and cancel it when the client disconnects or the time is over.

    Raises:
        ClientDisconnect: the client disconnected before the answer was ready.
    """
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _busy(detail: str) -> Response:
    return JSONResponse({"detail": detail}, 503, {"Retry-After": _RETRY_AFTER_S})
