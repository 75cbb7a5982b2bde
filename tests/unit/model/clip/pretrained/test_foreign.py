"""Checkpoints with other names: a model under the names of Hugging Face or of EVA-CLIP gives the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip import files
from umgclip.model.clip.pretrained import foreign
from umgclip.model.clip.pretrained.checkpoint_file import read_checkpoint
from umgclip.params import TowerParams

MakeClip = Callable[[int], nn.Module]


def hugging_face(clip: Any) -> dict[str, Tensor]:
    """The weights as FG-CLIP's checkpoints name them, written out independently of what is tested."""
    own = {name: value.clone() for name, value in clip.state_dict().items()}
    out = {
        "logit_scale": own.pop("logit_scale"),
        "logit_scale_finegraind": torch.tensor(1.0),
        "text_filip_projection.weight": torch.zeros(3, 3),
        "text_model.embeddings.position_embedding_res.weight": torch.zeros(248, 3),
        "visual_projection.weight": own.pop("visual.proj").T.contiguous(),
        "text_projection.weight": own.pop("text_projection").T.contiguous(),
    }
    words = {
        "class_embedding": "embeddings.class_embedding", "conv1": "embeddings.patch_embedding",
        "positional_embedding": "embeddings.position_embedding.weight", "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm", "token_embedding": "embeddings.token_embedding", "ln_final": "final_layer_norm",
        "ln_1": "layer_norm1", "ln_2": "layer_norm2", "c_fc": "fc1", "c_proj": "fc2", "attn": "self_attn",
        "transformer": "encoder", "resblocks": "layers",
    }  # fmt: skip
    for name, value in own.items():
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        theirs = ".".join(words.get(part, part) for part in name.removeprefix("visual.").split("."))
        if "in_proj" in theirs:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                out[f"{tower}.{theirs.replace('in_proj_', f'{part}_proj.')}"] = rows.contiguous()
        else:
            out[f"{tower}.{theirs}"] = value
    return out


def eva(clip: Any) -> dict[str, Tensor]:
    """The weights as EVA-CLIP's checkpoints, and so CLIPSelf's, name them."""
    words = {"fc1_g": "w1", "fc1_x": "w2", "fc2": "w3"}
    out = {"visual.rope.freqs_cos": torch.zeros(2), "visual.rope.freqs_sin": torch.zeros(2)}
    for name, value in clip.state_dict().items():
        theirs = ".".join(words.get(part, part) for part in name.replace("visual.trunk.", "visual.").split("."))
        theirs = theirs.replace("q_proj.bias", "q_bias").replace("v_proj.bias", "v_bias")
        if name.startswith("visual."):
            theirs = theirs.replace("mlp.norm", "mlp.ffn_ln").replace("attn.norm", "attn.inner_attn_ln")
        out[theirs] = value.clone()
    return out


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    found = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, found[name]), name


def test_hugging_faces_names(make_clip: MakeClip, tmp_path: Path) -> None:
    clip, other = make_clip(3), make_clip(4)
    save_file(hugging_face(clip), tmp_path / "model.safetensors")
    weights = read_checkpoint(tmp_path / "model.safetensors").weights
    assert foreign.names_of(weights, "x") == "hugging_face"
    foreign.load(other, weights, "model.safetensors")
    assert_equal(clip, other)


def test_eva_clips_names_and_the_wrappings_of_checkpoints(
    shallow: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    config = shallow("EVA02-B-16")
    torch.manual_seed(0)
    clip, other = files.build(config), files.build(config)
    wrapped = {f"module.{name}": value for name, value in eva(clip).items()}
    torch.save({"epoch": 6, "state_dict": wrapped}, tmp_path / "epoch_6.pt")
    weights = read_checkpoint(tmp_path / "epoch_6.pt").weights
    assert foreign.names_of(weights, "x") == "eva_clip"
    foreign.load(other, weights, "epoch_6.pt")
    assert_equal(clip, other)
    with pytest.raises(InputError, match="base.model: expected one of open_clip's EVA models"):
        foreign.load(files.build(files.tower_config(TowerParams())), weights, "epoch_6.pt")


def test_open_clips_names(make_clip: MakeClip) -> None:
    clip, other = make_clip(0), make_clip(1)
    assert foreign.names_of(clip.state_dict(), "x") == "open_clip"
    foreign.load(other, clip.state_dict(), "own.pt")
    assert_equal(clip, other)


def test_what_does_not_fit_is_named(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    weights = hugging_face(clip)
    lacking = {name: value for name, value in weights.items() if "post_layernorm" not in name}
    with pytest.raises(InputError, match=r"base.pretrained: x.pt: expected visual.ln_post.bias \(2 weights\), found"):
        foreign.load(clip, lacking, "x.pt")
    cut = {name: value for name, value in weights.items() if name != "visual_projection.weight"}
    with pytest.raises(InputError, match=r"x.pt: expected the weights of a whole CLIP, got Hugging Face's SigLIP"):
        foreign.load(clip, cut, "x.pt")
    halved = {name: value for name, value in weights.items() if "layers.0.self_attn.k_proj" not in name}
    with pytest.raises(InputError, match=r"x.pt: expected encoder.layers.0.self_attn.k_proj.weight, found none"):
        foreign.load(clip, halved, "x.pt")
    wrong = {**weights, "text_model.final_layer_norm.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"x.pt: ln_final.weight: expected \(\d+,\), got \(3,\); is base.model"):
        foreign.load(clip, wrong, "x.pt")
    quantised = {**clip.state_dict(), "ln_final.weight": clip.state_dict()["ln_final.weight"].to(torch.int8)}
    with pytest.raises(InputError, match=r"x.pt: ln_final.weight: expected float32, .*, got torch.int8; quantised"):
        foreign.load(clip, quantised, "x.pt")
    more = {**clip.state_dict(), "visual.second_head.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"x.pt: visual.second_head.weight \(1 weights\) has no place; is base.model"):
        foreign.load(clip, more, "x.pt")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (lambda name: name.startswith("visual."), r"an image tower alone \(visual\.\S+, ... and no text tower\)"),
        (lambda name: not name.startswith("visual."), r"a text tower alone \(\S+, ... and no image tower\)"),
        (lambda name: name == "logit_scale", r"other weights \(logit_scale, ...\)"),
    ],
)
def test_half_a_clip_is_told_as_what_it_is(make_clip: MakeClip, keep: Callable[[str], bool], expected: str) -> None:
    weights = {name: value for name, value in make_clip(0).state_dict().items() if keep(name)}
    with pytest.raises(InputError, match=f"x.pt: expected the weights of a whole CLIP, got {expected}"):
        foreign.names_of(weights, "x.pt")


def test_other_models_are_told_by_name() -> None:
    for name, expected in (
        ("visual.layer1.0.conv1.weight", "a ResNet"),
        ("base_model.model.visual.x.lora_A.weight", "a LoRA adapter; merge it"),
        ("blocks.0.norm1.weight", "other weights"),
        ("cls_token", "an image tower alone"),
    ):
        with pytest.raises(InputError, match=f"x.pt: expected the weights of a whole CLIP, got {expected}"):
            foreign.names_of({name: torch.zeros(1)}, "x.pt")
