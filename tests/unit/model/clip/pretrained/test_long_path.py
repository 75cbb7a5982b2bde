"""FG-CLIP's and FG-CLIP 2's second path for long texts, and Long-CLIP's positions, as their own formulas say."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from umgclip.annotate.cut import cut_captions
from umgclip.base import stage
from umgclip.base.stage import BaseInputs
from umgclip.errors import InputError
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.building import build
from umgclip.model.clip.layout import text_length
from umgclip.model.clip.pretrained.load import Choices, load_pretrained
from umgclip.model.clip.pretrained.text_positions import with_longer_texts
from umgclip.model.clip.text import encode_text_whole, text_parameters
from umgclip.model.clip.tower import DenseClip
from umgclip.params import BaseParams, TowerParams, TrainParams

SHORT, LONG = 24, 36
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}


def clip_of(length: int) -> Any:
    text = {**SIZES, "max_position_embeddings": length}
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    return transformers.CLIPModel(config).eval()


def siglip_of(length: int) -> Any:
    text = {**SIZES, "vocab_size": 60, "max_position_embeddings": length, "bos_token_id": None, "eos_token_id": 1}
    vision = {**SIZES, "num_patches": 16, "patch_size": 8}
    config = transformers.Siglip2Config(text_config={**text, "pad_token_id": 0}, vision_config=vision)
    return transformers.Siglip2Model(config).eval()


@pytest.fixture(params=["fgclip", "fgclip2"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any, Any]:
    """A folder as delivered, and transformers' models that are its short and its long path."""
    torch.manual_seed(0)
    make = clip_of if request.param == "fgclip" else siglip_of
    short, long = make(SHORT), make(LONG)
    with torch.no_grad():
        for parameter in short.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path / "given"
    short.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    tables = {name: torch.randn(LONG, 64) for name in ("ori", "res")}
    weights |= {f"text_model.embeddings.position_embedding_{name}.weight": rows for name, rows in tables.items()}
    head = torch.randn(32 if make is clip_of else 64, 64)
    shared = {name: value for name, value in short.state_dict().items() if "position" not in name}
    shared["text_model.embeddings.position_embedding.weight"] = torch.cat([tables["ori"][:20], tables["res"][20:]])
    if make is clip_of:
        weights["text_filip_projection.weight"] = shared["text_projection.weight"] = head
    else:
        weights["longtext_head.weight"] = shared["text_model.head.weight"] = head
        weights["longtext_head.bias"] = shared["text_model.head.bias"] = torch.randn(64)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "fgclip2"}))
    missing = long.load_state_dict(shared, strict=False).missing_keys
    assert all("vision" in name for name in missing)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    return folder, short, long


def tokens_of(short: Any, counts: list[int]) -> Tensor:
    """Texts of given numbers of tokens, both ends included, padded to the longest."""
    is_clip = isinstance(short, transformers.CLIPModel)
    tokens = torch.zeros(len(counts), LONG, dtype=torch.long)
    for row, count in zip(tokens, counts, strict=True):
        row[:count] = torch.randint(2, 59, (count,), generator=torch.Generator().manual_seed(count))
        row[count - 1] = 49407 if is_clip else 1
    return tokens


def tower_of(folder: Path, base: Path) -> DenseClip:
    loaded = load_pretrained("x", str(folder))
    base.mkdir(exist_ok=True)
    files.save(base, loaded.clip, loaded.model_cfg)
    return DenseClip(files.load(base)[0])


def expected_of(short: Any, long: Any, tokens: Tensor, counts: list[int]) -> Tensor:
    """Each text alone, by the one model or the other."""
    rows = [
        (long if count > SHORT else short).get_text_features(row[None] if count > SHORT else row[None, :SHORT])
        for row, count in zip(tokens, counts, strict=True)
    ]
    return F.normalize(torch.cat([row.pooler_output for row in rows]), dim=-1)


@torch.no_grad()
def test_the_number_of_tokens_chooses_the_path(given: Any, tmp_path: Path) -> None:
    folder, short, long = given
    tower = tower_of(folder, tmp_path / "base")
    assert tower.context_length == LONG
    counts = [30, 5, SHORT, SHORT + 1, LONG, 2]
    tokens = tokens_of(short, counts)
    expected = expected_of(short, long, tokens, counts)
    torch.testing.assert_close(tower.encode_text(tokens), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encode_text_whole(tower.clip, tokens), expected, atol=1e-5, rtol=1e-5)
    for chosen in ([1, 2], [0, 4]):  # of one path alone
        torch.testing.assert_close(tower.encode_text(tokens[chosen]), expected[chosen], atol=1e-5, rtol=1e-5)
    assert tower.encode_text(tokens[:0]).shape == (0, tower.embed_dim)


def test_the_long_path_can_be_left_out(given: Any, tmp_path: Path) -> None:
    folder, short, _ = given
    loaded = load_pretrained("x", str(folder), Choices(long_text=False))
    assert loaded.clip.context_length == SHORT
    assert not any("long_text" in name for name in loaded.clip.state_dict())
    tokens = tokens_of(short, [5, SHORT])[:, :SHORT]
    with torch.no_grad():
        theirs = F.normalize(short.get_text_features(tokens).pooler_output, dim=-1)
        torch.testing.assert_close(DenseClip(loaded.clip).encode_text(tokens), theirs, atol=1e-5, rtol=1e-5)


