"""Image tags asked of regions: against a loop, by hand, and what is left out."""

import math

import pytest
import torch
from torch import Tensor

from umgclip.errors import InputError
from umgclip.train.objective.region_tags import region_tag_loss


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three images with 3, 0 and 2 regions in mixed order; four tags, of which image 1 alone has the last."""
    generator = torch.Generator().manual_seed(3)
    regions, tags = torch.randn(5, 4, generator=generator), torch.randn(4, 4, generator=generator)
    targets = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]], dtype=torch.bool)
    return regions, torch.tensor([2, 0, 0, 2, 0]), tags, targets


def loop(regions: Tensor, image_of_region: Tensor, tags: Tensor, targets: Tensor, scale: float) -> float:
    def best(image: int, tag: int) -> float:
        own = [r for r in range(len(regions)) if image_of_region[r] == image]
        return max(scale * float(torch.cosine_similarity(regions[r], tags[tag], dim=0)) for r in own)

    images = sorted(set(image_of_region.tolist()))
    costs = []
    for image in images:
        for tag in range(len(tags)):
            if not targets[image, tag]:
                continue
            right = math.exp(best(image, tag))
            other_tags = [math.exp(best(image, t)) for t in range(len(tags)) if not targets[image, t]]
            other_images = [math.exp(best(i, tag)) for i in images if not targets[i, tag]]
            costs.append((math.log(1 + sum(other_tags) / right) + math.log(1 + sum(other_images) / right)) / 2)
    return sum(costs) / len(costs)


def test_it_equals_the_loop(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    assert region_tag_loss(*batch, 5.0).item() == pytest.approx(loop(*batch, 5.0), rel=1e-5)


def test_by_hand() -> None:
    # given two images, the first with regions a and b, the second with b; tags a and b, each of one image only
    regions, tags = torch.eye(2)[[0, 1, 1]], torch.eye(2)
    targets = torch.tensor([[True, False], [False, True]])
    loss = region_tag_loss(regions, torch.tensor([0, 0, 1]), tags, targets, math.log(2))
    # then scores are [[2, 2], [1, 2]] as odds: tag a costs log 2 and log(3/2), tag b log(3/2) and log 2
    assert loss.item() == pytest.approx((math.log(2) + math.log(3 / 2)) / 2, abs=1e-6)


def test_only_the_best_region_learns() -> None:
    regions = torch.tensor([[1.0, 0.1], [-1.0, 0.3]], requires_grad=True)
    targets = torch.tensor([[True, False]])
    region_tag_loss(regions, torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [0.9, -0.4]]), targets, 4.0).backward()
    assert regions.grad is not None
    assert regions.grad[0].abs().sum() > 0
    assert regions.grad[1].abs().sum() == 0


@pytest.mark.parametrize("regions", [0, 2])
def test_nothing_to_ask_is_zero_with_a_graph(regions: int) -> None:
    features = torch.ones(regions, 4, requires_grad=True)
    targets = torch.zeros(2, 3, dtype=torch.bool) if regions else torch.ones(2, 3, dtype=torch.bool)
    loss = region_tag_loss(features, torch.zeros(regions, dtype=torch.long), torch.ones(3, 4), targets, 5.0)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None


def test_a_tag_of_every_image_in_images_with_every_tag_costs_nothing() -> None:
    regions = torch.randn(2, 4, requires_grad=True)
    loss = region_tag_loss(regions, torch.tensor([0, 1]), torch.randn(3, 4), torch.ones(2, 3).bool(), 5.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert regions.grad is not None
    assert regions.grad.isfinite().all()


def test_gradients_are_right(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    regions, image_of_region, tags, targets = batch
    inputs = regions.double().requires_grad_(), tags.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r, t: region_tag_loss(r, image_of_region, t, targets, 5.0), inputs)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (1, torch.tensor([0, 1]), "image_of_region: expected shape"),
        (1, torch.tensor([0, 0, 0, 0, 3]), "image_of_region: expected indices"),
        (2, torch.zeros(4, 3), "tag_text: expected shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    batch: tuple[Tensor, Tensor, Tensor, Tensor], index: int, value: Tensor, message: str
) -> None:
    arguments = list(batch)
    arguments[index] = value
    with pytest.raises((InputError, TypeError), match=message if index == 1 and len(value) == 5 else None):
        region_tag_loss(*arguments, 5.0)
