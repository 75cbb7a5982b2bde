"""A base from whatever people have: the same features, the activation and positions of the weights' authors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
import transformers
from open_clip import factory
from safetensors.torch import save_file
from torch import nn

from umgclip.errors import InputError
from umgclip.model.clip import files
from umgclip.model.clip.pretrained.load import Choices, load_pretrained
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TowerParams

MakeClip = Callable[[int], nn.Module]
Register = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def folder(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.mkdir()
    files.save(path, make_clip(0), files.tower_config(tiny))
    return path


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Add a model to open_clip's list for one test."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))

    def add(name: str, config: dict[str, Any]) -> None:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)

    return add


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    found = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, found[name]), name


def hugging_face_clip(folder: Path, act: str = "quick_gelu") -> transformers.CLIPModel:
    """A small CLIP of transformers with random weights, saved as people have it."""
    torch.manual_seed(1)
    text = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 24, "hidden_act": act,
    }  # fmt: skip
    vision = {
        "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3,
        "image_size": 48, "patch_size": 12, "hidden_act": act,
    }  # fmt: skip
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    return model


@torch.no_grad()
@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_a_hugging_face_folder_gives_what_transformers_gives(act: str, tmp_path: Path) -> None:
    theirs = hugging_face_clip(tmp_path / "hf", act)
    (tmp_path / "hf" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 3})
    )
    loaded = load_pretrained("of no effect", str(tmp_path / "hf"))
    assert loaded.quick_gelu is (act == "quick_gelu")
    assert loaded.positions == "plain"
    tower = DenseClip(loaded.clip)
    assert tower.preprocess.std == (0.25, 0.25, 0.25)
    images, tokens = torch.randn(2, 3, 48, 48), tower.tokenizer(["a dog", "sand and a very long text"])
    # transformers reads the text at its first end token, open_clip at the highest id, which is the same token
    image = F.normalize(theirs.get_image_features(pixel_values=images).pooler_output, dim=-1)
    text = F.normalize(theirs.get_text_features(input_ids=tokens).pooler_output, dim=-1)
    torch.testing.assert_close(tower.encode_image(images)[0], image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tower.encode_text(tokens), text, atol=1e-5, rtol=1e-5)
    larger = torch.randn(1, 3, 72, 60)
    expected = theirs.get_image_features(pixel_values=larger, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(tower.encode_image(larger)[0], F.normalize(expected, dim=-1), atol=1e-5, rtol=1e-5)


def test_a_sharded_hugging_face_folder(tmp_path: Path) -> None:
    model = hugging_face_clip(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="100KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").is_file()
    one, many = (load_pretrained("x", str(tmp_path / name)).clip for name in ("one", "many"))
    assert_equal(one, many)


def test_what_a_hugging_face_folder_may_say(tmp_path: Path) -> None:
    hugging_face_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def write(**more: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**config, **more}))

    write(model_type="blip")
    with pytest.raises(InputError, match=r"config.json: model_type: expected clip, siglip, .*, tipsv2, got 'blip'"):
        load_pretrained("x", str(tmp_path))
    write(text_config={**config["text_config"], "hidden_act": "gelu"})
    with pytest.raises(InputError, match=r"hidden_act: expected quick_gelu or gelu in both towers, got \['quick_gelu'"):
        load_pretrained("x", str(tmp_path))
    write(vision_config={**config["vision_config"], "layer_norm_eps": 1e-6})
    with pytest.raises(InputError, match="layer_norm_eps: expected 1e-5, got 1e-06"):
        load_pretrained("x", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json: expected JSON"):
        load_pretrained("x", str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"expected open_clip_config.json, or a Hugging Face CLIP's config.json"):
        load_pretrained("x", str(tmp_path))


def test_a_checkpoint_of_a_named_model(folder: Path, tiny: TowerParams, register: Register, tmp_path: Path) -> None:
    register("small-test", files.tower_config(tiny))
    expected = files.load(folder)[0]
    for wrapped, name in ((False, "a.pt"), (True, "b.pt")):
        weights = {f"module.{n}" if wrapped else n: value for n, value in expected.state_dict().items()}
        torch.save({"state_dict": weights} if wrapped else weights, tmp_path / name)
        loaded = load_pretrained("small-test", str(tmp_path / name))
        assert loaded.model_cfg == files.tower_config(tiny)
        assert loaded.positions == "antialiased"
        assert not loaded.clip.training
        assert_equal(expected, loaded.clip)


def test_no_warning_of_random_weights(
    folder: Path, tiny: TowerParams, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register("small-test", files.tower_config(tiny))
    load_pretrained("small-test", str(folder / files.WEIGHTS))
    load_pretrained("x", str(folder))
    assert "No pretrained weights" not in caplog.text


def test_quick_gelu_of_a_file(folder: Path, tiny: TowerParams, register: Register, tmp_path: Path) -> None:
    plain, quick = files.tower_config(tiny), {**files.tower_config(tiny), "quick_gelu": True}
    register("small-test", plain)
    register("small-test-quickgelu", quick)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "a.safetensors").write_bytes((folder / files.WEIGHTS).read_bytes())
    source = str(alone / "a.safetensors")
    assert not load_pretrained("small-test", source).quick_gelu
    assert load_pretrained("small-test-quickgelu", source).quick_gelu, "by the model's name"
    assert load_pretrained("small-test", source, Choices(quick_gelu=True)).quick_gelu, "by base.quick_gelu"
    assert not load_pretrained("small-test-quickgelu", source, Choices(quick_gelu=False)).quick_gelu
    (alone / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": {}, "text_config": {}}))
    assert load_pretrained("small-test", source).quick_gelu, "transformers' default, by the config beside"
    (alone / files.CONFIG).write_text(json.dumps({"model_cfg": plain}))
    assert not load_pretrained("small-test-quickgelu", source).quick_gelu, "by open_clip's config beside"


@torch.no_grad()
def test_openais_archive_has_quick_gelu(tiny: TowerParams, register: Register, tmp_path: Path) -> None:
    config = {**files.tower_config(tiny), "quick_gelu": True}
    register("small-test", files.tower_config(tiny))
    clip = files.build(config).eval()

    class Archive(nn.Module):
        """Holds weights under the names of a CLIP, in half precision where OpenAI's are."""

        def __init__(self) -> None:
            super().__init__()
            for name, value in clip.state_dict().items():
                owner: nn.Module = self
                *path, leaf = name.split(".")
                for part in path:
                    if not hasattr(owner, part):
                        owner.add_module(part, nn.Module())
                    owner = getattr(owner, part)
                half = value.half() if "conv1" in name else value
                owner.register_parameter(leaf, nn.Parameter(half, requires_grad=False))
            self.register_buffer("context_length", torch.tensor(32))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.script(Archive()).save(str(tmp_path / "ViT.pt"))
    loaded = load_pretrained("small-test", str(tmp_path / "ViT.pt"))
    assert loaded.quick_gelu
    assert {value.dtype for value in loaded.clip.state_dict().values()} == {torch.float32}
    images = torch.randn(1, 3, 96, 96)
    expected = F.normalize(clip.encode_image(images), dim=-1)
    assert F.cosine_similarity(DenseClip(loaded.clip).encode_image(images)[0], expected).item() > 0.9999


