"""`umgclip serve` over the model's own batched forward pass, on one device."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import open_clip
import torch

from benchmarks import serve
from benchmarks.gpu import device as on
from benchmarks.gpu.training import TINY
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TowerParams


def served(model: str, clients: int, seconds: float, device: torch.device) -> dict[str, float]:
    """Measure the server with some clients, and with one, in turns with the bare forward of the same model."""
    config = files.tower_config(TowerParams()) if model == TINY else open_clip.get_model_config(model)
    side_px, most = int(config["vision_cfg"]["image_size"]), 16
    if device.type == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the server takes a GPU that is there
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        serve.register(folder, config)
        tower = DenseClip(load_tuned(folder / "base", folder / "train" / ADAPTER)).eval().to(device)
        one, many = (torch.randn(count, 3, side_px, side_px, device=device) for count in (1, most))
        with torch.inference_mode():
            bare_many = on.median_seconds(lambda: tower.encode_image(many), device, 10) / most
            bare_one = on.median_seconds(lambda: tower.encode_image(one), device, 10)
        with serve.server(folder, most) as address:
            asked = serve.requests(address[0], side_px, 1)
            asyncio.run(serve.load(address, asked, clients, min(seconds, 1.0)))
            began = time.perf_counter()
            took = sorted(asyncio.run(serve.load(address, asked, clients, seconds)))
            rate = len(took) / (time.perf_counter() - began)
            alone = sorted(asyncio.run(serve.load(address, asked, 1, seconds / 2)))
    p50, p95 = (took[int(share * len(took))] for share in (0.5, 0.95))
    return {
        "served_images_per_s": rate,
        "over_bare_forward": rate * bare_many,
        "p50_ms": 1e3 * p50,
        "p95_over_p50": p95 / p50,
        "one_client_p50_over_forward": alone[len(alone) // 2] / bare_one,
    }
