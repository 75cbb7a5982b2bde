"""open_clip's architectures: its own embeddings, dense ones recomputed naively, padding without effect."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umgclip.model.clip import files
from umgclip.model.clip.readout import pool_boxes, pool_masks
from umgclip.model.clip.tower import DenseClip

MakeNamed = Callable[[str], nn.Module]
NAMES = (
    "ViT-B-32",
    "ViT-B-16",
    "ViT-L-14",
    "ViT-L-14-quickgelu",
    "ViT-L-14-CLIPA",
    "ViT-B-16-SigLIP",
    "EVA02-B-16",
    "PE-Core-T-16-384",
    "convnext_base",
)


def images_of(tower: DenseClip, rows: int, columns: int, count: int = 1) -> Tensor:
    height, width = tower.patch_px
    return torch.randn(count, 3, rows * height, columns * width, generator=torch.Generator().manual_seed(1))


def tokens_of(clip: nn.Module) -> Tensor:
    """Two texts as CLIP ends them, with the largest id."""
    tokens = torch.randint(1, 1000, (2, clip.context_length), generator=torch.Generator().manual_seed(2))
    tokens[0, 5:], tokens[1, 12:] = 0, 0
    tokens[0, 4] = tokens[1, 11] = clip.vocab_size - 1
    return tokens


def last_tokens(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into the last block of a timm tower and what comes out of it."""
    seen: list[Tensor] = []
    hooks = [
        visual.trunk.blocks[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
        visual.trunk.blocks[-1].register_forward_hook(lambda _, __, out: seen.append(out)),
    ]
    visual(images)
    for hook in hooks:
        hook.remove()
    return seen[0], seen[1]


def naive_dense(clip: nn.Module, images: Tensor) -> Tensor:
    """Dense tokens (b, n, d), row by row, from the layers themselves."""
    visual: Any = clip.visual
    if hasattr(visual, "transformer"):
        seen: list[Tensor] = []
        block = visual.transformer.resblocks[-1]
        hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        visual(images)
        hook.remove()
        x, width = seen[0][:, 1:], seen[0].shape[2]
        value = block.ln_1(x) @ block.attn.in_proj_weight[2 * width :].T + block.attn.in_proj_bias[2 * width :]
        x = x + value @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
        x = x + block.mlp(block.ln_2(x))
        return visual.ln_post(x) @ visual.proj
    trunk = visual.trunk
    if not hasattr(trunk, "blocks"):
        places = trunk.forward_features(images)
        rows = [
            trunk.head(places[:, :, [i], :][:, :, :, [j]])
            for i in range(places.shape[2])
            for j in range(places.shape[3])
        ]
        return torch.stack([visual.head(row) for row in rows], dim=1)
    before, after = last_tokens(visual, images)
    if trunk.attn_pool is not None:
        tokens = trunk.norm(after)[:, trunk.num_prefix_tokens :]
        alone = [trunk.attn_pool(tokens[:, [i]]) for i in range(tokens.shape[1])]
        return torch.stack([visual.head(trunk.head(token)) for token in alone], dim=1)
    block, x = trunk.blocks[-1], before[:, 1:]
    x = x + block.attn.proj(block.attn.norm(block.attn.v_proj(block.norm1(x))))
    x = x + block.mlp(block.norm2(x))
    return visual.head(trunk.head(trunk.fc_norm(trunk.norm(x))))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_global_text_and_dense_embeddings(make_named: MakeNamed, name: str) -> None:
    clip = make_named(name)
    tower = DenseClip(clip)
    rows, columns = (side // patch for side, patch in zip(tower.image_hw, tower.patch_px, strict=True))
    images, tokens = images_of(tower, rows, columns, 2), tokens_of(clip)
    out = tower(images, tokens)
    torch.testing.assert_close(out.image, clip.encode_image(images, normalize=True), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tower.encode_global(images), out.image, atol=1e-6, rtol=0)
    torch.testing.assert_close(out.text, clip.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)
    expected = F.normalize(naive_dense(clip, images), dim=-1).transpose(1, 2).unflatten(2, (rows, columns))
    torch.testing.assert_close(out.dense, expected, atol=1e-5, rtol=1e-5)
    assert out.image.shape[1] == out.text.shape[1] == tower.embed_dim
    assert out.dense.std(dim=(2, 3)).min() > 1e-5, "places differ"


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "EVA02-B-16", "PE-Core-T-16-384", "convnext_base"])
@torch.no_grad()
def test_other_sizes_are_what_timm_makes_of_a_resized_model(make_named: MakeNamed, name: str) -> None:
    clip = make_named(name)
    tower = DenseClip(clip)
    images = images_of(tower, 3, 5)
    resized = copy.deepcopy(clip)
    if hasattr(resized.visual.trunk, "set_input_size"):
        resized.visual.trunk.set_input_size(tuple(images.shape[2:]))
    image, dense = tower.encode_image(images)
    torch.testing.assert_close(image, resized.encode_image(images, normalize=True), atol=1e-5, rtol=1e-5)
    assert dense.shape[2:] == (3, 5)
    again = tower.encode_image(images)
    assert torch.equal(again[1], dense), "a remembered grid changes nothing"


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_padding_has_no_influence(make_named: MakeNamed, name: str) -> None:
    tower = DenseClip(make_named(name))
    images = images_of(tower, 4, 4, 2)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[0, 3:], valid[1, :, 2:] = False, False
    inside = F.interpolate(valid[:, None].float(), images.shape[2:], mode="nearest").bool()
    other = torch.where(inside, images, 5 * torch.randn_like(images))
    for one, two in zip(tower.encode_image(images, valid), tower.encode_image(other, valid), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
        assert one.isfinite().all()
    unpadded = tower.encode_image(images)[0]
    assert (tower.encode_image(images, valid)[0] - unpadded).abs().max() > 1e-4, "the mask counts"
    whole = tower.encode_image(images, torch.ones_like(valid))
    torch.testing.assert_close(whole[0], unpadded, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_padded_convnext_sees_what_it_sees_without_padding(make_named: MakeNamed) -> None:
    tower = DenseClip(make_named("convnext_base"))
    images = images_of(tower, 4, 4)
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[:, :3, :2] = True
    image, dense = tower.encode_image(images, valid)
    expected_image, expected_dense = tower.encode_image(images[:, :, :96, :64])
    torch.testing.assert_close(image, expected_image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dense[:, :, :3, :2], expected_dense, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_regions_at_the_edge_of_a_padded_image_see_no_padding(make_named: MakeNamed) -> None:
    tower = DenseClip(make_named("convnext_base"))
    images = images_of(tower, 4, 4)
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[:, :3, :2] = True
    dense = tower.encode_image(images, valid)[1]
    alone = tower.encode_image(images[:, :, :96, :64])[1]
    share = torch.tensor([[0.3, 0.1, 1.0, 1.0]])
    by_box = pool_boxes(dense, share * torch.tensor([0.5, 0.75, 0.5, 0.75]), torch.tensor([0]))
    torch.testing.assert_close(by_box, pool_boxes(alone, share, torch.tensor([0])), atol=1e-5, rtol=1e-5)
    mask = torch.rand(1, 3, 2)
    by_mask = pool_masks(dense, F.pad(mask, (0, 2, 0, 1)), torch.tensor([0]))
    torch.testing.assert_close(by_mask, pool_masks(alone, mask, torch.tensor([0])), atol=1e-5, rtol=1e-5)


def test_activations_recomputed_give_the_same_gradients(make_named: MakeNamed) -> None:
    for name in ("ViT-B-32", "ViT-B-16-SigLIP", "EVA02-B-16", "PE-Core-T-16-384", "convnext_base"):
        clip = make_named(name)
        tower = DenseClip(clip)
        images = images_of(tower, 2, 2)
        gradients = []
        for enabled in (False, True):
            clip.set_grad_checkpointing(enabled)
            clip.zero_grad()
            image, dense = tower.encode_image(images)
            (image[0, 0] + dense[0, 1].sum()).backward()
            gradients.append([p.grad.clone() for p in clip.visual.parameters() if p.grad is not None])
        for one, two in zip(*gradients, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_how_pairs_are_scored(make_named: MakeNamed) -> None:
    siglip, clip = DenseClip(make_named("ViT-B-16-SigLIP")), DenseClip(make_named("ViT-B-32"))
    assert (siglip.pairwise, clip.pairwise) == ("sigmoid", "softmax")
    assert siglip.logit_bias().item() == -10.0
    assert clip.logit_bias() is None
    siglip.clip.logit_scale.data.fill_(4.76)
    assert siglip.logit_scale().item() > 116, "SigLIP learned more than 100"


@pytest.mark.parametrize("name", ["ViT-B-32", "EVA02-B-16", "convnext_base", "ViT-B-16-SigLIP"])
@torch.no_grad()
def test_the_disk_keeps_model_and_preprocessing(
    make_named: MakeNamed, shallow: Callable[[str], dict[str, Any]], tmp_path: Path, name: str
) -> None:
    clip = make_named(name)
    clip.visual.preprocess_cfg = {"size": 224, "mean": (0.5, 0.5, 0.5), "std": (0.4, 0.5, 0.6), "resize_mode": "squash"}
    files.save(tmp_path, clip, shallow(name))
    loaded, _ = files.load(tmp_path)
    tower = DenseClip(loaded)
    images = images_of(tower, 2, 2)
    for one, two in zip(tower.encode_image(images), DenseClip(clip).encode_image(images), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)  # attention is by other layers, the same numbers
    assert tower.preprocess.std == (0.4, 0.5, 0.6)
