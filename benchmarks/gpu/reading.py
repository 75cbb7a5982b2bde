"""Evaluation and annotation on one device, and whether a GPU gives the CPU's numbers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import open_clip
import torch
from torch import Tensor

from benchmarks.gpu import device as on
from benchmarks.gpu.photos import write_photos
from benchmarks.gpu.training import TINY, Training, _feed, model_of
from umgclip.annotate.plan import jobs_of, make_recipe
from umgclip.annotate.progress import Tally
from umgclip.annotate.worker import ShardWorker
from umgclip.data.vocabulary import Vocabulary
from umgclip.evaluate.examples import Example, open_benchmark, read_examples
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.stage import in_pixels, placed
from umgclip.evaluate.suite import Suite
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.placement import placement
from umgclip.model.clip.tower import DenseClip
from umgclip.params import AnnotateParams, EvaluateParams, TowerParams
from umgclip.train.feed import LoadedBatch
from umgclip.train.loop import _prepare, _scoring, trainable
from umgclip.train.step import compute

READOUTS = (("box", "mask"), ("box", "mask", "crop", "maskout"))
FP32, BF16 = 2.0e-4, 3.0e-2
"""Tolerance of cosines and of the loss, relative, between a CPU in fp32 and another device or precision."""


def evaluation(model: str, images: int, regions: int, device: torch.device) -> dict[str, float]:
    """Measure all benchmarks of scenes over one batched feature pass; the metrics are part of the former."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_photos(Path(name) / "benchmark", images, regions)
        _, classes = open_benchmark(folder)
        examples = list(read_examples(folder, classes))
    clip = model_of(model, device)
    figures: dict[str, float] = {}
    for readouts in READOUTS:
        params = EvaluateParams.model_validate({"readouts": list(readouts), "device": device.type, "dtype": "auto"})
        tower = placed(clip, *placement(params, "evaluate")).eval()
        params = in_pixels(params, tower)
        reader = Reader(tower, tower.tokenizer, classes, params, ImageInput.of(tower, params.image_px))
        batches = [examples[at : at + params.batch] for at in range(0, images, params.batch)]
        reader.see(batches[0])
        passed = min(on.seconds(partial(_see, reader, batches), device) for _ in range(2))
        total = on.seconds(partial(_evaluate, reader, batches), device)
        figures[f"over_feature_pass ({' '.join(readouts)})"] = total / passed
        figures["feature_pass_images_per_s"] = images / passed
    return figures


def _see(reader: Reader, batches: list[list[Example]]) -> None:
    for batch in batches:
        reader.see(batch)


def _evaluate(reader: Reader, batches: list[list[Example]]) -> None:
    suite = Suite("model", reader, {"proposals": {}})
    for batch in batches:
        suite.add(batch)
    suite.results()


def annotation(model: str, images: int, device: torch.device) -> dict[str, float]:
    """Measure `umgclip annotate` with the built-in teacher on photographs: a shard from its tar to its tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_photos(folder / "train", images, 1)
        params = AnnotateParams.model_validate({"label": {"device": device.type, "threshold": 0.0}})
        vocabulary = Vocabulary(("boat", "car", "cat", "dog"), ("grass",))
        worker = ShardWorker(make_recipe(params, _saved(model, folder / "base"), vocabulary))
        job = jobs_of(data, read_manifest(data), "train")[0]
        took = 0.0
        for turn in ("first", "second"):  # the first loads the model, too
            (folder / turn).mkdir()
            of_turn = replace(job, out=Folder(folder / turn))
            took = on.seconds(partial(worker.annotate, of_turn, Tally().add), device)
    return {"s_per_image": took / images, "images_per_s": images / took}


def _saved(model: str, folder: Path) -> Path:
    folder.mkdir()
    config = files.tower_config(TowerParams()) if model == TINY else open_clip.get_model_config(model)
    torch.manual_seed(0)
    files.save(folder, files.build(config), config)
    return folder


def agreement(setting: Training, device: torch.device, precision: str) -> dict[str, float]:
    """Compare embeddings and one training step of a device with the CPU's in fp32, on the same inputs and weights.

    Returns:
        The largest difference of any cosine between images, dense cells and texts; the relative difference of the loss;
        one minus the cosine of the gradients; the tolerance of the first two; and whether they are inside.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tolerance = FP32 if precision == "fp32" else BF16
    with _feed(setting, torch.device("cpu")) as (feed, clip):
        loaded = next(feed.load(0))
        state = {name: value.clone() for name, value in clip.state_dict().items()}
        ours = _computed(setting, clip, loaded, torch.device("cpu"), "fp32")
        again = model_of(setting.model, torch.device("cpu"))
        again.load_state_dict(state)
        others = _computed(setting, again, loaded, device, precision)
    cosines = max(float((one - other).abs().max()) for one, other in zip(ours[0], others[0], strict=True))
    loss = abs(ours[1] - others[1]) / abs(ours[1])
    gradients = 1 - min(1.0, float(torch.nn.functional.cosine_similarity(ours[2], others[2], dim=0)))
    inside = cosines <= tolerance and loss <= tolerance
    return {
        "largest_difference_of_cosines": cosines, "difference_of_loss": loss, "gradients_off": gradients,
        "tolerance": tolerance, "inside": float(inside),
    }  # fmt: skip


def _computed(
    setting: Training, clip: torch.nn.Module, loaded: LoadedBatch, device: torch.device, precision: str
) -> tuple[list[Tensor], float, Tensor]:
    """Return cosines of images and dense cells with texts, the loss of a step, and its gradients as one row."""
    params = setting.train_params(precision=precision)
    world = World(device=device)
    torch.manual_seed(0)
    tower = DenseClip(adapt(clip, params).clip)  # adapters are drawn on the CPU
    model = _prepare(tower, params, world)
    scoring, _ = _scoring(tower, params, world)
    tower.train()
    values = compute(model, loaded, scoring, world).values
    gradients = [p.grad.float().cpu().flatten() for p in trainable(tower.clip).values() if p.grad is not None]
    tower.eval()
    with torch.inference_mode(), torch.autocast(device.type, scoring.dtype, enabled=scoring.dtype is not None):
        image, dense = tower.encode_image(loaded.batch.images.to(device))
        texts = tower.encode_text(tower.tokenizer(loaded.batch.texts).to(device))
    labels = texts.float().cpu()
    rows = [image, dense.flatten(2).transpose(1, 2).flatten(0, 1)]
    return [of.float().cpu() @ labels.T for of in rows], values["total"], torch.cat(gradients)
