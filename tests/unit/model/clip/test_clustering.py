"""Token clustering: against the algorithm written out in NumPy, and in every tower that takes it."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.adapters.convpass import add_convpass
from umgclip.model.clip import files
from umgclip.model.clip.clustered import set_clustering
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.clustering import merge, unmerge
from umgclip.model.clip.vision.token_grid import TokenGrid, current_grid
from umgclip.params import ClusteringParams, ConvpassParams, LoraParams
from umgclip.train.blocks import checkpoint_activations

Array = np.ndarray[Any, Any]
MakeTower = Callable[[str], nn.Module]
TOWERS = ("ViT-B-16", "ViT-L-14-CLIPA", "ViT-B-16-SigLIP", "EVA02-B-16", "mean")


def squared(one: Array, two: Array) -> float:
    return float(((one - two) ** 2).sum())


def pooled(z: Array, valid: Array, rows: int, columns: int) -> dict[int, Array]:
    """Centres by number: the mean of the cells with image in each window of the adaptive pool, where it has some."""
    height, width = valid.shape
    centres = {}
    for i in range(rows):
        for k in range(columns):
            cells = [
                z[r, c]
                for r in range(math.floor(i * height / rows), math.ceil((i + 1) * height / rows))
                for c in range(math.floor(k * width / columns), math.ceil((k + 1) * width / columns))
                if valid[r, c]
            ]
            if cells:
                centres[i * columns + k] = np.mean(cells, axis=0)
    return centres


def expedit(z: Array, valid: Array, settings: ClusteringParams) -> tuple[dict[int, Array], Array]:
    """Centres by number, and each cell's weights of all clusters, of one image's cells (h, w, d)."""
    (rows, columns), (height, width) = settings.rows_columns, valid.shape
    centres = pooled(z, valid, rows, columns)
    for _ in range(settings.iterations):
        share: dict[tuple[int, int, int], float] = {}
        for r in range(height):
            for c in range(width):
                row, column = r * rows // height, c * columns // width
                near = [n for n in centres if abs(n // columns - row) <= 2 and abs(n % columns - column) <= 2]
                if valid[r, c]:
                    unscaled = [-settings.temperature * squared(z[r, c], centres[n]) for n in near]
                    for n, value in zip(near, np.exp(np.array(unscaled) - max(unscaled)), strict=True):
                        share[r, c, n] = value / np.exp(np.array(unscaled) - max(unscaled)).sum()
        for n in centres:
            mine = {(r, c): value for (r, c, m), value in share.items() if m == n}
            centres[n] = sum(value * z[at] for at, value in mine.items()) / sum(mine.values())
    weights = np.zeros((height, width, rows * columns))
    for r in range(height):
        for c in range(width):
            nearest = sorted(centres, key=lambda n: squared(z[r, c], centres[n]))[: settings.neighbours]  # noqa: B023
            for n in nearest:
                weights[r, c, n] = math.exp(-settings.temperature * squared(z[r, c], centres[n]))
            weights[r, c] /= weights[r, c].sum()
    return centres, weights


@pytest.mark.parametrize(
    ("height", "width", "grid", "padded"), [(6, 7, [2, 3], False), (9, 14, [5, 8], False), (8, 9, [4, 7], True)]
)
def test_clusters_and_the_way_back_are_expedits(height: int, width: int, grid: list[int], padded: bool) -> None:
    generator, prefix = np.random.default_rng(0), 2
    settings = ClusteringParams(after_block=1, grid=grid, iterations=3, temperature=0.3, neighbours=4)
    x = generator.normal(size=(2, prefix + height * width, 5)) + 3.0
    valid = np.ones((2, height, width), dtype=bool)
    if padded:
        valid[0, 3:], valid[1, :, 4:] = False, False
    tokens = TokenGrid(height, width, prefix, torch.from_numpy(valid) if padded else None)
    merged, clusters = merge(torch.from_numpy(x).float(), tokens, settings)
    back, after = unmerge(merged, clusters)
    assert after is tokens
    assert (clusters.height, clusters.width, clusters.prefix) == (*grid, prefix)
    for image in range(2):
        z = x[image, prefix:].reshape(height, width, -1)
        centres, weights = expedit(z, valid[image], settings)
        for n in range(grid[0] * grid[1]):
            if clusters.valid is not None:
                assert bool(clusters.valid[image].flatten()[n]) == (n in centres)
            if n in centres:
                np.testing.assert_allclose(merged[image, prefix + n], centres[n], atol=1e-4)
        rebuilt = sum(weights[:, :, n, None] * centre for n, centre in centres.items())
        np.testing.assert_allclose(back[image, prefix:].reshape(height, width, -1), rebuilt, atol=1e-4)
    np.testing.assert_array_equal(back[:, :prefix], torch.from_numpy(x).float()[:, :prefix])


def test_without_iterations_clusters_are_the_adaptive_pool() -> None:
    x = torch.randn(2, 1 + 7 * 10, 4)
    settings = ClusteringParams(after_block=1, grid=[3, 4], iterations=0)
    merged, _ = merge(x, TokenGrid(7, 10, 1), settings)
    expected = F.adaptive_avg_pool2d(x[:, 1:].transpose(1, 2).unflatten(2, (7, 10)), (3, 4))
    torch.testing.assert_close(merged[:, 1:], expected.flatten(2).transpose(1, 2))


def test_gradients_reach_tokens_through_means_with_fixed_shares() -> None:
    x = torch.randn(1, 1 + 36, 4, requires_grad=True)
    settings = ClusteringParams(after_block=1, grid=3, neighbours=2)
    merged, clusters = merge(x, TokenGrid(6, 6, 1), settings)
    back, _ = unmerge(merged, clusters)
    way = torch.randn_like(back)
    (back * way).sum().backward()
    with torch.no_grad():
        shares = torch.stack([merge(x, TokenGrid(6, 6, 1), settings)[0]])  # the same numbers again
        torch.testing.assert_close(shares[0], merged)
    # a step along the gradient of fixed shares: all rows of shares have a sum of 1, so a common shift comes back whole
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, 1:].sum(1), way[:, 1:].sum(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(x.grad[:, :1], way[:, :1])


def test_a_centre_without_tokens_stays_where_it_was() -> None:
    x = torch.zeros(1, 1 + 16, 2)
    x[0, 1:] = torch.tensor([[0.0, 0.0], [1e4, 0.0]]).repeat(8, 1)
    merged, clusters = merge(x, TokenGrid(4, 4, 1), ClusteringParams(after_block=1, grid=2, temperature=1.0))
    assert merged.isfinite().all()
    assert unmerge(merged, clusters)[0].isfinite().all()


@pytest.fixture
def make_tower(monkeypatch: pytest.MonkeyPatch) -> MakeTower:
    """One of open_clip's architectures with four narrow blocks and random weights."""
    create = timm.create_model

    def narrow(name: str, **options: object) -> nn.Module:
        return create(name, **{**options, "depth": 4, "embed_dim": 32, "num_heads": 2})

    monkeypatch.setattr(timm, "create_model", narrow)

    def make(name: str) -> nn.Module:
        torch.manual_seed(0)
        config = open_clip.get_model_config("ViT-B-16-SigLIP" if name == "mean" else name)
        config["embed_dim"] = 32 if "timm_model_name" in config["vision_cfg"] else 24
        config["text_cfg"] |= {"layers": 1, "width": 32, "heads": 2, "vocab_size": 64}
        if "timm_model_name" not in config["vision_cfg"]:
            config["vision_cfg"] |= {"layers": 4, "width": 32, "head_width": 16}
        if name == "mean":
            config["vision_cfg"]["timm_model_name"] = "vit_base_patch16_224"
            config["vision_cfg"]["timm_pool"] = "avg"
        clip = files.build(config)
        with torch.no_grad():
            for parameter_name, parameter in clip.named_parameters():
                if not parameter_name.startswith("logit_"):
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return files.with_linear_attention(clip).eval()

    return make


