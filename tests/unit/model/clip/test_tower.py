"""Global embeddings are open_clip's own; dense ones equal the value path written out with explicit matrices."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import resize_pos_embed
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.placed import PlacedClip
from umgclip.model.clip.text import text_parameters
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.open_clip_vit import value_path_mask
from umgclip.model.clip.vision.reach import set_reach
from umgclip.params import LoraParams, TowerParams

MakeClip = Callable[[int], nn.Module]
TEXTS = ["a dog", "a red car, an owl and a slice of pizza on a wooden floor", "", "grass"]
SIZES = [(96, 96), (48, 48), (60, 132)]


def naive_block(block: nn.Module, x: Tensor, heads: int, sees: Callable[[int], list[int]]) -> Tensor:
    """One residual block on one image (n, width), head by head and row by row; `sees` are the keys of a row."""
    q, k, v = (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=1)
    size = x.shape[1] // heads
    columns = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        rows = []
        for row in range(len(x)):
            keys = sees(row)
            rows.append((k[keys, part] @ q[row, part] / size**0.5).softmax(0) @ v[keys, part])
        columns.append(torch.stack(rows))
    mixed = torch.cat(columns, dim=1) @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
    x = x + mixed
    hidden = F.gelu(block.ln_2(x) @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias)
    return x + hidden @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias


def naive_image(clip: nn.Module, image: Tensor, tower: TowerParams, reach: int = 0) -> tuple[Tensor, Tensor]:
    """Global (d) and dense (d, h, w) embedding of one image; positions must have the image's grid already."""
    visual, patch = clip.visual, tower.patch_px
    height, width = image.shape[1] // patch, image.shape[2] // patch
    kernel = visual.conv1.weight.flatten(1)
    tokens = [visual.class_embedding]
    for row in range(height):
        for column in range(width):
            piece = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            tokens.append(kernel @ piece.flatten())
    x = visual.ln_pre(torch.stack(tokens) + visual.positional_embedding)
    everything = list(range(len(x)))

    def near(token: int) -> list[int]:
        row, column = divmod(token - 1, width)
        rows = range(max(0, row - reach), min(height, row + reach + 1))
        columns = range(max(0, column - reach), min(width, column + reach + 1))
        return everything if token == 0 else [1 + r * width + c for r in rows for c in columns]

    blocks = list(visual.transformer.resblocks)
    for block in blocks:
        x = naive_block(block, x, tower.heads, near if block is blocks[-1] else lambda _: everything)
    x = F.normalize(visual.ln_post(x) @ visual.proj, dim=-1)
    return x[0], x[1:].T.reshape(-1, height, width)


def resized(clip: nn.Module, tower: TowerParams, size: tuple[int, int]) -> nn.Module:
    """The same weights in a CLIP built for another image size, positions resized by open_clip itself."""
    config = files.tower_config(tower)
    config["vision_cfg"]["image_size"] = size
    other = files.build(config)
    state = {name: value.clone() for name, value in clip.state_dict().items()}
    resize_pos_embed(state, other, antialias=True)
    other.load_state_dict(state)
    return other.eval()


