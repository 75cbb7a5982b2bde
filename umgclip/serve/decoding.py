"""The server's side of the processes that read requests, one group for small requests and one for large ones.

A process reads one request at a time. A process that exceeds its time, or whose client has gone, is killed and
replaced, so that no work continues after an answer.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import pickle  # noqa: S403 - between two of our own processes
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing import forkserver
from typing import Any

from umgclip.params import threads
from umgclip.serve.decoder import LENGTH, DecodePlan, Read, ReadRequest, Refused, Reply, TooLarge, main
from umgclip.serve.settings import ServeSettings
from umgclip.serve.turns import Turns

SMALL_PIXELS = 4_000_000  # limit of images and masks together; decoding takes about a tenth of a second
SMALL_BYTES = 4 << 20  # limit of a body
_AGAIN_S = 1.0
_GONE_AFTER_S = 5.0  # a killed process that has not ended by then is left alone
_CRASHED = Refused(422, "body: expected fields that can be read, got some that crashed the process that read them")
_logger = logging.getLogger(__name__)


def prepare_forks() -> None:
    """Start the process that the others are forked from; it imports their modules in the background."""
    _context()
    forkserver.ensure_running()


def _context() -> Any:  # noqa: ANN401 - typeshed has no public name for it
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["umgclip.serve.decoder"])
    return context


class _Process:
    """A decoding process and the connection to it."""

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ANN401
        self._process = process
        self._reader = reader
        self._writer = writer
        self._version = ""

    @classmethod
    async def start(cls, settings: ServeSettings, *, heavy: bool) -> _Process:
        ours, theirs = socket.socketpair()
        process = _context().Process(
            target=main, args=(theirs, settings.limits), kwargs={"heavy": heavy}, name="umgclip-decode", daemon=True
        )
        try:
            await asyncio.to_thread(process.start)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, *await asyncio.open_connection(sock=ours))

    async def ask(self, body: bytes, plan: DecodePlan, most_pixels: int | None) -> Reply:
        request = ReadRequest(body, plan.version, None if plan.version == self._version else plan, most_pixels)
        message = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
        self._writer.write(LENGTH.pack(len(message)))
        self._writer.write(message)
        await self._writer.drain()
        self._version = plan.version
        [size] = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        reply: Reply = pickle.loads(await self._reader.readexactly(size))  # noqa: S301 - from our own process
        return reply

    def kill(self) -> None:
        self._writer.transport.abort()
        self._process.kill()

    def join(self) -> None:
        """Wait for the end of a killed process; otherwise the system would keep a zombie entry."""
        self._process.join(_GONE_AFTER_S)


class _Lane:
    """A group of equal processes, and the requests that wait for one of them."""

    def __init__(self, settings: ServeSettings, count: int, *, heavy: bool) -> None:
        self._settings = settings
        self._count = count
        self._heavy = heavy
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._waiting: Turns[asyncio.Future[_Process]] = Turns()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        await asyncio.gather(*(self._add() for _ in range(self._count)))

    def close(self) -> None:
        self._closed = True
        for task in self._starting:
            task.cancel()
        for process in self._all:
            process.kill()
        for process in self._all:
            process.join()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[_Process]:
        """Borrow a process; if the block raises, for example when it is cancelled, kill and replace the process."""
        process = await self._turn(client)
        try:
            yield process
        except BaseException:
            self._all.discard(process)
            process.kill()
            if not self._closed:
                task = asyncio.create_task(self._replace(process))
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)
            raise
        self._release(process)

    async def _turn(self, client: str) -> _Process:
        if self._idle:
            self._waiting.charge(client, 1)
            return self._idle.pop()
        mine: asyncio.Future[_Process] = asyncio.get_running_loop().create_future()
        self._waiting.put(client, mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._release(mine.result())
            raise

    def _release(self, process: _Process) -> None:
        while len(self._waiting):
            client = self._waiting.next()
            future = self._waiting.take(client)
            if not future.done():
                self._waiting.charge(client, 1)
                future.set_result(process)
                return
        self._idle.append(process)

    async def _replace(self, killed: _Process) -> None:
        await asyncio.to_thread(killed.join)
        await self._add()

    async def _add(self) -> None:
        while not self._closed:
            try:
                process = await _Process.start(self._settings, heavy=self._heavy)
            except (OSError, EOFError) as error:
                _logger.error("cannot start a process to decode images: %s; the server tries again", error)
                await asyncio.sleep(_AGAIN_S)
                continue
            self._all.add(process)
            self._release(process)
            return


class Decoders:
    """Reader of requests in separate processes; use it only in the event loop."""

    def __init__(self, settings: ServeSettings) -> None:
        count = settings.batching.decoders or threads()
        self._small = _Lane(settings, count, heavy=False)
        self._large = _Lane(settings, max(1, count // 2), heavy=True)

    async def start(self) -> None:
        """Start the processes for small and for large requests."""
        await asyncio.gather(self._small.start(), self._large.start())

    def close(self) -> None:
        """Kill all processes, even those at work."""
        self._small.close()
        self._large.close()

    async def read(self, body: bytes, plan: DecodePlan, client: str) -> Read | Refused:
        """Check a request and prepare it for a forward pass; cancelling this ends the work.

        Args:
            body: untrusted JSON.
            plan: model and limits that the request is read for.
            client: client that sent it.
        """
        reply: Reply = TooLarge(0)
        if len(body) <= SMALL_BYTES:
            reply = await self._ask(self._small, body, plan, client, SMALL_PIXELS)
        if isinstance(reply, TooLarge):
            reply = await self._ask(self._large, body, plan, client, None)
        if isinstance(reply, TooLarge):
            raise RuntimeError(f"expected an answer for {reply.pixels} pixels")
        return _with_vocabulary(reply, plan.target.vocabulary) if isinstance(reply, Read) else reply

    async def _ask(self, lane: _Lane, body: bytes, plan: DecodePlan, client: str, most_pixels: int | None) -> Reply:
        try:
            async with lane.turn(client) as process:
                return await process.ask(body, plan, most_pixels)
        except (asyncio.IncompleteReadError, ConnectionError):
            _logger.warning("a decoding process crashed on %d bytes from %s", len(body), client)
            return _CRASHED


def _with_vocabulary(request: Read, registered: tuple[str, ...]) -> Read:
    registered = tuple(dict.fromkeys(registered))
    images = [replace(one, vocabulary=registered) if one.tags and not one.vocabulary else one for one in request.images]
    return request._replace(images=images)
