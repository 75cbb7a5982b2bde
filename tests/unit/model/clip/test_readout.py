"""Pooling of regions against hand-computed averages and explicit loops."""

import pytest
import torch
import torch.nn.functional as F

from umgclip.model.clip.readout import box_weights, pool_boxes, pool_masks, pool_regions


def ramp() -> torch.Tensor:
    """A map of 4 x 4 cells: channel 0 counts columns from 1, channel 1 is 1, channel 2 counts rows from 1."""
    column = torch.arange(1.0, 5).expand(4, 4)
    return torch.stack([column, torch.ones(4, 4), column.T])[None]


def test_boxes_on_cell_borders_average_their_cells() -> None:
    # columns 1 and 2 (values 2, 3), rows 0 and 1 (values 1, 2); then the whole map
    boxes = torch.tensor([[0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 1.0, 1.0]])
    expected = F.normalize(torch.tensor([[2.5, 1.0, 1.5], [2.5, 1.0, 2.5]]), dim=1)
    torch.testing.assert_close(pool_boxes(ramp(), boxes, torch.tensor([0, 0])), expected)


def test_a_box_between_cells_interpolates() -> None:
    # one cell wide, from the middle of column 1 to the middle of column 2: its centre is their border, (2 + 3) / 2
    boxes = torch.tensor([[1.5 / 4, 0.25, 2.5 / 4, 0.5]])
    expected = F.normalize(torch.tensor([[2.5, 1.0, 2.0]]), dim=1)
    torch.testing.assert_close(pool_boxes(ramp(), boxes, torch.tensor([0])), expected)


def test_boxes_of_wide_maps_and_of_their_own_image() -> None:
    dense = torch.zeros(2, 2, 2, 6)
    dense[0, 0, :, :3], dense[0, 1, :, 3:] = 1, 1  # image 0: left is (1, 0), right is (0, 1)
    dense[1] = -dense[0]
    boxes = torch.tensor([[0.0, 0.0, 0.3, 1.0], [0.7, 0.0, 1.0, 1.0], [0.0, 0.0, 0.3, 1.0]])
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(pool_boxes(dense, boxes, torch.tensor([0, 0, 1])), expected)


def test_less_than_the_whole_box_is_its_middle() -> None:
    torch.manual_seed(2)
    dense, images = torch.randn(2, 4, 8, 8), torch.tensor([1, 0])
    boxes = torch.tensor([[0.0, 0.2, 0.5, 0.4], [0.5, 0.0, 0.9, 1.0]])
    middles = torch.tensor([[0.125, 0.25, 0.375, 0.35], [0.6, 0.25, 0.8, 0.75]])
    torch.testing.assert_close(pool_boxes(dense, boxes, images, 0.5), pool_boxes(dense, middles, images))
    dense = torch.zeros(1, 2, 10, 10)
    dense[0, 0], dense[0, 1, 3:7, 3:7] = 1, 9  # the object fills the middle of its box, the ground its rim
    whole = pool_boxes(dense, torch.tensor([[0.1, 0.1, 0.9, 0.9]]), images[1:])
    middle = pool_boxes(dense, torch.tensor([[0.1, 0.1, 0.9, 0.9]]), images[1:], 0.25)
    torch.testing.assert_close(whole, F.normalize(torch.tensor([[1.0, 9 * 16 / 64]])), atol=0.03, rtol=0)
    torch.testing.assert_close(middle, F.normalize(torch.tensor([[1.0, 9.0]])))


def test_half_precision_moves_no_box_and_mixes_no_images() -> None:
    torch.manual_seed(0)
    dense = torch.randn(300, 4, 2, 2)
    boxes = torch.tensor([[0.013, 0.021, 0.487, 0.509]]).repeat(2, 1)
    images = torch.tensor([256, 257])  # bfloat16 has no 257
    coarse = pool_boxes(dense.bfloat16(), boxes, images)
    torch.testing.assert_close(coarse.float(), pool_boxes(dense, boxes, images), atol=0.02, rtol=0.02)


def test_masks_equal_a_loop_over_cells() -> None:
    torch.manual_seed(1)
    dense, masks, images = torch.randn(2, 5, 3, 4), torch.rand(6, 3, 4), torch.tensor([0, 1, 1, 0, 0, 1])
    masks[masks < 0.5] = 0
    pooled = pool_masks(dense, masks, images)
    for region in range(6):
        total, weight = torch.zeros(5), 0.0
        for row in range(3):
            for column in range(4):
                total += masks[region, row, column] * dense[images[region], :, row, column]
                weight += float(masks[region, row, column])
        torch.testing.assert_close(pooled[region], F.normalize(total / weight, dim=0))


def test_the_whole_image_as_a_mask_is_the_mean_and_nothing_is_zero() -> None:
    dense = torch.randn(1, 5, 3, 4)
    pooled = pool_masks(dense, torch.stack([torch.ones(3, 4), torch.zeros(3, 4)]), torch.tensor([0, 0]))
    torch.testing.assert_close(pooled[0], F.normalize(dense.mean((2, 3))[0], dim=0))
    assert torch.equal(pooled[1], torch.zeros(5))


def test_no_regions() -> None:
    dense, none = torch.randn(1, 5, 3, 4), torch.zeros(0, dtype=torch.long)
    assert pool_boxes(dense, torch.zeros(0, 4), none).shape == (0, 5)
    assert pool_masks(dense, torch.zeros(0, 3, 4), none).shape == (0, 5)


@pytest.mark.parametrize("grid_hw", [(8, 8), (7, 12)])
def test_one_product_pools_as_roi_align_and_as_masks_do(grid_hw: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(4)
    corners = torch.rand(60, 2, 2, generator=generator)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    boxes[:3] = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0], [0.5, 0.5, 0.52, 0.51]])
    masks = torch.rand(60, *grid_hw, generator=generator)
    image = torch.randint(0, 5, (60,), generator=generator).sort().values
    rank = torch.arange(60) - torch.searchsorted(image, image)
    slots = int(rank.max()) + 1
    dense = torch.randn(5, 16, *grid_hw, generator=generator)
    plain, fast = (dense.clone().requires_grad_() for _ in range(2))
    wanted = torch.cat([pool_masks(plain, masks, image), pool_boxes(plain, boxes, image)])
    actual = torch.cat(
        [pool_regions(fast, weights, image * slots + rank, slots) for weights in (masks, box_weights(boxes, grid_hw))]
    )

    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)
    direction = torch.randn(wanted.shape, generator=generator)
    for pooled in (wanted, actual):
        (pooled * direction).sum().backward()
    torch.testing.assert_close(fast.grad, plain.grad, atol=1e-5, rtol=1e-4)


def test_weights_of_a_box_are_those_of_its_samples() -> None:
    # one cell wide, from the middle of column 1 to that of column 2; two rows high, each sampled in its middle
    weights = box_weights(torch.tensor([[1.5 / 4, 0.0, 2.5 / 4, 0.5]]), (4, 4))
    expected = torch.zeros(4, 4)
    expected[:2, 1:3] = 0.25
    torch.testing.assert_close(weights[0], expected)
