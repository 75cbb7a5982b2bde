"""Every format in which weights come gives the same tensors; what is no checkpoint is refused in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from umgclip.errors import InputError
from umgclip.model.clip.pretrained.checkpoint_file import WEIGHT_FILES, find_weights, read_checkpoint

WEIGHTS = {"visual.conv1.weight": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(2.5)}


def assert_weights(found: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(WEIGHTS)
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda w: {"model": w},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {"state_dict": {f"module.{name}": value for name, value in w.items()}},
        lambda w: {f"model.{name}": value for name, value in w.items()},
        lambda w: {"module": {f"_orig_mod.module.model.{name}": value for name, value in w.items()}},
        lambda w: {
            "state_dict": {**{f"clip_model.{name}": value for name, value in w.items()}, "loss.w": torch.ones(1)}
        },
    ],
)
def test_wrappings_come_off(wrap: Any, tmp_path: Path) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / "a.pt")
    assert_weights(read_checkpoint(tmp_path / "a.pt").weights)


def test_safetensors_under_any_name(tmp_path: Path) -> None:
    for name in ("a.safetensors", "pytorch_model.bin"):
        save_file(WEIGHTS, tmp_path / name)
        assert_weights(read_checkpoint(tmp_path / name).weights)


def test_the_older_format_of_pytorch(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert_weights(read_checkpoint(tmp_path / "a.pth").weights)


def test_torchscript_as_openai_delivers_it(tmp_path: Path) -> None:
    class Script(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = nn.Module()
            self.visual.conv1 = nn.Linear(3, 2, bias=False)
            self.logit_scale = nn.Parameter(torch.tensor(2.5))
            self.register_buffer("input_resolution", torch.tensor(224))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.logit_scale

    script = Script()
    script.load_state_dict({**WEIGHTS, "input_resolution": torch.tensor(224)})
    torch.jit.script(script).save(str(tmp_path / "ViT-B-32.pt"))
    found = read_checkpoint(tmp_path / "ViT-B-32.pt")
    assert found.is_torchscript
    assert_weights(found.weights)


def shards(folder: Path) -> Path:
    save_file({"visual.conv1.weight": WEIGHTS["visual.conv1.weight"]}, folder / "model-00001-of-00002.safetensors")
    torch.save({"logit_scale": WEIGHTS["logit_scale"]}, folder / "model-00002-of-00002.bin")
    listed = {
        "visual.conv1.weight": "model-00001-of-00002.safetensors",
        "logit_scale": "model-00002-of-00002.bin",
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    return folder / "model.safetensors.index.json"


def test_a_sharded_checkpoint(tmp_path: Path) -> None:
    index = shards(tmp_path)
    assert_weights(read_checkpoint(index).weights)
    assert find_weights(tmp_path) == index
    (tmp_path / "model-00002-of-00002.bin").unlink()
    with pytest.raises(InputError, match=r"index.json: expected its part 'model-00002-of-00002.bin' beside it, found"):
        read_checkpoint(index)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(InputError, match="expected its part '../elsewhere.safetensors' beside it"):
        read_checkpoint(index)
    index.write_text("[]")
    with pytest.raises(InputError, match="expected an index with `weight_map`"):
        read_checkpoint(index)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected weights such as {WEIGHT_FILES[0]} in it, found none"):
        find_weights(tmp_path)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.bin"])
@pytest.mark.parametrize(
    "content", [b"not weights", b"\0" * 64, b"\x08\0\0\0\0\0\0\0{broken}", b"PK\x03\x04" + b"x" * 60]
)
def test_rubbish_is_refused_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^base.pretrained: .*a\.\w+: ") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(path))


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    torch.save(WEIGHTS, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        whole = (tmp_path / name).read_bytes()
        for size in (len(whole) // 2, len(whole) - 3, 9, 1):
            (tmp_path / name).write_bytes(whole[:size])
            with pytest.raises(InputError, match=rf"base.pretrained: .*{name}: "):
                read_checkpoint(tmp_path / name)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(InputError, match=r"a.safetensors: the file is empty"):
        read_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_named(value: float, tmp_path: Path) -> None:
    broken = {**WEIGHTS, "logit_scale": torch.tensor([1.0, value])}
    save_file(broken, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a.safetensors: logit_scale: expected finite values, got 1 NaN or infinite"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_python_objects_are_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "args": Path("x")}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="holds Python objects beside tensors, which are not run"):
        read_checkpoint(tmp_path / "a.pt")


def test_no_tensors(tmp_path: Path) -> None:
    for content, expected in (({"epoch": 3}, "found epoch"), ({}, "found nothing"), ([1], "got a list")):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(InputError, match=f"expected tensors by name, {expected}"):
            read_checkpoint(tmp_path / "a.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_told_as_such(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").chmod(0)
    with pytest.raises(InputError, match="no permission to read it"):
        read_checkpoint(tmp_path / "a.safetensors")