@torch.no_grad()
@pytest.mark.parametrize("name", ["small", "EVA02-B-16"])
def test_positions_at_another_side(
    name: str, make_clip: MakeClip, tiny: TowerParams, shallow: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    config = files.tower_config(tiny) if name == "small" else shallow(name)
    clip = make_clip(0) if name == "small" else files.build(config).eval()
    positions = clip.visual.positional_embedding if name == "small" else clip.visual.trunk.pos_embed
    positions.copy_(torch.randn(positions.shape))
    files.save(tmp_path, clip, config)
    tower = DenseClip(clip)
    side = tower.patch_px[0] * (tower.image_hw[0] // tower.patch_px[0] // 2)
    images = torch.randn(1, 3, side, side)
    out = {}
    for positions_by in ("auto", "antialiased", "plain"):
        loaded = load_pretrained("x", str(tmp_path), Choices(positions=positions_by))
        out[positions_by] = DenseClip(loaded.clip).encode_image(images)[0]
        (tmp_path / "again").mkdir(exist_ok=True)
        files.save(tmp_path / "again", loaded.clip, loaded.model_cfg)
        again = files.load(tmp_path / "again")[0]
        torch.testing.assert_close(DenseClip(again).encode_image(images)[0], out[positions_by], atol=1e-6, rtol=0)
    assert torch.equal(out["auto"], out["antialiased"])
    assert not torch.allclose(out["plain"], out["antialiased"], atol=1e-4)


def test_a_siglip_file_keeps_its_mean(
    shallow: Callable[[str], dict[str, Any]], tmp_path: Path, register: Register
) -> None:
    config = shallow("ViT-B-16-SigLIP")
    register("ViT-B-16-SigLIP", config)
    clip = files.build(config)
    save_file({n: v.contiguous() for n, v in clip.state_dict().items()}, tmp_path / "a.safetensors")
    loaded = load_pretrained("ViT-B-16-SigLIP", str(tmp_path / "a.safetensors"))
    assert DenseClip(loaded.clip).preprocess.mean == (0.5, 0.5, 0.5)


def test_a_pretrained_model_that_cannot_be_had(
    folder: Path, tiny: TowerParams, tmp_path: Path, register: Register
) -> None:
    config = files.tower_config(tiny)
    register("wide-test", {**config, "vision_cfg": {**config["vision_cfg"], "width": 96}})
    weights = str(folder / files.WEIGHTS)
    with pytest.raises(
        InputError, match=r"base.model: expected a model of open_clip.list_models\(\), such as .*, got 'ViT-X'"
    ):
        load_pretrained("ViT-X", "openai")
    with pytest.raises(
        InputError,
        match=r"base.pretrained: expected scratch, a file, a folder with .* or one of .*openai.*; got 'opnai'",
    ):
        load_pretrained("ViT-B-32", "opnai")
    with pytest.raises(InputError, match=r"safetensors: visual.\S+: expected .*, got .*; is base.model"):
        load_pretrained("wide-test", weights)
    with pytest.raises(
        InputError, match=r"positional_embedding: expected \(\d+, 512\), got \(\d+, 64\); is base.model"
    ):
        load_pretrained("RN50", weights)
    with pytest.raises(InputError, match=r"base.model: expected open_clip's CLIP .* got 'coca_ViT-B-32', a CoCa"):
        load_pretrained("coca_ViT-B-32", weights)
    (folder / files.CONFIG).write_text(json.dumps({"model_cfg": {"embed_dim": 3}}))
    with pytest.raises(InputError, match="model_cfg: expected vision_cfg and text_cfg"):
        load_pretrained("x", str(folder))
    (folder / files.CONFIG).write_text(json.dumps({"model_cfg": {**config, "vision_cfg": None}}))
    with pytest.raises(InputError, match="model_cfg: expected vision_cfg and text_cfg"):
        load_pretrained("x", str(folder))
    headless = {**config["vision_cfg"], "head_width": 0}
    (folder / files.CONFIG).write_text(json.dumps({"model_cfg": {**config, "vision_cfg": headless}}))
    with pytest.raises(InputError, match="base.model: open_clip cannot build it: .*zero"):
        load_pretrained("x", str(folder))
    (folder / files.CONFIG).write_text(json.dumps({"model_cfg": {**config, "surprise": 1}}))
    with pytest.raises(InputError, match="base.model: open_clip cannot build it: .*surprise"):
        load_pretrained("x", str(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cfg: cfg["vision_cfg"].update(image_size=0), "positions cannot be resized to the model's grid: "),
        (
            lambda cfg: cfg["text_cfg"].update(tokenizer_kwargs={"clean": "exec"}),
            r"tokenizer_kwargs: open_clip refuses them: AssertionError: .*exec",
        ),
        (lambda cfg: cfg["text_cfg"].update(hf_tokenizer_name="theirs"), "base.tokenizer: expected a folder with the"),
    ],
)
def test_a_config_that_nobody_can_follow_is_one_line(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    content = json.loads((folder / files.CONFIG).read_text())
    change(content["model_cfg"])
    (folder / files.CONFIG).write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(InputError, match=said):
        load_pretrained("tiny", str(folder))