def randomise_lora(model: nn.Module) -> None:
    """peft starts the second factor at zero; random ones make the adapter count."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)


@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_dense_and_global_equal_the_naive_value_path(
    make_clip: MakeClip, tiny: TowerParams, size: tuple[int, int], reach: int
) -> None:
    clip = make_clip(1)
    images = torch.randn(2, 3, *size)
    reference = resized(clip, tiny, size)
    set_reach(clip, reach)
    image, dense = DenseClip(clip).encode_image(images)
    for row in range(2):
        expected_image, expected_dense = naive_image(reference, images[row], tiny, reach)
        torch.testing.assert_close(image[row], expected_image, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(dense[row], expected_dense, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_global_embedding_is_open_clips_own(make_clip: MakeClip, tiny: TowerParams, size: tuple[int, int]) -> None:
    clip = make_clip(2)
    images = torch.randn(3, 3, *size)
    expected = resized(clip, tiny, size).encode_image(images, normalize=True)
    torch.testing.assert_close(DenseClip(clip).encode_image(images)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("reach", [0, 1])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_global_embedding_alone_is_that_beside_the_dense_map(
    make_clip: MakeClip, size: tuple[int, int], reach: int
) -> None:
    adapted = add_lora(make_clip(2), LoraParams(rank=4, alpha=8))
    randomise_lora(adapted)
    clip = adapted.get_base_model()
    set_reach(clip, reach)
    tower, images = DenseClip(clip).eval(), torch.randn(3, 3, *size)
    expected = tower.encode_image(images)[0]
    tokens: list[int] = []
    clip.visual.transformer.resblocks[-1].mlp.register_forward_pre_hook(lambda _, x: tokens.append(x[0].shape[1]))
    torch.testing.assert_close(tower.encode_global(images), expected, atol=1e-6, rtol=0)
    assert tokens == [1], "the last block computes the class token alone"


@torch.no_grad()
def test_sides_of_no_whole_patches_are_refused_for_the_global_embedding_too(make_clip: MakeClip) -> None:
    with pytest.raises(InputError, match=r"images: expected sides in multiples of \(12, 12\), got \(50, 96\)"):
        DenseClip(make_clip(0)).encode_global(torch.randn(1, 3, 50, 96))


@torch.no_grad()
def test_text_at_its_real_length_is_open_clips_own_at_full_length(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(3)
    tokens = files.Tokenizer(tiny.context_length)(TEXTS)
    expected = clip.encode_text(tokens, normalize=True)
    tower = DenseClip(clip)
    torch.testing.assert_close(tower.encode_text(tokens), expected, atol=1e-5, rtol=1e-5)
    # neither companions nor what follows the end-of-text token matter
    torch.testing.assert_close(tower.encode_text(tokens[:1])[0], expected[0], atol=1e-5, rtol=1e-5)
    noisy = tokens.clone()
    noisy[0, tokens[0].argmax() + 1 :] = 7
    torch.testing.assert_close(tower.encode_text(noisy)[0], expected[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_no_text_gives_no_row(make_clip: MakeClip, tiny: TowerParams) -> None:
    out = DenseClip(make_clip(0))(torch.randn(1, 3, 96, 96), files.Tokenizer(tiny.context_length)([]))
    assert out.text.shape == (0, 64)


@torch.no_grad()
def test_merged_and_unmerged_adapters_agree_with_the_naive_path(make_clip: MakeClip, tiny: TowerParams) -> None:
    adapted = add_lora(make_clip(4), LoraParams(rank=4, alpha=8))
    randomise_lora(adapted)
    tower = DenseClip(adapted.get_base_model()).eval()
    images = torch.randn(2, 3, 96, 96)
    tokens = files.Tokenizer(tiny.context_length)(TEXTS)
    unmerged = tower(images, tokens)
    plain = DenseClip(make_clip(4))(images, tokens)
    assert (unmerged.dense - plain.dense).abs().max() > 0.01, "the adapter must count"
    merged_clip = adapted.merge_and_unload()
    merged = DenseClip(merged_clip)(images, tokens)
    for one, other in zip(unmerged, merged, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unmerged.dense[1], naive_image(merged_clip, images[1], tiny)[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unmerged.text, merged_clip.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_adapter_matrix(make_clip: MakeClip, tiny: TowerParams) -> None:
    adapted = add_lora(make_clip(5), LoraParams(rank=4, alpha=8))
    randomise_lora(adapted)
    out = DenseClip(adapted.get_base_model()).train()(
        torch.randn(2, 3, 96, 96), files.Tokenizer(tiny.context_length)(TEXTS)
    )
    (out.dense.flatten(1).std() + (out.image @ out.text.T).std()).backward()
    learning = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    # in_proj, out_proj, c_fc, c_proj, two factors each, in two image blocks and one text block
    assert len(learning) == 4 * 2 * (tiny.layers + tiny.text_layers)
    assert all("lora_" in name for name in learning)
    dead = [name for name, p in learning.items() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


def test_dense_features_alone_reach_the_last_blocks_values(make_clip: MakeClip) -> None:
    clip = make_clip(6)
    clip.requires_grad_(True)
    DenseClip(clip).encode_image(torch.randn(1, 3, 96, 96))[1][0, :4].sum().backward()
    query, key, value = clip.visual.transformer.resblocks[-1].attn.in_proj_weight.grad.chunk(3)
    assert max(query.abs().max(), key.abs().max()) < 1e-5 * value.abs().max(), (
        "the value path has neither queries nor keys"
    )


def test_the_text_tower_can_stay_frozen(make_clip: MakeClip) -> None:
    adapted = add_lora(make_clip(0), LoraParams(rank=2, text_tower=False))
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert names
    assert all(".visual." in name for name in names)


def test_the_value_path_mask() -> None:
    inf = float("inf")
    expected = torch.tensor([[0, 0, 0], [-inf, 0, -inf], [-inf, -inf, 0]])
    assert torch.equal(value_path_mask(3, torch.device("cpu")), expected)


def test_sides_must_be_multiples_of_the_patch(make_clip: MakeClip) -> None:
    with pytest.raises(InputError, match=r"images: expected sides in multiples of \(12, 12\), got \(96, 100\)"):
        DenseClip(make_clip(0)).encode_image(torch.zeros(1, 3, 96, 100))


def test_properties(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    tower = DenseClip(clip)
    assert (tower.patch_px, tower.context_length, tower.embed_dim) == ((12, 12), 32, 64)
    assert tower.logit_scale().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_the_scale_is_what_the_checkpoint_says_unless_it_learns(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    tower = DenseClip(clip).eval()
    clip.logit_scale.data.fill_(math.log(150.0))
    assert tower.logit_scale().item() == pytest.approx(150, rel=1e-5)  # as clip's own forward has it
    assert tower.train().logit_scale().item() == 100.0
    clip.logit_scale.requires_grad_(False)
    assert tower.logit_scale().item() == pytest.approx(150, rel=1e-5)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        (
            "vision_cfg",
            {"attentional_pool": True},
            "expected an image tower with dense features .* got VisionTransformer",
        ),
        ("vision_cfg", {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8}, "got ModifiedResNet; base.model may be"),
        ("vision_cfg", {"timm_model_name": "test_resnet", "timm_pool": "avg"}, "got TimmModel around timm's ResNet"),
    ],
)
def test_other_models_are_refused(tiny: TowerParams, section: str, change: dict[str, Any], message: str) -> None:
    config = files.tower_config(tiny)
    config[section] |= change
    with pytest.raises(InputError, match=message):
        DenseClip(files.build(config))


@pytest.mark.parametrize(
    "change", [{"pool_type": "last"}, {"no_causal_mask": True}, {"proj_bias": True}, {"embed_cls": True}, {}]
)
@torch.no_grad()
def test_any_text_tower_gives_open_clips_embeddings(tiny: TowerParams, change: dict[str, Any]) -> None:
    config = files.tower_config(tiny)
    config["text_cfg"] |= change
    clip = files.build({**config, "custom_text": True}).eval()
    tokens = files.Tokenizer(tiny.context_length)(TEXTS)
    expected = clip.encode_text(tokens, normalize=True)
    torch.testing.assert_close(DenseClip(clip).encode_text(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_frozen_text_tower_runs_once_for_each_text(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip = make_clip(0)
    tower, tokens = DenseClip(clip).train(), files.Tokenizer(tiny.context_length)(TEXTS)
    learned = tower.encode_text(tokens)
    assert learned.requires_grad
    for parameter in text_parameters(clip):
        parameter.requires_grad_(False)
    runs: list[int] = []
    clip.transformer.register_forward_pre_hook(lambda _, inputs: runs.append(len(inputs[0])))
    first, again = tower.encode_text(tokens), tower.encode_text(tokens.flip(0))
    assert sum(runs) == len(TEXTS), "none of them twice"
    assert not again.requires_grad
    torch.testing.assert_close(first, learned.detach())
    assert torch.equal(again.flip(0), first)
    tower.eval().encode_text(tokens)
    assert sum(runs) == 2 * len(TEXTS), "outside training nothing is remembered, for weights may be loaded there"


def test_a_coca_is_refused(tiny: TowerParams) -> None:
    config = {**files.tower_config(tiny), "multimodal_cfg": {}}
    with pytest.raises(InputError, match="base.model: expected open_clip's CLIP or CustomTextCLIP .* got a CoCa"):
        files.build(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_placed_model_answers_as_the_model_does(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    clip = files.build(
        files.tower_config(TowerParams(width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2))
    )
    plain, placed = DenseClip(clip).eval(), PlacedClip(clip, torch.device("cpu"), dtype).eval()
    images, tokens = torch.randn(2, 3, 96, 96), plain.tokenizer(["a dog", "a key"])
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[1, :, 5:] = False
    with torch.inference_mode():
        pairs = [*zip(plain.encode_image(images, valid), placed.encode_image(images, valid), strict=True)]
        pairs += [(plain.encode_text(tokens), placed.encode_text(tokens))]
        pairs += [(plain.encode_global(images), placed.encode_global(images))]
        pairs += [(plain.encode_dense(images, "last"), placed.encode_dense(images, "last"))]
    for one, other in pairs:
        assert other.dtype == torch.float32
        assert (one * other).sum(1).min() > (0.99999 if dtype == torch.float32 else 0.99)


@pytest.mark.parametrize("reach", [0, 1])
def test_only_a_reach_takes_a_mask_of_all_tokens(
    make_clip: MakeClip, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = files.with_linear_attention(make_clip(0))
    set_reach(clip, reach)
    made = []

    def mask(length: int, device: torch.device) -> Tensor:
        made.append(length)
        return value_path_mask(length, device)

    monkeypatch.setattr("umgclip.model.clip.vision.open_clip_vit.value_path_mask", mask)
    DenseClip(clip).encode_image(torch.randn(2, 3, 48, 48))
    assert made == ([1 + (48 // DenseClip(clip).patch_px[0]) ** 2] if reach else [])
