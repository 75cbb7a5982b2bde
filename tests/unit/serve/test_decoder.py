"""Tests of the process that reads requests: its replies, and that it can be killed."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import struct
import threading
from pathlib import Path

import pytest
from PIL import Image

from umgclip.inference.request import Target
from umgclip.serve import decoder, decoding
from umgclip.serve.decoder import DecodePlan, Read, ReadRequest, Refused, TooLarge, read
from umgclip.serve.decoding import SMALL_PIXELS, Decoders
from umgclip.serve.settings import Batching, RequestLimits, ServeSettings

VOCABULARY = ("dog", "cat")
TARGET = Target((96, 96), (8, 8), VOCABULARY)


def png(width: int, height: int, mode: str = "1") -> str:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), 1).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SMALL = png(24, 24)


def ask(content: object, most_pixels: int | None = None, **limits: int) -> object:
    plan = DecodePlan("1", TARGET, 64, RequestLimits(**limits))
    return read(ReadRequest(json.dumps(content).encode(), "1", None, most_pixels), plan)


def test_a_request_is_made_ready_without_the_registered_vocabulary():
    found = ask([{"image": SMALL, "tags": 1}, {"image": SMALL, "tags": 1, "vocabulary": ["sun"]}])
    assert isinstance(found, Read)
    assert found.listed
    assert [one.vocabulary for one in found.images] == [(), ("sun",)]
    assert [one.tags for one in found.images] == [1, 1]


LARGE = png(4000, 4000)
TEXTS = [f"label {index}" for index in range(600)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"image": LARGE}] * 9, "body: expected at most 128000000 pixels of images and masks together, got 144000000"),
        (
            {"image": LARGE, "masks": [LARGE] * 8},
            "expected at most 128000000 pixels of images and masks together, got 144",
        ),
        ({"image": png(70_000, 2)}, "body: image: expected sides of at most 65535 pixels, got 70000 x 2"),
        (
            [{"image": SMALL, "labels": TEXTS[:200]}, {"image": SMALL, "tags": 1, "vocabulary": TEXTS[150:350]}] * 2
            + [{"image": SMALL, "labels": TEXTS[350:]}],
            "body: expected at most 512 different labels and concepts together, got 600",
        ),
        (
            [{"image": SMALL, "labels": TEXTS[:256], "similarity_map": True, "boxes": [[0, 0, 9, 9]]}] * 32,
            "body[0]",
        ),
        ({"image": SMALL, "masks": [{"size": [24, 24], "counts": "1" * 1_100_000}]}, "at most 1048576 characters"),
    ],
)
def test_limits_are_of_the_sum_and_held_before_anything_is_decoded(content, said, monkeypatch):
    monkeypatch.setattr("umgclip.inference.request_masks._decode_png", None)
    limits = {"answer_numbers": 500_000}
    found = ask(content, **limits)
    assert isinstance(found, Refused)
    assert found.status == 413
    if said != "body[0]":
        assert said in found.detail
    else:
        numbers = 32 * (64 + 256 * 2 + 256 * 64)
        assert found.detail == f"body: expected an answer of at most 500000 numbers, got {numbers}"


def test_as_many_labels_for_many_images_are_encoded_once_and_fine():
    assert isinstance(ask([{"image": SMALL, "labels": TEXTS[:256]}] * 32), Read)


def test_a_large_request_is_left_to_another_process():
    assert ask({"image": LARGE}, most_pixels=SMALL_PIXELS) == TooLarge(16_000_000)
    assert isinstance(ask({"image": SMALL}, most_pixels=SMALL_PIXELS), Read)


@pytest.mark.parametrize(
    "error", [struct.error("unpack requires a buffer of 2 bytes"), RecursionError(), KeyError("a")]
)
def test_what_a_library_raises_over_foreign_bytes_is_422(monkeypatch, error):
    def prepare(*_: object) -> None:
        raise error

    monkeypatch.setattr(decoder, "prepare", prepare)
    said = f"body: expected fields that can be read, got {type(error).__name__}"
    assert ask({"image": SMALL}) == Refused(422, said)


def test_too_little_memory_is_413(monkeypatch):
    def prepare(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoder, "prepare", prepare)
    assert ask({"image": SMALL}).status == 413


# ---------------------------------------------------------------- the processes


PLAN = DecodePlan("1", TARGET, 64, RequestLimits())


@pytest.fixture(scope="module")
def late() -> bytes:
    """A request of seconds of work."""
    return body({"image": png(5600, 5600, "RGB"), "masks": [png(5600, 5600)] * 3})


def with_decoders(work, **settings: int):
    async def run():
        decoders = Decoders(ServeSettings(batching=Batching(decoders=1, **settings)))
        await decoders.start()
        try:
            return await work(decoders)
        finally:
            decoders.close()

    return asyncio.run(run())


def body(content: object) -> bytes:
    return json.dumps(content).encode()


def processes(lane: decoding._Lane) -> list[int]:
    return [one._process.pid for one in lane._all]


async def replaced(lane: decoding._Lane, old: list[int]) -> None:
    while not processes(lane) or set(processes(lane)) & set(old):
        await asyncio.sleep(0.01)


def test_who_is_not_waited_for_any_more_is_killed_and_the_next_is_answered(late):
    async def work(decoders: Decoders) -> None:
        old = processes(decoders._large)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await decoders.read(late, PLAN, "a")
        await replaced(decoders._large, old)
        for pid in old:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        for content in ({"image": LARGE}, {"image": SMALL}):
            assert isinstance(await decoders.read(body(content), PLAN, "a"), Read)

    with_decoders(work)


def test_others_are_answered_while_a_killed_process_ends(late, monkeypatch):
    ended, join = threading.Event(), decoding._Process.join

    def slowly(process: decoding._Process) -> None:
        assert ended.wait(60)
        join(process)

    async def work(decoders: Decoders) -> None:
        old = processes(decoders._large)
        monkeypatch.setattr(decoding._Process, "join", slowly)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await decoders.read(late, PLAN, "a")
        assert isinstance(await decoders.read(body({"image": SMALL}), PLAN, "b"), Read)
        assert processes(decoders._large) == []
        ended.set()
        await replaced(decoders._large, old)

    with_decoders(work)


def test_a_process_that_breaks_down_fails_its_request_alone(caplog, late):
    async def work(decoders: Decoders) -> None:
        old = processes(decoders._large)
        waiting = asyncio.create_task(decoders.read(late, PLAN, "a"))
        await asyncio.sleep(0.3)
        small = await decoders.read(body({"image": SMALL}), PLAN, "b")
        os.kill(old[0], signal.SIGSEGV)
        assert isinstance(small, Read)
        assert await waiting == Refused(
            422, "body: expected fields that can be read, got some that crashed the process that read them"
        )
        await replaced(decoders._large, old)
        assert isinstance(await decoders.read(body({"image": LARGE}), PLAN, "a"), Read)

    with_decoders(work)
    assert "a decoding process crashed" in caplog.text


def test_a_request_whose_turn_never_comes_costs_nothing(late):
    async def work(decoders: Decoders) -> None:
        first = asyncio.create_task(decoders.read(late, PLAN, "a"))
        await asyncio.sleep(0.2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await decoders.read(body({"image": LARGE}), PLAN, "b")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert isinstance(await decoders.read(body({"image": LARGE}), PLAN, "c"), Read)

    with_decoders(work)


def test_another_version_may_take_another_size():
    other = DecodePlan("2", Target((32, 32), (4, 4), VOCABULARY), 64, RequestLimits())

    async def work(decoders: Decoders) -> list[tuple[int, ...]]:
        found = [await decoders.read(body({"image": SMALL, "tags": 1}), one, "a") for one in (PLAN, other, PLAN)]
        assert all(one.images[0].vocabulary == VOCABULARY for one in found)
        return [one.images[0].pixels.shape for one in found]

    assert with_decoders(work) == [(96, 96, 3), (32, 32, 3), (96, 96, 3)]


def test_memory_has_a_bound():
    async def work(decoders: Decoders) -> int:
        [pid] = processes(decoders._small)
        while (limits := Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines())[3].split()[
            3
        ] == "unlimited":
            await asyncio.sleep(0.01)
        [row] = [line for line in limits if line.startswith("Max data size")]
        return int(row.split()[3])

    assert 1 << 29 < with_decoders(work) < 8 << 30
