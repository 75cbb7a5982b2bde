"""Checkpoints: exact, atomic, and only for what they belong to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from umgclip.errors import InputError, OutputError
from umgclip.io.atomic import explain_os_errors
from umgclip.learning.checkpoint import Checkpoints, TrainingState, content_sha256, differences

BELONGS = {"params": {"train.seed": "0", "train.lr_peak": "0.1"}, "data": "d" * 64, "base": "b"}


class Run:
    """A model, its optimizer and a step of training."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, fused=True)

    @property
    def state(self) -> TrainingState:
        return TrainingState(dict(self.model.named_parameters()), self.optimizer)

    def step(self, number: int) -> None:
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        self.optimizer.zero_grad()
        self.model(inputs).square().sum().backward()
        self.optimizer.step()


def test_a_full_disk_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def on_a_full_disk(path: Path) -> Iterator[Path]:
        with explain_os_errors(path):
            yield Path("/dev/full")

    monkeypatch.setattr("umgclip.learning.checkpoint.atomic_file", on_a_full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*checkpoint.pt: no space left on the disk"):
        Checkpoints(tmp_path / "checkpoint.pt", BELONGS).save(1, Run().state)


def test_training_goes_on_exactly_where_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "work" / "checkpoint.pt"
    whole = Run()
    for number in range(6):
        whole.step(number)
        if number == 3:
            Checkpoints(path, BELONGS).save(4, whole.state)
    resumed = Run()
    assert Checkpoints(path, BELONGS).restore(resumed.state) == 4
    for number in (4, 5):
        resumed.step(number)
    for name, value in whole.model.named_parameters():
        assert torch.equal(value, dict(resumed.model.named_parameters())[name]), name
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"], "nothing temporary stays"


def test_average_loss_scale_and_failures_are_kept(tmp_path: Path) -> None:
    run = Run()
    run.step(0)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    kept = TrainingState(
        run.state.weights, run.optimizer, {"weight": torch.full((2, 3), 0.5)}, scaler, {"k": ("s.tar", "no image")}
    )
    Checkpoints(tmp_path / "c.pt", BELONGS).save(1, kept)
    fresh = TrainingState(
        Run().state.weights, Run().optimizer, {"weight": torch.zeros(2, 3)}, torch.amp.GradScaler("cpu")
    )
    Checkpoints(tmp_path / "c.pt", BELONGS).restore(fresh)
    assert fresh.average is not None
    assert fresh.scaler is not None
    assert fresh.average["weight"].tolist() == [[0.5] * 3] * 2
    assert fresh.scaler.get_scale() == 8.0
    assert fresh.failed == {"k": ("s.tar", "no image")}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"params": {"train.seed": "0", "train.lr_peak": "0.2"}}, r"params\.train\.lr_peak \(0\.1, now 0\.2\)"),
        ({"data": "e" * 64, "base": "y"}, r"base \(b, now y\), data \(dddddddddddd…, now eeeeeeeeeeee…\)"),
        ({"code": "2"}, r"code \(none, now 2\)"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_the_difference_named(
    tmp_path: Path, other: dict[str, Any], named: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    run = Run()
    run.step(0)
    Checkpoints(path, BELONGS).save(1, run.state)
    fresh = Run()
    with pytest.raises(InputError, match=rf"belongs to other {named}; restore those .*, or .*--discard-checkpoint"):
        Checkpoints(path, BELONGS | other).restore(fresh.state)
    assert torch.equal(fresh.model.weight, Run().model.weight)
    assert path.is_file(), "nothing is lost before the user says so"


def test_many_differences_are_counted() -> None:
    before = {"params": {f"p{n}": "0" for n in range(3)}}
    assert list(differences(before, {"params": {"p0": "1", "p1": "0"}})) == [
        "params.p0 (0, now 1)", "params.p2 (0, now none)",
    ]  # fmt: skip


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"checkpoint\.pt: expected a checkpoint, got a file that cannot be read"):
        Checkpoints(path, BELONGS).restore(Run().state)


def test_nothing_saved_nothing_restored_and_removing_twice_is_fine(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", BELONGS)
    run = Run()
    assert checkpoints.restore(run.state) == 0
    run.step(0)
    checkpoints.save(1, run.state)
    checkpoints.remove()
    checkpoints.remove()
    assert checkpoints.restore(run.state) == 0


def test_a_flipped_bit_in_a_tensor_is_found(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run = Run()
    run.step(0)
    Checkpoints(path, BELONGS).save(1, run.state)
    content = bytearray(path.read_bytes())
    at = content.index(run.model.weight.detach().numpy().tobytes())
    content[at + 5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(
        InputError, match=r"checkpoint\.pt: expected a checkpoint, got a file that cannot be read \(.*damaged"
    ):
        Checkpoints(path, BELONGS).restore(Run().state)


def test_the_hash_follows_every_value(tmp_path: Path) -> None:
    content = {"step": 1, "weights": {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.tensor(3)}, "none": None}
    known = content_sha256(content)
    assert (
        content_sha256({**content, "weights": {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.tensor(3)}})
        == known
    )
    others = [
        {**content, "step": 2},
        {**content, "none": False},
        {**content, "weights": {"a": torch.ones(2), "b": torch.tensor(3)}},
        {**content, "weights": {"a": torch.ones(1, 2, dtype=torch.bfloat16), "b": torch.tensor(3)}},
        {**content, "weights": {"a": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(3)}},
        {**content, "weights": {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.tensor(4)}},
    ]
    assert len({known, *map(content_sha256, others)}) == 7
