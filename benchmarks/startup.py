"""Measure how long commands take to start, beside bare imports of the libraries that they need, in the same run.

    python benchmarks/startup.py [--rounds 5]

Makes a project with a tiny model in a temporary folder and registers it. Then, in turns: `umgclip serve` until
`/health` answers 200, `umgclip register` with nothing to do, `umgclip --help`, and each peer, a bare import in a fresh
interpreter. Prints one JSON line: the median seconds, and the median of the ratios to the peer of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import torch

from umgclip.io.atomic import sha256_file, write_json
from umgclip.io.manifest import read_manifest
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS
from umgclip.params import DataParams, LoraParams, TowerParams
from umgclip.register.registry import CHAMPION, Registry
from umgclip.sources.demo.scenes import write_demo
from umgclip.tracking import store_from_env

_UMGCLIP = [sys.executable, "-m", "umgclip"]
_START_S = 120
# a measurement -> its peer
_PEERS = {
    "server_ready": "import torch, open_clip, mlflow",
    "register": "import mlflow",
    "help": "import typer",
}


def make_project(folder: Path) -> None:
    """Write what `umgclip register` reads, with random weights and made-up numbers, and register it as the champion."""
    base, train = folder / "artifacts" / "base", folder / "artifacts" / "train"
    base.mkdir(parents=True)
    torch.manual_seed(0)
    config = files.tower_config(TowerParams())
    digest = files.save(base, files.build(config), config)
    write_json(base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "random"})
    add_lora(files.load(base)[0], LoraParams()).save_pretrained(str(train / ADAPTER))
    adapter = sha256_file(train / ADAPTER / ADAPTER_WEIGHTS)
    write_json(train / "train.json", {"base_sha256": digest, "adapter_sha256": adapter})
    write_demo(DataParams(train_scenes=1, benchmark_scenes=1, benchmark_singles=1), folder / "data")
    measured = {
        "settings": {},
        "benchmark": {"sha256": read_manifest(folder / "data" / "benchmark").digest()},
        "inputs": {"base_sha256": digest, "adapter_sha256": adapter},
    }
    numbers = {"classification": {"top1": 0.5}, "region": {"mask_top1": 0.5}}
    (folder / "metrics").mkdir()
    write_json(
        folder / "metrics" / "evaluate.json", {"base": numbers, "tuned": numbers, "protocol": measured, "annotator": {}}
    )
    write_json(folder / "params.yaml", {})  # JSON is YAML; all values are the defaults
    subprocess.run([*_UMGCLIP, "register"], cwd=folder, check=True, capture_output=True)  # noqa: S603 - fixed arguments
    Registry(store_from_env(folder).client(), "umgclip").point(CHAMPION, "1")


def command(folder: Path, *words: str) -> float:
    """Return the seconds of a command, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, capture_output=True)  # noqa: S603 - fixed arguments
    return time.perf_counter() - began


def server_ready(folder: Path) -> float:
    """Return the seconds from the start of `umgclip serve` until `/health` answers 200."""
    log = folder / "serve.log"
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen([*_UMGCLIP, "serve", "--port", "0"], cwd=folder, stderr=stderr)  # noqa: S603
    try:
        while not _is_healthy(log.read_text(encoding="utf-8")):
            if process.poll() is not None or time.perf_counter() - began > _START_S:
                raise SystemExit(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_healthy(said: str) -> bool:
    address = re.search(r"http://[\d.]+:\d+", said)
    try:
        return address is not None and urllib.request.urlopen(f"{address[0]}/health").status == 200  # noqa: S310
    except urllib.error.URLError:
        return False


def main() -> None:
    """Run the measurement and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in ("MLFLOW_TRACKING_URI", "UMGCLIP_PARENT_RUN_ID"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder)
        measured: dict[str, Callable[[], float]] = {
            "server_ready": lambda: server_ready(folder),
            "register": lambda: command(folder, *_UMGCLIP, "register"),
            "help": lambda: command(folder, *_UMGCLIP, "--help"),
        }
        for step in measured.values():  # the first run of each reads files from the disk
            step()
        rows = []
        for _ in range(arguments.rounds):
            row = {}
            for kind, step in measured.items():
                row[kind] = (step(), command(folder, sys.executable, "-c", _PEERS[kind]))
            rows.append(row)
    result: dict[str, object] = {"rounds": arguments.rounds, "load": round(os.getloadavg()[0], 1)}
    for kind, peer in _PEERS.items():
        result[kind] = {
            "seconds": round(statistics.median(row[kind][0] for row in rows), 2),
            "peer": peer,
            "peer_seconds": round(statistics.median(row[kind][1] for row in rows), 2),
            "ratio": round(statistics.median(row[kind][0] / row[kind][1] for row in rows), 2),
        }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
