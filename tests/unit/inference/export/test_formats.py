"""What other tools make of an exported model: the same embeddings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip import factory
from peft import PeftModel

from umgclip.cli.exporting import export
from umgclip.errors import InputError
from umgclip.io.atomic import MARKER
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.tower import ClipOutput, DenseClip
from umgclip.params import ClusteringParams, FullParams, LoraParams, TowerParams, TrainParams

MakeTuned = Callable[..., Path]
LORA = TrainParams(lora=LoraParams(rank=4, alpha=8))
FULL = TrainParams(adapter="full", full=FullParams(text_tower=True))
LARGER = LORA.model_copy(update={"image_px": 120, "dense_reach": 1})
CONVPASS = TrainParams(adapter="convpass")
CLUSTERED = LORA.model_copy(update={"clustering": ClusteringParams(after_block=1, grid=4, neighbours=5)})
TEXTS = ["a dog", "a red car and an owl on a wooden floor", ""]


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds to open_clip's models goes with it."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))


@torch.no_grad()
def outputs(root: Path) -> tuple[torch.Tensor, torch.Tensor, ClipOutput]:
    tower = DenseClip(load_tuned(root / "base", root / "train" / "adapter"))
    images = torch.randn(2, 3, *tower.image_hw, generator=torch.Generator().manual_seed(0))
    tokens = files.Tokenizer(tower.context_length)(TEXTS)
    return images, tokens, tower(images, tokens)


@pytest.mark.parametrize("params", [LORA, FULL, LARGER])
@torch.no_grad()
def test_plain_open_clip_gives_the_same_embeddings(
    make_tuned: MakeTuned, tmp_path: Path, unlisted: None, params: TrainParams
) -> None:
    root = make_tuned(params)
    images, tokens, wanted = outputs(root)
    out = tmp_path / "exported"
    summary = export(root, None, "open_clip", out)
    assert ("load with", f'open_clip.create_model("umgclip-tiny", pretrained="{out / files.WEIGHTS}")') in summary.rows
    open_clip.add_model_config(out / "umgclip-tiny.json")
    by_name = open_clip.create_model("umgclip-tiny", pretrained=str(out / files.WEIGHTS))
    by_folder = open_clip.create_model(f"local-dir:{out}")
    for plain in (by_name.eval(), by_folder.eval()):
        assert (plain.encode_image(images, normalize=True) - wanted.image).abs().max() <= 1e-5
        assert (plain.encode_text(tokens, normalize=True) - wanted.text).abs().max() <= 1e-5


@torch.no_grad()
def test_a_known_architecture_needs_no_config(make_tuned: MakeTuned, tmp_path: Path, unlisted: None) -> None:
    small = open_clip.get_model_config("ViT-B-32")
    small["vision_cfg"] |= {"layers": 1, "width": 64, "image_size": 64}
    small["text_cfg"] |= {"layers": 1, "width": 64, "heads": 2}
    (tmp_path / "small-test.json").write_text(json.dumps(small))
    open_clip.add_model_config(tmp_path / "small-test.json")
    root = make_tuned(LORA, small, "small-test")
    images, _, wanted = outputs(root)
    export(root, None, "open_clip", tmp_path / "out")
    assert not list((tmp_path / "out").glob("small*.json"))
    plain = open_clip.create_model("small-test", pretrained=str(tmp_path / "out" / files.WEIGHTS)).eval()
    assert (plain.encode_image(images, normalize=True) - wanted.image).abs().max() <= 1e-5


def test_another_config_gets_a_name_of_its_own(make_tuned: MakeTuned, tmp_path: Path, tiny: TowerParams) -> None:
    root = make_tuned(LORA, {**files.tower_config(tiny), "quick_gelu": True}, "ViT-B-32")
    export(root, None, "open_clip", tmp_path / "out")
    assert (tmp_path / "out" / "ViT-B-32-umgclip.json").is_file()


@torch.no_grad()
def test_the_adapter_loads_with_peft_alone(make_tuned: MakeTuned, tmp_path: Path) -> None:
    root = make_tuned(LORA)
    images, tokens, wanted = outputs(root)
    export(root, None, "peft", tmp_path / "peft")
    names = {MARKER, "adapter_config.json", "adapter_model.safetensors", "umgclip_preprocess.json"}
    assert {path.name for path in (tmp_path / "peft").iterdir()} == names
    base = with_linear_attention(open_clip.create_model(f"local-dir:{root / 'base'}").eval())
    tuned = PeftModel.from_pretrained(base, str(tmp_path / "peft")).get_base_model().eval()
    assert (tuned.encode_image(images, normalize=True) - wanted.image).abs().max() <= 1e-5
    assert (tuned.encode_text(tokens, normalize=True) - wanted.text).abs().max() <= 1e-5


def timm_config(trunk: str, pool: str, proj: str | None, tiny_text: dict[str, Any]) -> dict[str, Any]:
    vision = {"timm_model_name": trunk, "timm_pool": pool, "timm_proj": proj, "image_size": 64}
    return {"embed_dim": 64, "custom_text": True, "vision_cfg": vision, "text_cfg": tiny_text}


@pytest.fixture
def small_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's towers at a size for tests."""
    create = timm.create_model
    sizes: dict[str, dict[str, Any]] = {
        "vit_base_patch16_siglip_224": {"img_size": 64, "embed_dim": 64, "num_heads": 2, "depth": 2},
        "eva02_base_patch16_clip_224": {"img_size": 64, "embed_dim": 64, "num_heads": 2, "depth": 2},
        "convnext_base": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    }
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **{**options, **sizes.get(name, {})})
    )


TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
SIGLIP_TEXT = {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
ONNX = {
    "larger": (LARGER, None),
    "vit-lora": (LORA, None),
    "vit-convpass": (CONVPASS, None),
    "vit-clustered": (CLUSTERED, {"layers": 3}),
    "siglip": (LORA, timm_config("vit_base_patch16_siglip_224", "map", "none", SIGLIP_TEXT) | {"init_logit_bias": -10}),
    "eva": (LORA, timm_config("eva02_base_patch16_clip_224", "token", None, TEXT)),
    "convnext": (LORA, timm_config("convnext_base", "", "linear", TEXT)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", list(ONNX))
@pytest.mark.usefixtures("operators_listed_once")
def test_onnx_agrees_with_torch(
    make_tuned: MakeTuned, tiny: TowerParams, tmp_path: Path, small_timm: None, case: str
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    params, config = ONNX[case]
    if case == "vit-clustered":
        config = files.tower_config(tiny.model_copy(update=config))
    root = make_tuned(params, config, case)
    export(root, None, "onnx", tmp_path / "onnx")
    images, tokens, wanted = outputs(root)
    image = runtime.InferenceSession(str(tmp_path / "onnx" / "image.onnx"), providers=["CPUExecutionProvider"])
    text = runtime.InferenceSession(str(tmp_path / "onnx" / "text.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 2):
        got, dense = image.run(["image", "dense"], {"pixels": images[:count].numpy()})
        assert np.abs(got - wanted.image[:count].numpy()).max() <= 1e-4
        assert np.abs(dense - wanted.dense[:count].numpy()).max() <= 1e-4
    assert np.abs(text.run(["text"], {"tokens": tokens.numpy()})[0] - wanted.text.numpy()).max() <= 1e-4
    said = json.loads((tmp_path / "onnx" / "umgclip.json").read_text())
    assert said["pairwise"] == ("sigmoid" if case == "siglip" else "softmax")
    assert (said["clustering"] is None) == (case != "vit-clustered")
    assert said["image_size_hw"] == list(images.shape[2:])


def test_what_does_not_go_into_a_format_is_said(make_tuned: MakeTuned, tmp_path: Path) -> None:
    convpass, full = make_tuned(CONVPASS), make_tuned(FULL)
    with pytest.raises(InputError, match="--to: expected onnx, because convpass adds layers .* got open_clip"):
        export(convpass, None, "open_clip", tmp_path / "out")
    for root, kind in ((convpass, "convpass"), (full, "full")):
        with pytest.raises(InputError, match=f"expected open_clip or onnx, .* kind lora, not {kind}; got peft"):
            export(root, None, "peft", tmp_path / "out")
    with pytest.raises(InputError, match="not no adapter; got peft"):
        export(full / "base", None, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()
