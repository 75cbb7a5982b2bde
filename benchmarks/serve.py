"""Measure throughput of `umgclip serve` relative to the model's batched forward pass, and latency at that load.

    python benchmarks/serve.py [--rounds 5] [--seconds 4] [--clients 32] [--max-batch 16] [--images 1]
                               [--model ViT-B-32]

Registers a model with random weights in a temporary MLflow store, starts the server as a separate process, and measures
forward pass and server alternately on the same machine. The clients run on that machine too, as one process that sends
prepared bytes over persistent connections. A client alone is measured as well, against forward passes of one image.
Prints one JSON line; ratios are the server's value over the bare model's: throughput should be high, latency low.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import open_clip
import torch

from umgclip.data.stream import decode, read_raw
from umgclip.inference.folder import CARD
from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.images import encode_jpeg
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS
from umgclip.model.clip.tower import DenseClip
from umgclip.params import DataParams, LoraParams, RegisterParams, TowerParams
from umgclip.register.bundle import active, log_bundle
from umgclip.register.registry import CHAMPION, Registry
from umgclip.sources.demo.scenes import write_demo
from umgclip.tracking import stage_run

_LABELS = ["dog", "cat", "apple", "sailing boat", "umbrella", "guitar", "sky", "meadow", "brick wall", "desert"]
_START_S = 120


def register(folder: Path, config: dict[str, Any]) -> None:
    """Register a version with random weights and set the alias `champion` on it.

    Args:
        folder: folder for base, adapter and MLflow's store.
        config: open_clip's model config.
    """
    base, train, documents = folder / "base", folder / "train", folder / "documents"
    for made in (base, documents):
        made.mkdir()
    digest = files.save(base, files.build(config), config)
    write_json(base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "random"})
    add_lora(files.load(base)[0], LoraParams(rank=2, alpha=4)).save_pretrained(str(train / ADAPTER))
    adapter = sha256_file(train / ADAPTER / ADAPTER_WEIGHTS)
    write_json(train / "train.json", {"base_sha256": digest, "adapter_sha256": adapter})
    (documents / CARD).write_text("# Random weights, for a measurement\n", encoding="utf-8")
    with stage_run("register", {}, root=folder) as run, active(run):
        model_id = log_bundle(RegisterParams(), base, train, documents)
        registry = Registry(run.store.client(), "umgclip")
        registry.point(CHAMPION, str(registry.create(model_id, run.run_id, {}, "random").version))


@contextmanager
def server(folder: Path, max_batch: int) -> Iterator[tuple[str, int]]:
    """Start a server for the block and yield its host and port."""
    command = [sys.executable, "-m", "umgclip", "serve", "--port", "0", "--max-batch", str(max_batch)]
    log = folder / "serve.log"
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(command, cwd=folder, stderr=stderr)  # noqa: S603 - fixed arguments
    try:
        until = time.monotonic() + _START_S
        while not (match := re.search(r"http://([\d.]+):(\d+)", log.read_text(encoding="utf-8"))):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.2)
        yield match[1], int(match[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def requests(host: str, side_px: int, images: int) -> list[bytes]:
    """Return demo scenes with ten labels each as HTTP requests of one scene or a list of scenes."""
    with tempfile.TemporaryDirectory() as folder:
        write_demo(DataParams(train_scenes=1, benchmark_scenes=32, benchmark_singles=1), Path(folder) / "data")
        samples = [decode(raw, name) for name, raw in read_raw(Path(folder) / "data" / "benchmark")]
    rows = []
    for sample in samples:
        pixels = cv2.resize(sample.pixels, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        rows.append({"image": base64.b64encode(encode_jpeg(pixels, 90)).decode(), "labels": _LABELS})
    made = []
    for turn in range(len(rows)):
        asked = [rows[(turn + index) % len(rows)] for index in range(images)]
        body = json.dumps(asked[0] if images == 1 else asked).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        made.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


async def load(address: tuple[str, int], asked: list[bytes], clients: int, seconds: float) -> list[float]:
    """Return the seconds of each answer, with clients that each send the next request after an answer."""
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection(*address)
        turn = first
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(asked[turn % len(asked)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise SystemExit(f"expected 200, got {head[:200]!r}")
            await reader.readexactly(int(length[1]))
            took.append(time.perf_counter() - began)
            turn += clients
        writer.close()

    await asyncio.gather(*(client(index) for index in range(clients)))
    return took


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of each measurement")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--max-batch", type=int, default=16, help="images per forward pass, for server and model alike")
    parser.add_argument("--images", type=int, default=1, help="images per request")
    parser.add_argument("--model", default="ViT-B-32", help="a ViT of open_clip, or tiny: the demo's, at 96 px")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    config = (
        files.tower_config(TowerParams()) if arguments.model == "tiny" else open_clip.get_model_config(arguments.model)
    )
    side_px = int(config["vision_cfg"]["image_size"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        register(folder, config)
        tower = DenseClip(load_tuned(folder / "base", folder / "train" / ADAPTER)).eval()
        images = torch.randn(arguments.max_batch, 3, side_px, side_px)

        @torch.inference_mode()
        def bare() -> float:
            """Return the images per second of the image tower alone."""
            done, began = 0, time.perf_counter()
            while time.perf_counter() - began < arguments.seconds:
                tower.encode_image(images)
                done += len(images)
            return done / (time.perf_counter() - began)

        @torch.inference_mode()
        def bare_once() -> float:
            """Return the median seconds of a forward pass of one image."""
            took, until = [], time.perf_counter() + arguments.seconds / 2
            while time.perf_counter() < until:
                began = time.perf_counter()
                tower.encode_image(images[:1])
                took.append(time.perf_counter() - began)
            return statistics.median(took)

        with server(folder, arguments.max_batch) as address:
            asked = requests(address[0], side_px, arguments.images)

            def served() -> list[float]:
                return asyncio.run(load(address, asked, arguments.clients, arguments.seconds))

            def served_once() -> float:
                return statistics.median(asyncio.run(load(address, asked, 1, arguments.seconds / 2)))

            bare()
            served()
            rounds, single = [], []
            for _ in range(arguments.rounds):
                alone = bare()
                began = time.perf_counter()
                took = served()
                rounds.append((alone, arguments.images * len(took) / (time.perf_counter() - began), took))
                single.append((bare_once(), served_once()))
    all_took = sorted(value for *_, took in rounds for value in took)
    p50, p95 = (all_took[int(share * len(all_took))] for share in (0.5, 0.95))
    result = {
        "bare_images_per_s": round(statistics.median(alone for alone, *_ in rounds), 1),
        "served_images_per_s": round(statistics.median(rate for _, rate, _ in rounds), 1),
        "ratio": round(statistics.median(rate / alone for alone, rate, _ in rounds), 3),
        "p50_ms": round(1000 * p50, 1),
        "p95_ms": round(1000 * p95, 1),
        "p95_over_p50": round(p95 / p50, 2),
        "one_client_bare_ms": round(1000 * statistics.median(alone for alone, _ in single), 1),
        "one_client_p50_ms": round(1000 * statistics.median(took for _, took in single), 1),
        "one_client_ratio": round(statistics.median(took / alone for alone, took in single), 3),
        "requests": len(all_took),
        "clients": arguments.clients,
        "images": arguments.images,
        "max_batch": arguments.max_batch,
        "model": arguments.model,
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
