"""Checkpoints with other names: a model under the names of Hugging Face or of EVA-CLIP gives the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model import files, foreign
from umgclip.model.tower import DenseClip
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


def test_hugging_faces_names(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> None:
    clip = make_clip(3)
    save_file(hugging_face(clip), tmp_path / "model.safetensors")
    weights = foreign.read(tmp_path / "model.safetensors")
    assert weights is not None
    other = make_clip(4)
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
    weights = foreign.read(tmp_path / "epoch_6.pt")
    assert weights is not None
    foreign.load(other, weights, "epoch_6.pt")
    assert_equal(clip, other)
    with pytest.raises(InputError, match="base.model: expected one of open_clip's EVA models"):
        foreign.load(files.build(files.tower_config(TowerParams())), weights, "epoch_6.pt")


def test_open_clips_names_are_not_foreign(make_clip: MakeClip, tmp_path: Path) -> None:
    save_file(make_clip(0).state_dict(), tmp_path / "own.safetensors")
    (tmp_path / "rubbish.pt").write_bytes(b"not weights")
    assert foreign.read(tmp_path / "own.safetensors") is None
    assert foreign.read(tmp_path / "rubbish.pt") is None


def test_what_does_not_fit_is_named(make_clip: MakeClip) -> None:
    clip = make_clip(0)
    weights = hugging_face(clip)
    lacking = {name: value for name, value in weights.items() if "post_layernorm" not in name}
    with pytest.raises(InputError, match=r"base.pretrained: x.pt: expected visual.ln_post.bias \(2 weights\), found"):
        foreign.load(clip, lacking, "x.pt")
    wrong = {**weights, "text_model.final_layer_norm.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"base.pretrained: x.pt: size mismatch for ln_final.weight"):
        foreign.load(clip, wrong, "x.pt")


def test_such_a_file_is_a_base(
    make_clip: MakeClip, tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = files.tower_config(tiny)
    monkeypatch.setattr(files.open_clip, "get_model_config", lambda _: config)
    monkeypatch.setattr(files.open_clip, "create_model", lambda _: _described(files.build(config)))
    clip = make_clip(5)
    save_file(hugging_face(clip), tmp_path / "model.safetensors")
    loaded, found = files.load_pretrained("small-test", str(tmp_path / "model.safetensors"))
    assert_equal(clip, loaded)
    assert found == config
    assert DenseClip(loaded).tokenizer(["a dog"]).shape[1] == tiny.context_length


def _described(clip: Any) -> Any:
    clip.visual.preprocess_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    return clip
