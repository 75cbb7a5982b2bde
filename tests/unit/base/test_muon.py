"""Muon in float32 against its definition and torch's own."""

import pytest
import torch
from torch import nn

from umgclip.base.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 16, 48), (2, 48, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    result = orthogonalise(matrices, 5)
    assert result.shape == shape
    # the reference's coefficients do not converge to 1: they trade exactness for a fast rise from near 0
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    aligned = ((left.mT @ result @ right.mT).diagonal(dim1=1, dim2=2)) / values
    assert aligned.min() > 0.2, "the singular vectors stay where they were"


def test_matrices_do_not_mix() -> None:
    matrices = torch.randn(4, 8, 12, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([orthogonalise(matrix[None], 5) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices, 5), alone, atol=1e-5, rtol=1e-5)


def test_a_zero_gradient_moves_nothing() -> None:
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 6), 5), torch.zeros(1, 4, 6))


def test_steps_decrease_a_quadratic() -> None:
    torch.manual_seed(0)
    target = torch.randn(12, 20)
    matrix = nn.Parameter(torch.zeros(12, 20))
    unused = nn.Parameter(torch.ones(12, 20))
    optimizer = Muon([matrix, unused], lr=0.1, weight_decay=0.1)
    losses = []
    for _ in range(60):
        loss = (matrix - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]
    assert losses[-1] < 0.1 * losses[0]
    assert torch.equal(unused, torch.ones(12, 20)), "without a gradient not even weight decay applies"


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_it_goes_where_torchs_muon_goes(shape: tuple[int, int]) -> None:
    """Torch computes in bfloat16, hence the tolerance."""
    torch.manual_seed(0)
    start, target = torch.randn(shape), torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        Muon([ours], lr=0.02, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (parameter - target).square().sum().backward()
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved
