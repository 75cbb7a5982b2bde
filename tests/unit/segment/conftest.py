"""A random tower with an adapter, and the demo benchmark's own truth as annotations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from umgclip.io.tables import QUARANTINE, write_table
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER
from umgclip.params import LoraParams, SegmentParams, TowerParams, TrainParams
from umgclip.params.segment import DecoderParams
from umgclip.segment.stage import SegmentInputs


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models of this size are faster on one thread, on a busy machine many times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tower_folders(tiny: TowerParams, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a base and of its adapter. Read only."""
    base, tuned = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("tuned")
    torch.manual_seed(0)
    clip = files.build(files.tower_config(tiny))
    files.save(base, clip, files.tower_config(tiny))
    adapt(clip, TrainParams(lora=LoraParams(rank=2, alpha=4))).save(tuned / ADAPTER)
    return base, tuned


@pytest.fixture
def inputs(tower_folders: tuple[Path, Path], demo: Path, tmp_path: Path) -> SegmentInputs:
    """Paths for one run, with an empty quarantine."""
    write_table(tmp_path / "quarantine.parquet", [], QUARANTINE)
    return SegmentInputs(
        annotations=demo / "benchmark",
        quarantine=tmp_path / "quarantine.parquet",
        base=tower_folders[0],
        tuned=tower_folders[1],
        work=tmp_path / ".segment",
        metrics=tmp_path / "metrics" / "segment.json",
        plots=tmp_path / "plots" / "segment.csv",
    )


@pytest.fixture
def params() -> SegmentParams:
    """Four small steps, a checkpoint after every second one."""
    decoder = DecoderParams(queries=16, width=32, heads=2, feedforward=32, encoder_layers=1, decoder_layers=1)
    return SegmentParams(steps=4, batch=2, checkpoint_every=2, points=64, decoder=decoder)
