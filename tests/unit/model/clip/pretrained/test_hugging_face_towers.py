"""SigLIP, SigLIP 2 NaFlex and TIPSv2 from Hugging Face's folders give what transformers gives, on random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
import transformers
from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.building import SizedTimm, build, is_plain
from umgclip.model.clip.pretrained.load import load_pretrained
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "intermediate_size": 67, "vocab_size": 60, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
KINDS = ("siglip", "siglip2", "tipsv2")


def theirs_of(kind: str) -> Any:
    """A small model of transformers with random weights, also where zeros and ones would hide mistakes."""
    torch.manual_seed(0)
    if kind == "tipsv2":
        vision = {**SIZES, "image_size": 56, "mlp_ratio": 3}
        config = transformers.Tipsv2Config(text_config=TEXT, vision_config=vision, temperature_init_value=0.02)
        model = transformers.Tipsv2Model(config)
    elif kind == "siglip2":
        vision = {**SIZES, "intermediate_size": 67, "num_patches": 16, "patch_size": 8}
        model = transformers.Siglip2Model(transformers.Siglip2Config(text_config=TEXT, vision_config=vision))
    else:
        vision = {**SIZES, "intermediate_size": 67, "image_size": 32, "patch_size": 8}
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=vision))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any, DenseClip, dict[str, Any]]:
    """The kind, transformers' model, ours of its folder after a save and a load, and the config."""
    theirs = theirs_of(request.param)
    theirs.save_pretrained(tmp_path / "theirs")
    loaded = load_pretrained("of no effect", str(tmp_path / "theirs"))
    (tmp_path / "base").mkdir()
    files.save(tmp_path / "base", loaded.clip, loaded.model_cfg)
    clip, config = files.load(tmp_path / "base")
    return request.param, theirs, DenseClip(clip), config


