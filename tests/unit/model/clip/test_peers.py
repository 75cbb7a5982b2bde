"""Read-outs of other papers, against the same written out head by head."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from umgclip.errors import InputError
from umgclip.model.adapters.convpass import add_convpass
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.peers import _falip, _gaussians
from umgclip.params import ConvpassParams, TowerParams

MakeClip = Callable[[int], nn.Module]


@pytest.fixture
def images(tiny: TowerParams) -> torch.Tensor:
    """Two images of another size than the model's own."""
    side = tiny.image_px + tiny.patch_px
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def embedded(visual: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What enters the first block, of images of the model's own size."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) + visual.positional_embedding
    return visual.ln_pre(x)


def heads_of(attention: nn.MultiheadAttention, x: torch.Tensor) -> list[torch.Tensor]:
    """Queries, keys and values, (b, heads, n, d) each."""
    joint = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    return [part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for part in joint.chunk(3, dim=2)]


def mixed(attention: nn.MultiheadAttention, logits: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return attention.out_proj((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))


@torch.no_grad()
def test_last_layer_tokens_are_open_clips_own(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(0)
    images = torch.randn(2, 3, tiny.image_px, tiny.image_px)
    clip.visual.output_tokens = True
    tokens = clip.visual(images)[1] @ clip.visual.proj
    dense = DenseClip(clip).encode_dense(images, "last")
    assert torch.allclose(dense.flatten(2).transpose(1, 2), F.normalize(tokens, dim=-1), atol=1e-5)


@torch.no_grad()
def test_surgery_adds_value_value_attention_of_the_last_half(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(0)
    visual, images = clip.visual, torch.randn(2, 3, tiny.image_px, tiny.image_px)
    blocks = list(visual.transformer.resblocks)
    first = second = embedded(visual, images)
    for number, block in enumerate(blocks):
        if number == len(blocks) - len(blocks) // 2:
            second = first
        if number >= len(blocks) - len(blocks) // 2:
            value = heads_of(block.attn, block.ln_1(first))[2]
            second = second + mixed(block.attn, value @ value.mT / value.shape[-1] ** 0.5, value)
        first = block(first)
    expected = F.normalize(visual.ln_post(second[:, 1:]) @ visual.proj, dim=-1)
    dense = DenseClip(clip).encode_dense(images, "surgery")
    assert torch.allclose(dense.flatten(2).transpose(1, 2), expected, atol=1e-5)


@torch.no_grad()
def test_foveal_attention_adds_to_the_class_tokens_row(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(0)
    visual, images = clip.visual, torch.randn(2, 3, tiny.image_px, tiny.image_px)
    boxes, rows = torch.tensor([[0.1, 0.1, 0.6, 0.9], [0.5, 0.0, 1.0, 0.3], [0.0, 0.0, 1.0, 1.0]]), [1, 0, 1]
    grid = tiny.image_px // tiny.patch_px
    x = embedded(visual, images)[rows]
    blocks = list(visual.transformer.resblocks)
    for number, block in enumerate(blocks):
        query, key, value = heads_of(block.attn, block.ln_1(x))
        logits = query @ key.mT / query.shape[-1] ** 0.5
        if number >= len(blocks) - max(1, len(blocks) // 3):
            logits[:, :, 0, 1:] += _gaussians(boxes, grid, grid, 2.0)[:, None]
        x = x + mixed(block.attn, logits, value)
        x = x + block.mlp(block.ln_2(x))
    expected = F.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
    got = DenseClip(clip).encode_foveal(images, boxes, torch.tensor(rows), 2.0)
    assert torch.allclose(got, expected, atol=1e-5)


@torch.no_grad()
def test_a_peak_of_nothing_is_the_image_itself(make_clip: MakeClip, images: torch.Tensor) -> None:
    model = DenseClip(make_clip(0))
    rows = torch.tensor([0, 1, 1] * 7)  # more regions than are read at once
    boxes = torch.tensor([[0.2, 0.2, 0.7, 0.7]]).repeat(len(rows), 1)
    assert torch.allclose(model.encode_foveal(images, boxes, rows, 0.0), model.encode_image(images)[0][rows], atol=1e-5)


def test_the_gaussian_peaks_in_the_box_and_is_nothing_outside() -> None:
    bell = _gaussians(torch.tensor([[0.0, 0.0, 0.6, 0.6], [0.81, 0.81, 0.83, 0.83]]), 5, 5, 0.2).unflatten(1, (5, 5))
    assert bell.amax((1, 2)).tolist() == pytest.approx([0.2, 0.2])
    assert bell[0].argmax() == 6  # row 1, column 1, the middle of three
    assert (bell[0, :3, :3] > 0).all()
    assert bell[0].count_nonzero() == 9
    assert bell[1].nonzero().tolist() == [[4, 4]]  # smaller than a token: the token it lies in


def test_towers_without_the_path_are_named(make_clip: MakeClip, images: torch.Tensor) -> None:
    clip = make_clip(0)
    add_convpass(clip, ConvpassParams())
    model = DenseClip(clip)
    with pytest.raises(InputError, match=r"readouts: surgery: expected plain attention .* got WithConvpass"):
        model.encode_dense(images, "surgery")
    model.clip.visual.pool_type = "avg"
    with pytest.raises(InputError, match=r"readouts: last: expected open_clip's own ViT with a class token"):
        model.encode_dense(images, "last")


@torch.no_grad()
def test_the_raw_map_is_the_value_path_with_its_lengths(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(0)
    visual, images = clip.visual, torch.randn(2, 3, tiny.image_px, tiny.image_px)
    x = embedded(visual, images)
    *before, last = visual.transformer.resblocks
    for block in before:
        x = block(x)
    x = x + last.attn.out_proj(F.linear(last.ln_1(x), last.attn.in_proj_weight, last.attn.in_proj_bias).chunk(3, 2)[2])
    x = x + last.mlp(last.ln_2(x))
    expected = visual.ln_post(x[:, 1:]) @ visual.proj
    model = DenseClip(clip)
    raw = model.encode_dense(images, "raw")
    assert torch.allclose(raw.flatten(2).transpose(1, 2), expected, atol=1e-5)
    assert torch.allclose(F.normalize(raw, dim=1), model.encode_image(images)[1], atol=1e-5)  # and only there


@torch.no_grad()
def test_a_tower_that_cannot_keep_the_lengths_is_named(make_clip: MakeClip, images: torch.Tensor) -> None:
    model = DenseClip(make_clip(0))

    class AlwaysUnit(type(model._vision)):
        def __call__(self, images, valid):
            return tuple(F.normalize(part, dim=1) for part in super().__call__(images, valid))

    model._vision = AlwaysUnit(model.clip.visual)
    with pytest.raises(InputError, match="readouts: raw_box: expected a tower .* use whole_box"):
        model.encode_dense(images, "raw")


def falip_by_hand(box: list[float], size_wh: tuple[int, int], side: int, patch: int) -> torch.Tensor:
    """What FALIP's code adds, a token at a time; the box in pixels of the image."""
    across = side // patch

    def token(value: float, size: int) -> int:
        return max(math.ceil(round(min(value * side / size, side) / patch, 6)), 1) - 1

    x0, y0, x1, y1 = (token(value, size_wh[number % 2]) for number, value in enumerate(box))
    bell = {}
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            squared = (x - x0 - (x1 - x0) / 2) ** 2 + (y - y0 - (y1 - y0) / 2) ** 2
            bell[y, x] = math.exp(-0.5 * squared / 100**2)
    least, highest = min(bell.values()), max(bell.values())
    added = torch.zeros(across, across)
    for place, value in bell.items():
        added[place] = (value - least + 1e-6) / (highest - least + 1e-6) * 0.2
    return added


def test_falip_adds_what_its_code_adds() -> None:
    size = (640, 427)
    boxes = [
        [100.0, 50.0, 500.0, 400.0], [0.0, 0.0, 640.0, 427.0], [320.0, 213.5, 320.0, 213.5], [3.0, 400.0, 9.0, 427.0],
        [91.4285714, 61.0, 411.4285714, 122.0], [600.0, 0.0, 640.0, 30.5],
    ]  # fmt: skip
    shares = torch.tensor(boxes) / torch.tensor([*size, *size])
    got = _falip(shares, 14, 14, 0.2).unflatten(1, (14, 14))
    for row, box in zip(got, boxes, strict=True):
        assert torch.allclose(row, falip_by_hand(box, size, 224, 16), atol=2e-3), box
    wide = got[1]
    assert wide.amax().item() == pytest.approx(0.2)
    assert wide[0, 0].item() == pytest.approx(0.0, abs=1e-3)
    assert wide[0, 7].item() == pytest.approx(0.1, abs=0.01)  # half-way: a parabola


@torch.no_grad()
def test_falip_is_another_profile_of_the_same_read_out(make_clip: MakeClip, images: torch.Tensor) -> None:
    model = DenseClip(make_clip(0))
    rows, boxes = torch.tensor([0, 1]), torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.6, 0.9]])
    ours = model.encode_foveal(images, boxes, rows, 2.0)
    theirs = model.encode_foveal(images, boxes, rows, 2.0, "falip")
    assert not torch.allclose(ours, theirs, atol=1e-3)
    plain = model.encode_image(images)[0][rows]
    assert torch.allclose(model.encode_foveal(images, boxes, rows, 0.0, "falip"), plain, atol=1e-5)