def test_the_config_knows_both_lengths(given: Any, tmp_path: Path) -> None:
    folder, _, _ = given
    tower_of(folder, tmp_path / "base")
    text_cfg = json.loads((tmp_path / "base" / files.CONFIG).read_text())["model_cfg"]["text_cfg"]
    assert (text_cfg["context_length"], text_length(text_cfg)) == (SHORT, LONG)
    with pytest.raises(InputError, match="expected more than 24 tokens, got 20"):
        loaded = load_pretrained("x", str(folder))
        text = {**loaded.model_cfg["text_cfg"], "long_text": {"context_length": 20}}
        build({**loaded.model_cfg, "text_cfg": text})
    loaded = load_pretrained("x", str(folder))
    with pytest.raises(InputError, match="expected original or short, the model has a path for long texts"):
        with_longer_texts(loaded.clip, loaded.model_cfg, None)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_both_paths_are_tuned(given: Any, tmp_path: Path, adapter: str) -> None:
    folder, short, _ = given
    tower = tower_of(folder, tmp_path / "base")
    adapted = adapt(tower.clip, TrainParams.model_validate({"adapter": adapter}))
    learner = DenseClip(adapted.clip).train()
    tokens = tokens_of(short, [30, 5])
    learner.encode_text(tokens).sum().backward()
    path = adapted.clip.long_text
    assert (path.positions.grad is not None) == (adapter == "full")
    assert {id(p) for p in path.parameters()} <= {id(p) for p in text_parameters(adapted.clip)}
    with torch.no_grad():
        for parameter in adapted.clip.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
        (tmp_path / "tuned").mkdir()
        adapted.save(tmp_path / "tuned" / "adapter")
        again = DenseClip(load_tuned(tmp_path / "base", tmp_path / "tuned" / "adapter"))
        expected = learner.eval().encode_text(tokens)
        torch.testing.assert_close(again.encode_text(tokens), expected, atol=1e-5, rtol=1e-5)


def register(folder: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    factory = open_clip.factory
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    (folder / "small-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "small-test.json")


@torch.no_grad()
def test_long_clips_file_is_one_tower(
    make_clip: Callable[[int], nn.Module], tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer, config = with_longer_texts(make_clip(0), files.tower_config(tiny), None)
    weights = {name: value.clone() for name, value in longer.state_dict().items()}
    weights["positional_embedding_res"] = torch.randn(68, weights["positional_embedding"].shape[1])
    torch.save(weights, tmp_path / "longclip.pt")
    register(tmp_path, files.tower_config(tiny), monkeypatch)
    loaded = load_pretrained("small-test", str(tmp_path / "longclip.pt"))
    expected: Any = copy.deepcopy(longer)
    expected.positional_embedding[20:] = weights["positional_embedding_res"][20:]
    tokens = files.Tokenizer(68)(["a dog", ", then ".join(["red birds on a tree"] * 8)])
    assert loaded.model_cfg["text_cfg"]["context_length"] == 68
    out = DenseClip(loaded.clip).encode_text(tokens)
    torch.testing.assert_close(out, expected.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)


def test_a_file_of_fg_clip_and_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs = clip_of(SHORT)
    weights = dict(theirs.state_dict())
    for name in ("ori", "res"):
        weights[f"text_model.embeddings.position_embedding_{name}.weight"] = torch.randn(LONG, 64)
    weights["text_filip_projection.weight"] = torch.randn(32, 64)
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "fg.safetensors")
    theirs.save_pretrained(tmp_path / "theirs")
    config = load_pretrained("x", str(tmp_path / "theirs")).model_cfg
    register(tmp_path, {**config, "text_cfg": {**config["text_cfg"], "context_length": 77}}, monkeypatch)
    rows = {}
    for kind in ("original", "short"):
        params = BaseParams(pretrained=str(tmp_path / "fg.safetensors"), model="small-test", text_positions=kind)
        rows[kind] = dict(stage.run(params, BaseInputs(tmp_path), tmp_path / kind).rows).get("longest text")
        length = DenseClip(files.load(tmp_path / kind)[0]).context_length
        assert length == (LONG if kind == "original" else SHORT)
    assert rows == {"original": "36 tokens, by the long path from 25 on", "short": None}


def test_captions_are_cut_at_the_long_length(given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, short, _ = given
    if not isinstance(short, transformers.CLIPModel):
        pytest.skip("its tokenizer is in files")
    tower_of(folder, tmp_path / "base")
    captions = {"caption": [" ".join(["dog"] * count) for count in (20, 30, 40)]}
    import pyarrow as pa

    monkeypatch.setattr("umgclip.annotate.cut.tables.batches", lambda *_: iter([pa.record_batch(captions)]))
    assert cut_captions(tmp_path, tmp_path / "base") == (
        "1 of 3 are longer than the base's 36 tokens; it does not read their end"
    )