def patches_of(images: Tensor, patch: int) -> Tensor:
    """Pixels of each patch, row by row, colours last, as transformers' NaFlex processor lays them out."""
    cells = images.unfold(2, patch, patch).unfold(3, patch, patch)  # b, colour, rows, columns, y, x
    return cells.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def their_image(kind: str, theirs: Any, images: Tensor) -> Any:
    if kind == "siglip2":
        grid = torch.tensor([[images.shape[2] // 8, images.shape[3] // 8]] * len(images))
        patches = patches_of(images, 8)
        return theirs.vision_model(patches, torch.ones(patches.shape[:2], dtype=torch.long), grid)
    options = {"interpolate_pos_encoding": True} if kind == "siglip" else {}
    return theirs.vision_model(pixel_values=images, **options)


def images_of(tower: DenseClip, rows: int, columns: int) -> Tensor:
    height, width = tower.patch_px
    return torch.randn(2, 3, rows * height, columns * width, generator=torch.Generator().manual_seed(1))


def tokens_of(tower: DenseClip) -> Tensor:
    tokens = torch.randint(2, 60, (3, tower.context_length), generator=torch.Generator().manual_seed(2))
    tokens[0, 5:], tokens[1, 40:] = 0, 0
    return tokens


@torch.no_grad()
@pytest.mark.parametrize("grid", [(4, 4), (3, 6)])
def test_global_embeddings_are_transformers(both: Any, grid: tuple[int, int]) -> None:
    kind, theirs, tower, _ = both
    images = images_of(tower, *grid)
    expected = F.normalize(their_image(kind, theirs, images).pooler_output, dim=-1)
    torch.testing.assert_close(tower.encode_image(images)[0], expected, atol=1e-5, rtol=1e-5)
    if grid == (4, 4) or kind != "tipsv2":  # plain timm resizes TIPSv2's positions in another way
        torch.testing.assert_close(tower.clip.encode_image(images, normalize=True), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_texts_and_scale_are_transformers(both: Any) -> None:
    kind, theirs, tower, _ = both
    tokens = tokens_of(tower)
    options = {"attention_mask": (tokens != 0).long()} if kind == "tipsv2" else {}
    expected = F.normalize(theirs.get_text_features(tokens, **options).pooler_output, dim=-1)
    torch.testing.assert_close(tower.encode_text(tokens), expected, atol=1e-5, rtol=1e-5)
    if kind == "tipsv2":
        assert tower.logit_scale().item() == pytest.approx(50.0)
        assert torch.equal(tower.encode_text(torch.zeros(1, 64).long()), torch.zeros(1, 32)), "a text without a token"
    else:
        assert tower.pairwise == "sigmoid"


@torch.no_grad()
def test_dense_features_are_each_token_alone(both: Any) -> None:
    kind, theirs, tower, _ = both
    images = images_of(tower, 4, 3)
    dense = tower.encode_image(images)[1]
    assert dense.shape == (2, 32, 4, 3)
    if kind == "tipsv2":  # the value path of the last block
        layer, seen = theirs.vision_model.encoder.layer[-1], []
        hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        their_image(kind, theirs, images)
        hook.remove()
        x = seen[0][:, 2:]
        value = layer.attention.o_proj(layer.attention.v_proj(layer.norm1(x)))
        x = x + layer.layer_scale1(value)
        x = x + layer.layer_scale2(layer.mlp(layer.norm2(x)))
        expected = theirs.vision_model.layernorm(x)
    else:  # the pooling head on each token alone
        tokens, head = their_image(kind, theirs, images).last_hidden_state, theirs.vision_model.head
        rows = [head(tokens[:, [i]], *([torch.ones(2, 1).long()] if kind == "siglip2" else [])) for i in range(12)]
        expected = torch.stack(rows, dim=1)
    expected = F.normalize(expected, dim=-1).transpose(1, 2).unflatten(2, (4, 3))
    torch.testing.assert_close(dense, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_naflex_pads_as_transformers_does(tmp_path: Path) -> None:
    theirs = theirs_of("siglip2")
    theirs.save_pretrained(tmp_path)
    tower = DenseClip(load_pretrained("x", str(tmp_path)).clip)
    images, valid = images_of(tower, 5, 6), torch.zeros(2, 5, 6, dtype=torch.bool)
    grids = torch.tensor([[3, 6], [5, 2]])
    patches, mask = torch.randn(2, 20, 192), torch.zeros(2, 20, dtype=torch.long)
    for number, (rows, columns) in enumerate(grids.tolist()):
        valid[number, :rows, :columns] = True
        patches[number, : rows * columns] = patches_of(images[[number], :, : rows * 8, : columns * 8], 8)[0]
        mask[number, : rows * columns] = 1
    out = theirs.vision_model(patches, mask, grids)
    image, dense = tower.encode_image(images, valid)
    torch.testing.assert_close(image, F.normalize(out.pooler_output, dim=-1), atol=1e-5, rtol=1e-5)
    for number, (rows, columns) in enumerate(grids.tolist()):
        alone = tower.encode_image(images[[number], :, : rows * 8, : columns * 8])
        torch.testing.assert_close(image[[number]], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(dense[[number], :, :rows, :columns], alone[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("adapter", ["lora", "full", "convpass"])
def test_they_are_tuned_and_loaded_again(both: Any, tmp_path: Path, adapter: str) -> None:
    _, _, tower, config = both
    adapted = adapt(tower.clip, TrainParams.model_validate({"adapter": adapter}))
    learner = DenseClip(adapted.clip).train()
    images, tokens = images_of(tower, 4, 4), tokens_of(tower)
    out = learner(images, tokens, torch.ones(2, 4, 4, dtype=torch.bool))
    (out.image[0, 0] + out.dense[0, 1].sum() + out.text[0, 0]).backward()
    learns = [p for p in adapted.clip.parameters() if p.requires_grad]
    assert sum(float(p.grad.abs().sum()) for p in learns if p.grad is not None) > 0
    with torch.no_grad():
        for parameter in learns:
            parameter.add_(0.05 * torch.randn_like(parameter))
    (tmp_path / "tuned").mkdir()
    adapted.save(tmp_path / "tuned" / "adapter")
    again = DenseClip(load_tuned(tmp_path / "base", tmp_path / "tuned" / "adapter"))
    with torch.no_grad():
        for one, two in zip(again(images, tokens), learner.eval()(images, tokens), strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert not is_plain(config)


def test_what_a_folder_may_say(tmp_path: Path) -> None:
    theirs_of("tipsv2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    changes = {
        "hidden_act": "vision_config.hidden_act: expected gelu, got 'True'",
        "use_swiglu_ffn": "got one with use",
    }
    for name, expected in changes.items():
        changed = {**config, "vision_config": {**config["vision_config"], name: True}}
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=expected):
            load_pretrained("x", str(tmp_path))
    with pytest.raises(InputError, match="got TIPSv2; give the folder with its config.json"):
        load_pretrained("ViT-B-32", str(tmp_path / "model.safetensors"))


def test_a_config_cannot_make_timm_read_files(tmp_path: Path) -> None:
    theirs_of("siglip2").save_pretrained(tmp_path)
    config = load_pretrained("x", str(tmp_path)).model_cfg
    assert isinstance(build(config).visual, SizedTimm)
    options = config["vision_cfg"]["timm_options"]
    for change, expected in (
        ({"checkpoint_path": "x.pt"}, "timm_options: expected patch_size, .*, got 'checkpoint_path'"),
        ({"embed_dim": "32"}, "timm_options.embed_dim: expected int, got '32'"),
    ):
        vision = {**config["vision_cfg"], "timm_options": {**options, **change}}
        with pytest.raises(InputError, match=expected):
            build({**config, "vision_cfg": vision})
    with pytest.raises(InputError, match="text_kind: expected mean_pooled, got 'other'"):
        build({**config, "text_cfg": {**config["text_cfg"], "text_kind": "other"}})
