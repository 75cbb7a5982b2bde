"""Measure how slow and large clients of `umgclip serve` affect others: p95 of good clients with them over without.

    python benchmarks/serve_load.py [--seconds 20] [--good 4] [--model tiny]

Good clients, each with its own address, send one small image with known labels, with short pauses. At the same time,
two other addresses send:

* slow requests: 200 connections that send one byte of a body and then nothing, 100 whose header never ends, 100 that
  are silent, and some that do not read their answers; each reconnects when it is cut off;
* large requests: 8 at a time, just within the limits (one image of 32 megapixels, 100 masks of a large image, 512 new
  labels each time) and far above them (32 such images, 32 x 512 labels).

Everything runs on loopback, against a separate server. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import psutil
import torch
from PIL import Image
from serve import register, server

from umgclip.model.clip import files
from umgclip.params import TowerParams

_LABELS = ["dog", "cat", "apple", "sailing boat", "umbrella", "guitar", "sky", "meadow"]
_PAUSE_S = 0.05
_SLOW, _LARGE = "127.0.0.50", "127.0.0.60"
_new = itertools.count()
Address = tuple[str, int]


def _png(pixels: Any) -> str:  # noqa: ANN401 - an array or an image
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _request(content: Any) -> bytes:  # noqa: ANN401 - any JSON
    body = json.dumps(content).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _ask(address: Address, source: str, sent: bytes) -> int:
    """Send a request and return the status of the answer."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        writer.write(sent)
        status = int((await reader.readline()).split()[1])
        await reader.read()
        return status
    finally:
        writer.close()


async def good(address: Address, source: str, sent: bytes, until: float) -> list[float]:
    """Return the seconds of each answer; every status must be 200."""
    took = []
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"expected 200 for a good client, got {head[:300]!r}")
        [length] = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line]
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE_S)
    writer.close()
    return took


async def _slow(address: Address, sent: bytes) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*address, local_addr=(_SLOW, 0))
            writer.write(sent)
            while await reader.read(1 << 16):
                await asyncio.sleep(1)
            writer.close()
        await asyncio.sleep(0.5)


async def _large(address: Address, bodies: list[Any], statuses: Counter[int]) -> None:
    for content in itertools.cycle(bodies):
        rows = content() if callable(content) else content
        with contextlib.suppress(OSError, IndexError, asyncio.IncompleteReadError):
            sent = rows if isinstance(rows, bytes) else await asyncio.to_thread(_request, rows)
            statuses[await _ask(address, _LARGE, sent.replace(b"Host: a", b"Host: a\r\nConnection: close"))] += 1


def _large_bodies() -> list[Any]:
    whole, small = _png(Image.new("1", (8000, 4000), 1)), _png(np.zeros((32, 32, 3), np.uint8))
    part = _png(Image.new("1", (1200, 1000), 1))

    def labels(count: int) -> Any:  # noqa: ANN401 - a new body each time
        def made() -> list[Any]:
            fresh = [[f"thing {next(_new)}" for _ in range(512)] for _ in range(count)]
            return [{"image": small, "labels": f[:256], "tags": 1, "vocabulary": f[256:]} for f in fresh]

        return made

    ready: list[Any] = [[{"image": whole}] * 32, {"image": whole}, {"image": part, "masks": [part] * 100}]
    ready.append([{"image": part, "masks": [part] * 100}] * 8)
    return [*map(_request, ready), labels(1), labels(32)]


async def _measure(address: Address, arguments: argparse.Namespace, asked: bytes) -> dict[str, Any]:
    async def of_good() -> list[float]:
        until = time.perf_counter() + arguments.seconds
        sources = [f"127.0.0.{10 + index}" for index in range(arguments.good)]
        return [
            one for took in await asyncio.gather(*(good(address, s, asked, until) for s in sources)) for one in took
        ]

    await of_good()  # warm-up
    alone = await of_good()
    statuses: Counter[int] = Counter()
    bodies = _large_bodies()
    post = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    kinds = [post] * 200 + [b"POST /predict HTTP/1.1\r\nHost: a\r\n"] * 100 + [b""] * 100
    kinds += [b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 50] * 5
    tasks = [asyncio.create_task(_slow(address, sent)) for sent in kinds]
    tasks += [asyncio.create_task(_large(address, bodies[n % 6 :] + bodies[: n % 6], statuses)) for n in range(8)]
    await asyncio.sleep(3)
    beside = await of_good()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    p95 = [sorted(took)[int(0.95 * len(took))] for took in (alone, beside)]
    return {
        "p50_ms": [round(1000 * statistics.median(took), 1) for took in (alone, beside)],
        "p95_ms": [round(1000 * value, 1) for value in p95],
        "p95_ratio": round(p95[1] / p95[0], 2),
        "good_answers": [len(alone), len(beside)],
        "large_statuses": dict(statuses),
    }


def _busy_s(pid: int) -> float:
    """Return the processor seconds of a process and its descendants."""
    whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in whole)


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--good", type=int, default=4, help="number of good clients, neither slow nor large")
    parser.add_argument("--model", default="tiny", help="tiny: the demo's at 96 px, or a ViT of open_clip")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    tiny = arguments.model == "tiny"
    config = files.tower_config(TowerParams()) if tiny else open_clip.get_model_config(arguments.model)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    asked = _request({"image": _png(pixels), "labels": _LABELS})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        register(folder, config)
        with server(folder, 16) as address:
            [pid] = [child.pid for child in psutil.Process().children() if "serve" in child.cmdline()]
            result = asyncio.run(_measure(address, arguments, asked))
            time.sleep(5)  # let running steps finish
            before = _busy_s(pid)
            time.sleep(5)
            result["busy_share_afterwards"] = round((_busy_s(pid) - before) / 5, 3)
            result["memory_mib"] = round(psutil.Process(pid).memory_info().rss / (1 << 20))
    sys.stdout.write(json.dumps(result | {"model": arguments.model, "good": arguments.good}) + "\n")


if __name__ == "__main__":
    main()
