"""Weights that are not those that were written are refused by every way to a model, and name their file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError
from umgclip.inference.folder import load_folder
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.integrity import OWN, SHA256
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS, CONFIG, WEIGHTS
from umgclip.model.clip.pretrained.load import Choices, load_pretrained
from umgclip.params import LoraParams, TowerParams

MakeClip = Callable[[int], nn.Module]


def flip(path: Path) -> None:
    """One bit of the last tensor, whose value stays a number."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def poison(path: Path) -> None:
    """One value of the first tensor becomes no number."""
    weights = load_file(path)
    weights[min(weights)].view(-1)[0] = torch.nan
    save_file(weights, path)


@pytest.fixture
def root(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    """The folders of `base` and `train`."""
    root = tmp_path / "artifacts"
    base, train = root / "base", root / "train"
    base.mkdir(parents=True)
    digest = files.save(base, make_clip(0), files.tower_config(tiny))
    write_json(base / "base.json", {"weights_sha256": digest, "model": "tiny", "pretrained": "scratch"})
    add_lora(files.load(base)[0], LoraParams(rank=2, alpha=4)).save_pretrained(str(train / ADAPTER))
    adapter = sha256_file(train / ADAPTER / ADAPTER_WEIGHTS)
    write_json(train / "train.json", {"base_sha256": digest, "adapter_sha256": adapter})
    return root


def as_registered(root: Path) -> Path:
    """The files of a version, which lie in one folder."""
    folder = root.parent / "version"
    folder.mkdir()
    for source in (*(root / "base").iterdir(), *(root / "train").iterdir()):
        source.rename(folder / source.name)
    return folder


DAMAGED = "damaged or exchanged: expected SHA-256 [0-9a-f]{64} as in .*, got [0-9a-f]{64}"


@pytest.mark.parametrize("damage", [flip, poison])
@pytest.mark.parametrize("part", [f"base/{WEIGHTS}", f"train/{ADAPTER}/{ADAPTER_WEIGHTS}"])
def test_artifacts_are_compared_with_their_reports(root: Path, part: str, damage: Callable[[Path], None]) -> None:
    damage(root / part)
    with pytest.raises(DataError, match=f"{Path(part).name}: {DAMAGED}"):
        umgclip.load(root)


@pytest.mark.parametrize("part", [WEIGHTS, f"{ADAPTER}/{ADAPTER_WEIGHTS}"])
def test_a_registered_versions_files_too(root: Path, part: str) -> None:
    folder = as_registered(root)
    load_folder(folder, {})
    flip(folder / part)
    with pytest.raises(DataError, match=f"{Path(part).name}: {DAMAGED}"):
        load_folder(folder, {})


@pytest.mark.parametrize(("to", "name"), [("open_clip", WEIGHTS), ("peft", ADAPTER_WEIGHTS)])
def test_exports_carry_their_hash(root: Path, tmp_path: Path, to: str, name: str) -> None:
    out = tmp_path / "out"
    export(root, None, to, out)
    source = (out, None) if to == "open_clip" else (root / "base", out)
    umgclip.load(*source)
    flip(out / name)
    with pytest.raises(DataError, match=f"{name}: {DAMAGED}"):
        umgclip.load(*source)


def test_so_do_saved_models_and_they_are_compared_as_a_base_as_well(root: Path, tmp_path: Path) -> None:
    umgclip.load(root).save(tmp_path / "saved")
    flip(tmp_path / "saved" / WEIGHTS)
    with pytest.raises(DataError, match=DAMAGED):
        umgclip.load(tmp_path / "saved")
    with pytest.raises(DataError, match=DAMAGED):
        load_pretrained("tiny", str(tmp_path / "saved"), Choices())


def test_weights_that_were_changed_on_purpose_are_told_the_way_on(root: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    umgclip.load(root).save(saved)
    flip(saved / WEIGHTS)
    with pytest.raises(DataError, match=f"if you changed the weights yourself, remove the old hash from {CONFIG}"):
        umgclip.load(saved)
    content = json.loads((saved / CONFIG).read_text(encoding="utf-8"))
    del content[OWN][SHA256]
    write_json(saved / CONFIG, content)
    assert umgclip.load(saved).embed_dim == umgclip.load(root).embed_dim


def test_weights_under_another_name_are_told_the_way_on(root: Path) -> None:
    base = root / "base"
    (base / "base.json").unlink()
    (base / WEIGHTS).rename(base / "open_clip_pytorch_model.bin")
    with pytest.raises(DataError, match=f"base: expected {WEIGHTS}, found none; .* set base.pretrained to "):
        umgclip.load(base)


def test_weights_that_nobody_wrote_down_must_be_numbers_at_least(root: Path) -> None:
    base = root / "base"
    (base / "base.json").unlink()
    config = files.load(base)[1]
    write_json(base / CONFIG, {"model_cfg": config})  # as open_clip writes it
    flip(base / WEIGHTS)
    umgclip.load(base)
    poison(base / WEIGHTS)
    with pytest.raises(DataError, match=f"{WEIGHTS}: .*: expected finite numbers, got some that are infinite or none"):
        umgclip.load(base)


def test_an_adapter_that_is_no_number_is_refused_where_it_has_no_report(root: Path) -> None:
    (root / "train" / "train.json").unlink()
    path = root / "train" / ADAPTER / ADAPTER_WEIGHTS
    weights = {name: torch.full_like(value, torch.inf) for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match=f"{ADAPTER_WEIGHTS}: .*: expected finite numbers"):
        load_tuned(root / "base", root / "train" / ADAPTER)
