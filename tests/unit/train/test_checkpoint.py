"""Checkpoints: exact, atomic, and only for what they belong to."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from umgclip.train.checkpoint import Checkpoints

BELONGS = {"params": "p", "data": "d", "base": "b"}


class Run:
    """A model, its optimizer and a step of training."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, fused=True)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def step(self, number: int) -> None:
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        self.optimizer.zero_grad()
        self.model(inputs).square().sum().backward()
        self.optimizer.step()


def test_training_goes_on_exactly_where_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "work" / "checkpoint.pt"
    whole = Run()
    for number in range(6):
        whole.step(number)
        if number == 3:
            Checkpoints(path, BELONGS).save(4, whole.weights, whole.optimizer)
    resumed = Run()
    assert Checkpoints(path, BELONGS).restore(resumed.weights, resumed.optimizer) == 4
    for number in (4, 5):
        resumed.step(number)
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name]), name
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"], "nothing temporary stays"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"params": "other"}, "params"),
        ({"data": "x", "base": "y"}, "base, data"),
        ({"code": "2"}, "code"),
    ],
)
def test_a_checkpoint_of_something_else_starts_afresh_and_says_what_differs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, str], named: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    run = Run()
    run.step(0)
    Checkpoints(path, BELONGS).save(1, run.weights, run.optimizer)
    fresh = Run()
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(path, BELONGS | other).restore(fresh.weights, fresh.optimizer) == 0
    assert f"starts afresh, the checkpoint belongs to other {named}" in caplog.messages[-1]
    assert torch.equal(fresh.model.weight, Run().model.weight)


def test_nothing_saved_nothing_restored_and_removing_twice_is_fine(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", BELONGS)
    run = Run()
    assert checkpoints.restore(run.weights, run.optimizer) == 0
    checkpoints.save(1, run.weights, run.optimizer)
    checkpoints.remove()
    checkpoints.remove()
    assert checkpoints.restore(run.weights, run.optimizer) == 0