def images_of(tower: DenseClip, rows: int, columns: int) -> Tensor:
    height, width = tower.patch_px
    return torch.randn(2, 3, rows * height, columns * width, generator=torch.Generator().manual_seed(1))


SETTINGS = ClusteringParams(after_block=2, grid=[3, 4], iterations=2, neighbours=3)


def blocks_of(clip: Any) -> list[nn.Module]:
    visual = clip.visual
    return list(visual.transformer.resblocks if hasattr(visual, "transformer") else visual.trunk.blocks)


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_the_last_block_is_that_of_the_tower_on_unmerged_tokens(make_tower: MakeTower, name: str) -> None:
    """Merging each cell by itself changes nothing, so the last block without a mask is the last block with one."""
    clip = make_tower(name)
    tower = DenseClip(clip)
    images = images_of(tower, 5, 6)
    plain = tower.encode_image(images)
    seen: list[tuple[int, ...]] = []
    hooks = [block.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape))) for block in blocks_of(clip)]
    # as many clusters as cells along one side, almost along the other: all but some cells are by themselves
    sharp = ClusteringParams(after_block=2, grid=[5, 5], iterations=0, neighbours=1)
    set_clustering(clip, sharp)
    tower.encode_image(images)
    prefix = seen[0][1] - 30
    assert {shape[1] for shape in seen[:2]} == {30 + prefix}
    assert seen[2][1] == 25 + prefix
    assert {shape[1] for shape in seen[3:]} == {30 + prefix}
    for hook in hooks:
        hook.remove()
    set_clustering(clip, ClusteringParams(after_block=2, grid=99))
    for one, two in zip(tower.encode_image(images), plain, strict=True):
        assert torch.equal(one, two), "an image of fewer tokens than clusters is not touched"
    set_clustering(clip, None)
    for one, two in zip(tower.encode_image(images), plain, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_a_tower_whose_clusters_are_its_cells(
    make_tower: MakeTower, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole way forced on clusters of one cell each, the tower is the tower: rotations, keys, last block."""
    clip = make_tower(name)
    tower = DenseClip(clip)
    images = images_of(tower, 5, 6)
    valid = torch.ones(2, 5, 6, dtype=torch.bool)
    valid[1, 3:] = False
    each = ClusteringParams(after_block=2, grid=[5, 6], iterations=0, neighbours=1)
    for where in (None, valid):
        set_clustering(clip, None)
        plain = tower.encode_image(images, where)
        set_clustering(clip, each)
        for module in ("open_clip_vit", "timm_vit"):
            monkeypatch.setattr(f"umgclip.model.clip.vision.{module}.applies", lambda *_: True)
        for one, two in zip(tower.encode_image(images, where), plain, strict=True):
            torch.testing.assert_close(one, two, atol=2e-5, rtol=1e-4)
        monkeypatch.undo()


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_padding_has_no_influence(make_tower: MakeTower, name: str) -> None:
    clip = make_tower(name)
    set_clustering(clip, SETTINGS)
    tower = DenseClip(clip)
    images = images_of(tower, 6, 8)
    valid = torch.ones(2, 6, 8, dtype=torch.bool)
    valid[0, 2:], valid[1, :, 5:] = False, False
    inside = F.interpolate(valid[:, None].float(), images.shape[2:], mode="nearest").bool()
    other = torch.where(inside, images, 5 * torch.randn_like(images))
    for one, two in zip(tower.encode_image(images, valid), tower.encode_image(other, valid), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
        assert one.isfinite().all()
    whole = tower.encode_image(images, torch.ones_like(valid))
    for one, two in zip(whole, tower.encode_image(images), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def gradients(clip: nn.Module, tower: DenseClip, images: Tensor) -> list[Tensor]:
    clip.zero_grad()
    image, dense = tower.encode_image(images)
    (image[:, 0].sum() + dense[:, 1].sum()).backward()
    return [p.grad.clone() for p in clip.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["ViT-B-16", "EVA02-B-16"])
def test_recomputed_blocks_have_the_same_gradients(make_tower: MakeTower, name: str) -> None:
    clip = make_tower(name)
    set_clustering(clip, SETTINGS)
    again, images = copy.deepcopy(clip), images_of(DenseClip(clip), 6, 8)
    wanted = gradients(clip, DenseClip(clip), images)
    assert sum(float(g.abs().sum()) > 0 for g in wanted) > 40
    clip.visual.set_grad_checkpointing(True)
    one = gradients(clip, DenseClip(clip), images)
    checkpoint_activations(again)
    two = gradients(again, DenseClip(again), images)
    for expected, *others in zip(wanted, one, two, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch while it traces
@pytest.mark.usefixtures("shapes_unchecked")  # the graph of production, which checks would break into pieces
def test_a_compiled_last_block_has_the_same_gradients(make_tower: MakeTower) -> None:
    clip = make_tower("ViT-B-16")
    set_clustering(clip, SETTINGS)
    images = images_of(DenseClip(clip), 6, 8)
    wanted = gradients(clip, DenseClip(clip), images)
    blocks_of(clip)[-1].compile(dynamic=True, backend="eager")
    for one, two in zip(gradients(clip, DenseClip(clip), images), wanted, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "convpass"])
@pytest.mark.parametrize("name", ["ViT-B-16", "EVA02-B-16"])
def test_adapters_learn_on_clusters(make_tower: MakeTower, name: str, kind: str) -> None:
    clip = make_tower(name)
    set_clustering(clip, SETTINGS)
    images = images_of(DenseClip(clip), 6, 8)
    wanted = DenseClip(clip).encode_image(images)
    grids: list[tuple[int, int]] = []

    def note(*_: object) -> None:
        grid = current_grid()
        assert grid is not None
        grids.append((grid.height, grid.width))

    if kind == "lora":
        clip = add_lora(clip, LoraParams(rank=2, alpha=4, text_tower=False)).get_base_model()
    else:
        add_convpass(clip, ConvpassParams(hidden=4, dropout=0.0))
    for block in blocks_of(clip):
        block.register_forward_pre_hook(note)
    for one, two in zip(DenseClip(clip).encode_image(images), wanted, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    assert grids == [(6, 8), (6, 8), (3, 4), (6, 8)]
    learned = [p for p in clip.parameters() if p.requires_grad]
    gradients(clip, DenseClip(clip), images)
    assert sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learned) >= len(learned) // 4


@pytest.mark.parametrize(("change", "expected"), [({"after_block": 3}, "at most 2"), ({"after_block": 2}, None)])
def test_a_block_must_be_left_for_clusters(make_tower: MakeTower, change: dict[str, int], expected: str | None) -> None:
    settings = SETTINGS.model_copy(update=change)
    if expected is None:
        set_clustering(make_tower("ViT-B-16"), settings)
        return
    with pytest.raises(InputError, match=f"train.clustering.after_block: expected {expected}"):
        set_clustering(make_tower("ViT-B-16"), settings)


def test_other_readouts_refuse_clusters(make_tower: MakeTower) -> None:
    clip = make_tower("ViT-B-16")
    set_clustering(clip, SETTINGS)
    tower = DenseClip(clip)
    images = images_of(tower, 6, 8)
    with pytest.raises(InputError, match="last: expected a model without train.clustering"):
        tower.encode_dense(images, "last")
    with pytest.raises(InputError, match="foveal: expected a model without train.clustering"):
        tower.encode_foveal(images, torch.rand(1, 4), torch.tensor([0]), 1.0)
    torch.testing.assert_close(tower.encode_dense(images, "value"), tower.encode_image(images)[1])
