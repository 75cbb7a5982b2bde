"""Many processes, many micro-batches: the same losses, gradients and order of samples as in one of each."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.unit.train.work import above_rounding
from umgclip.params import ClusteringParams, LoaderParams, LossWeights, ResolutionStage, TrainParams
from umgclip.params.train import DenoiserParams, DiffusionParams
from umgclip.train import stage
from umgclip.train.stage import TrainInputs

pytestmark = pytest.mark.slow
EVERY_TERM = LossWeights(relational=0.5, hard_negatives=0.5, cmr=0.4, tic=0.1, long_text=0.7)
BY_IMAGES = LossWeights(image_text=0.5, windows=1.0, patch_ema=1.0)
ALONE = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {"windows": 1.0, "patch_ema": 0.5})
WINDOWS = LossWeights(windows=1.0)
SMALL_DENOISER = DiffusionParams(
    image_px=16, patch_px=4, first_share=0.6, denoiser=DenoiserParams(width=16, heads=2, single_blocks=1)
)
ONLY_DIFFUSION = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {"diffusion": 1.0})
TWO = {"loader": LoaderParams(streams=2)}

Variants = dict[str, dict[str, object]]
# what differs from the small run of `params`; each is trained by one process and by two
VARIANTS: Variants = {
    "lanes": TWO,
    "one lane": {"loader": LoaderParams(streams=1)},
    "accumulated": TWO | {"accumulate": 2},
    "divided": TWO | {"parallel": "fsdp2"},
    "divided, accumulated": TWO | {"parallel": "fsdp2", "accumulate": 2, "checkpoint_activations": True},
    "averaged": TWO | {"ema_decay": 0.9},
    "clustered, divided, accumulated": TWO
    | {"clustering": ClusteringParams(after_block=1, grid=4)}
    | {"parallel": "fsdp2", "accumulate": 2, "checkpoint_activations": True},
    "uneven": {"batch": 5, "loader": LoaderParams(streams=2)},
    # a denoiser beside the tower, over both of its phases; and without any other term
    "reconstructed": {"batch": 5, "weights": LossWeights(diffusion=1.0), "diffusion": SMALL_DENOISER} | TWO,
    "reconstructed alone": {"weights": ONLY_DIFFUSION, "diffusion": SMALL_DENOISER, "accumulate": 2} | TWO,
    "two sides": TWO
    | {"stages": [ResolutionStage(image_px=48, steps=3), ResolutionStage(image_px=96, steps=2, batch=4)]},
    "objectives on images": TWO | {"weights": BY_IMAGES, "accumulate": 2},
    "images alone, uneven": TWO | {"weights": ALONE, "batch": 5},
    "windows, divided": TWO | {"weights": WINDOWS, "parallel": "fsdp2"},
}


def job(params: TrainParams, inputs: TrainInputs, folder: Path) -> dict[str, object]:
    own = dataclasses.replace(inputs, work=folder / "w", metrics=folder / "m.json", plots=folder / "p.csv")
    paths = {name: str(value) for name, value in dataclasses.asdict(own).items()}
    return {"params": params.model_dump(), "inputs": paths, "out": str(folder / "out")}


def torchrun(jobs: list[dict[str, object]], folder: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--local-addr", "127.0.0.1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(Path(__file__).with_name("work.py")), str(path),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def curve(folder: Path) -> list[dict[str, float]]:
    with (folder / "p.csv").open() as handle:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]


def adapter(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "out" / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def small() -> TrainParams:
    return TrainParams(
        steps=5, batch=8, checkpoint_every=2, precision="fp32", lr_peak=5.0e-3, device="cpu", weights=EVERY_TERM,
        long_caption_words=8, joint_threshold=0.9, text_of_region="random",
        lora={"rank": 4, "alpha": 8}, windows={"sides": [120]},
        patch_ema={"prototypes": 32, "hidden": 16, "bottleneck": 8},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(
    small: TrainParams, base: Path, deep: Path, annotations: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Path]:
    """The folder of each variant, trained by one process and, all of them in one world, by two."""
    from umgclip.io.tables import QUARANTINE, write_table

    root = tmp_path_factory.mktemp("processes")
    quarantine = root / "quarantine.parquet"
    write_table(quarantine, [], QUARANTINE)
    inputs = TrainInputs(annotations, quarantine, base, root, root, root)
    jobs = []
    folders: dict[tuple[str, int], Path] = {}
    trained_alone: dict[tuple[str, Path], Path] = {}  # variants that differ in how two processes share the work are one
    for name, changes in VARIANTS.items():
        params = small.model_copy(update=changes)
        these = inputs if params.clustering is None else dataclasses.replace(inputs, base=deep)
        folders[name, 2] = root / name / "2"
        jobs.append(job(params, these, folders[name, 2]))
        plain = params.model_copy(update={"accumulate": 1, "parallel": "ddp", "checkpoint_activations": False})
        folder = folders[name, 1] = trained_alone.setdefault((plain.model_dump_json(), these.base), root / name / "1")
        if folder.exists():
            continue
        alone = dataclasses.replace(these, work=folder / "w", metrics=folder / "m.json", plots=folder / "p.csv")
        hook = register_optimizer_step_pre_hook(above_rounding)
        stage.run(plain, alone, folder / "out")
        hook.remove()
    done = torchrun(jobs, root)
    assert done.returncode == 0, done.stderr
    return lambda name, processes: folders[name, processes]


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_have_the_curve_of_one(trained: Callable[[str, int], Path], name: str) -> None:
    alone, together = curve(trained(name, 1)), curve(trained(name, 2))
    assert len(alone) == len(together) == 5
    for expected, found in zip(alone, together, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5), expected["step"]


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_end_with_the_weights_of_one(trained: Callable[[str, int], Path], name: str) -> None:
    alone, together = adapter(trained(name, 1)), adapter(trained(name, 2))
    assert alone.keys() == together.keys()
    for key, value in alone.items():
        assert (value - together[key]).abs().max() < 2e-5, key
