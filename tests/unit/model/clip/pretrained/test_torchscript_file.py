"""TorchScript archives are read as torch reads them, and what they would run is not run."""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.pretrained.checkpoint_file import read_checkpoint
from umgclip.model.clip.pretrained.torchscript_file import read_torchscript


class Tower(nn.Module):
    """Tensors of several kinds, two of which share their elements."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(3, 2, 2, bias=False).half())
        self.register_buffer("steps", torch.arange(12).reshape(3, 4)[:, ::2])
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("empty", torch.zeros(0, 4))
        self.turned = nn.Parameter(torch.randn(2, 5).T)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.turned.sum()


class Hostile(nn.Module):
    """Writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str]:
        return self.weight, self.path

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str]) -> None:
        self.weight = state[0]
        self.path = state[1]
        torch.save(state[0], state[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def test_tensors_are_those_that_torch_reads(tmp_path: Path) -> None:
    path = tmp_path / "tower.pt"
    torch.jit.script(Tower()).save(str(path))
    found, expected = read_torchscript(path), torch.jit.load(str(path)).state_dict()
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].stride() == value.stride(), name
        assert torch.equal(found[name], value), name


def test_what_an_archive_would_run_is_not_run(tmp_path: Path) -> None:
    path, written = tmp_path / "hostile.pt", tmp_path / "written"
    torch.jit.script(Hostile(str(written))).save(str(path))
    written.unlink(missing_ok=True)
    with pytest.raises(InputError, match="hostile.pt: expected tensors by name"):
        read_checkpoint(path)
    assert not written.exists()
    with contextlib.suppress(RuntimeError):
        torch.jit.load(str(path))
    assert written.exists(), "torch itself runs it, or this shows nothing"


class Command:
    """Runs a command where it is unpickled."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.words,)


def archive(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/constants.pkl", pickle.dumps(()))
        file.writestr("a/data/0", bytes(16))
    return path


def test_a_name_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", pickle.dumps(Command(f"touch {tmp_path / 'touched'}"), protocol=2))
    with pytest.raises(InputError, match=r"a.pt: damaged TorchScript archive: expected modules, tensors and plain"):
        read_checkpoint(path)
    assert not (tmp_path / "touched").exists()


def test_packed_records_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", pickle.dumps({}), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"damaged TorchScript archive: a/data.pkl: expected an unpacked record"):
        read_checkpoint(path)


class Elements:
    """Is pickled by a persistent id, as a tensor's elements are."""


class Rebuilt:
    """A tensor over elements."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
        self.arguments = (Elements(), offset, size, stride, False, {})

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return torch._utils._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    """As torch pickles, elements in `data/0`."""

    def persistent_id(self, value: object) -> object:
        """Where elements are; they claim to be five where the record has four."""
        return ("storage", torch.FloatStorage, "0", "cpu", self.elements) if isinstance(value, Elements) else None

    elements = 4


@pytest.mark.parametrize(
    ("rebuilt", "elements", "said"),
    [
        (Rebuilt((10**6, 10**6), (0, 0), 0), 4, r"expected at most 4 values in a tensor, got \(1000000, 1000000\)"),
        (Rebuilt((5,), (1,), 0), 5, "data/0: expected 5 values of torch.float32, got 16 bytes"),
        (Rebuilt((4,), (1,), 1), 4, "out of bounds"),
        (Rebuilt((2,), (9,), 0), 4, "out of bounds"),
        (Rebuilt((-1,), (1,), 0), 4, "overflowed"),
    ],
)
def test_a_tensor_beyond_its_elements_is_refused(rebuilt: Rebuilt, elements: int, said: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pickler = Pickler(buffer, protocol=2)
    pickler.elements = elements
    pickler.dump(rebuilt)
    path = archive(tmp_path / "a.pt", buffer.getvalue())
    with pytest.raises(InputError, match=f"damaged TorchScript archive: .*{said}"):
        read_checkpoint(path)
