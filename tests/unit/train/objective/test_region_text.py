"""Region-text contrast against a loop; joint positives; what is left out."""

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor

from umgclip.errors import InputError
from umgclip.losses import info_nce
from umgclip.train.objective.region_text import joint_positives, region_sigmoid_loss, region_text_loss


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Six regions and five texts; region 2 has no text, text 4 no region, region 5 two texts."""
    generator = torch.Generator().manual_seed(7)
    regions, texts = torch.randn(6, 4, generator=generator), torch.randn(5, 4, generator=generator)
    positives = joint_positives(torch.tensor([0, 1, -1, 0, 2, 3]), texts)
    positives[5, 1] = True
    return regions, texts, positives


def loop(regions: Tensor, texts: Tensor, positives: Tensor, scale: float) -> float:
    def odds(region: int, text: int) -> float:
        left, right = regions[region].double(), texts[text].double()
        return math.exp(scale * float(left @ right / (left.norm() * right.norm())))

    kept = [i for i in range(len(regions)) if positives[i].any()]
    carried = [j for j in range(len(texts)) if any(positives[i, j] for i in kept)]
    to_text, to_region = [], []
    for i in kept:
        row = [odds(i, j) for j in range(len(texts))]
        to_text.append(-math.log(sum(row[j] for j in range(len(texts)) if positives[i, j]) / sum(row)))
    for j in carried:
        column = {i: odds(i, j) for i in kept}
        to_region.append(-math.log(sum(column[i] for i in kept if positives[i, j]) / sum(column.values())))
    return (sum(to_text) / len(to_text) + sum(to_region) / len(to_region)) / 2


def test_it_equals_the_loop(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    assert region_text_loss(*batch, 5.0).item() == pytest.approx(loop(*batch, 5.0), rel=1e-5)


def test_by_hand() -> None:
    # given regions a, a, b and texts a, b, all orthogonal, at a scale of log 2
    regions, texts = torch.eye(2)[[0, 0, 1]], torch.eye(2)
    loss = region_text_loss(regions, texts, joint_positives(torch.tensor([0, 0, 1]), texts), math.log(2))
    # then a region's softmax is [2/3, 1/3]; over regions text a has (2 + 2) / 5, and text b 2 / 4
    expected = (math.log(3 / 2) + (math.log(5 / 4) + math.log(2)) / 2) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_one_text_a_region_is_open_clips_loss() -> None:
    torch.manual_seed(8)
    regions, texts = torch.randn(6, 4), torch.randn(6, 4)
    got = region_text_loss(regions, texts, torch.eye(6, dtype=torch.bool), 9.0)
    expected = ClipLoss()(F.normalize(regions, dim=1), F.normalize(texts, dim=1), torch.tensor(9.0))
    torch.testing.assert_close(got, expected)


def test_equal_texts_cost_nothing_as_joint_positives() -> None:
    # given 200 regions of which 40 % show "a person"
    text_of_region = torch.cat([torch.zeros(80, dtype=torch.long), torch.arange(1, 121)])
    texts = torch.eye(121)
    regions = texts[text_of_region]
    joint = region_text_loss(regions, texts, joint_positives(text_of_region, texts), 100.0)
    eye_labels = info_nce(regions, texts[text_of_region], 100.0)
    assert joint.item() == pytest.approx(0, abs=1e-5)
    assert eye_labels.item() == pytest.approx(0.4 * math.log(80), abs=1e-4)


def test_a_region_without_text_changes_nothing_and_gets_no_gradient(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    regions, texts, positives = batch
    regions = regions.clone().requires_grad_()
    loss = region_text_loss(regions, texts, positives, 5.0)
    loss.backward()
    others = torch.tensor([0, 1, 3, 4, 5])
    torch.testing.assert_close(region_text_loss(regions[others], texts, positives[others], 5.0), loss)
    assert regions.grad is not None
    assert (regions.grad[2] == 0).all()
    assert (regions.grad[others] != 0).any(dim=1).all()


def test_a_text_without_region_is_a_negative(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    regions, texts, positives = batch
    fewer = region_text_loss(regions, texts[:4], positives[:, :4], 5.0)
    assert region_text_loss(regions, texts, positives, 5.0) > fewer


def test_gradients_are_right() -> None:
    torch.manual_seed(9)
    regions, texts = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 3))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    positives = joint_positives(torch.tensor([0, 1, -1, 0]), texts)
    assert torch.autograd.gradcheck(lambda r, t, s: region_text_loss(r, t, positives, s), (regions, texts, scale))


@pytest.mark.parametrize(("regions", "texts"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_nothing_to_learn_gives_a_connected_zero(regions: int, texts: int) -> None:
    region, text = torch.ones(regions, 4, requires_grad=True), torch.ones(texts, 4, requires_grad=True)
    scale = torch.tensor(10.0, requires_grad=True)
    positives = joint_positives(torch.full((regions,), -1), text, threshold=0.9)
    loss = region_text_loss(region, text, positives, scale)
    loss.backward()
    assert loss.item() == 0
    assert region.grad is not None
    assert text.grad is not None
    assert scale.grad == 0


def test_order_and_bf16(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    regions, texts, positives = batch
    rows, columns = torch.tensor([5, 2, 0, 1, 4, 3]), torch.tensor([4, 0, 3, 1, 2])
    shuffled = region_text_loss(regions[rows], texts[columns], positives[rows][:, columns], 5.0)
    torch.testing.assert_close(shuffled, region_text_loss(*batch, 5.0))
    regions, texts = regions.bfloat16(), texts.bfloat16()
    low = region_text_loss(regions, texts, positives, 5.0)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, region_text_loss(regions.float(), texts.float(), positives, 5.0))


def test_joint_positives_on_the_docstring_example() -> None:
    texts = torch.tensor([[1.0, 0, 0], [0.95, math.sqrt(1 - 0.95**2), 0], [0, 0, 1]], requires_grad=True)
    text_of_region = torch.tensor([0, 2])
    assert joint_positives(text_of_region, texts).int().tolist() == [[1, 0, 0], [0, 0, 1]]
    near = joint_positives(text_of_region, texts, threshold=0.9)
    assert near.int().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert not near.requires_grad


def test_joint_positives_equal_a_loop() -> None:
    torch.manual_seed(10)
    texts, text_of_region = torch.randn(6, 2), torch.tensor([5, -1, 0, 0, 3])
    got = joint_positives(text_of_region, texts, threshold=0.5)
    for i, own in enumerate(text_of_region.tolist()):
        for j in range(6):
            near = own >= 0 and F.cosine_similarity(texts[own], texts[j], dim=0).item() > 0.5
            assert got[i, j].item() == (own == j or near)


@pytest.mark.usefixtures("shapes_unchecked")
def test_wrong_arguments_are_refused(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    regions, texts, positives = batch
    with pytest.raises(InputError, match=r"positives: expected shape \(6, 5\), got \(6, 1\)"):
        region_text_loss(regions, texts, positives[:, :1], 5.0)
    with pytest.raises(InputError, match=r"text_of_region: expected indices in \[-1, 5\), got values from 0 to 5"):
        joint_positives(torch.tensor([0, 5]), texts)


def test_the_sigmoid_of_regions_equals_a_loop(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    regions, texts, positives = batch
    total, kept = 0.0, [i for i in range(6) if positives[i].any()]
    for i in kept:
        for j in range(5):
            logit = 7.0 * float(F.cosine_similarity(regions[i], texts[j], dim=0)) - 2.0
            total += math.log1p(math.exp(-logit if positives[i, j] else logit))
    got = region_sigmoid_loss(regions, texts, positives, 7.0, -2.0)
    assert float(got) == pytest.approx(total / len(kept), rel=1e-5)


def test_the_sigmoid_of_regions_by_hand_and_by_open_clip() -> None:
    eye = torch.eye(2)
    assert float(region_sigmoid_loss(eye, eye, eye.bool(), math.log(3), 0.0)) == pytest.approx(math.log(8 / 3))
    regions, texts = (F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(s)), dim=1) for s in (1, 2))
    expected = SigLipLoss()(regions, texts, torch.tensor(10.0), torch.tensor(-10.0))
    got = region_sigmoid_loss(regions, texts, torch.eye(5, dtype=torch.bool), 10.0, -10.0)
    torch.testing.assert_close(got, expected)


def test_no_described_region_costs_nothing_and_keeps_the_graph() -> None:
    regions, bias = torch.randn(2, 4, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    loss = region_sigmoid_loss(regions, torch.randn(3, 4), torch.zeros(2, 3, dtype=torch.bool), 1.0, bias)
    loss.backward()
    assert loss.item() == 0.0
    assert bias.grad is not None
    assert regions.grad.abs().max() == 0
