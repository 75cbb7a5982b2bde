"""What stages write, somebody else may read as far as the umask lets them."""

import os
import stat
from pathlib import Path

import pytest

from umgclip.cli.exporting import export
from umgclip.io.atomic import fresh_folder, write_json
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.params import DataParams, LoraParams, TowerParams, TrainParams
from umgclip.sources.demo.scenes import write_demo


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_every_file_has_the_mode_that_the_umask_says(
    tiny: TowerParams, tmp_path: Path, umask: int, file_mode: int, folder_mode: int
) -> None:
    before = os.umask(umask)
    try:
        write_demo(DataParams(train_scenes=2, benchmark_scenes=1, benchmark_singles=1), tmp_path / "data")
        config = files.tower_config(tiny)
        with fresh_folder(tmp_path / "base") as base:
            digest = files.save(base, files.build(config), config)
            write_json(base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "tiny"})
        for adapter in ("lora", "convpass", "full"):
            tuned = adapt(files.load(tmp_path / "base")[0], TrainParams(adapter=adapter, lora=LoraParams(rank=2)))
            tuned.save(tmp_path / adapter / "adapter")
        for form in ("open_clip", "peft"):
            export(tmp_path / "base", tmp_path / "lora", form, tmp_path / "export" / form)
    finally:
        os.umask(before)
    found = list(tmp_path.rglob("*"))
    assert len([path for path in found if path.suffix == ".safetensors"]) == 6
    wrong = [p for p in found if stat.S_IMODE(p.stat().st_mode) != (folder_mode if p.is_dir() else file_mode)]
    assert wrong == []
