"""Texts of up to 248 tokens by stretched positions: Long-CLIP's numbers, and short texts as they were."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.pretrained.load import load_pretrained
from umgclip.model.clip.pretrained.text_positions import stretch, stretched_length, with_longer_texts
from umgclip.model.clip.tower import DenseClip
from umgclip.params import BaseParams, TowerParams, TrainParams

MakeClip = Callable[[int], nn.Module]
SHORT = "a dog on the sand"
MIDDLE = "two dogs and a cat on the sand near a red car with a man in it and a bird above"
LONG = ", then ".join(f"{number} red birds on a tree" for number in range(20))


def long_clip(old: Tensor) -> Tensor:
    """Long-CLIP's table, place by place in quarters."""
    rows = list(old[:20])
    for number in range(20, len(old) - 1):
        rows += [((4 - part) * old[number] + part * old[number + 1]) / 4 for part in range(4)]
    rows += [old[-1] + part * (old[-1] - old[-2]) / 4 for part in range(4)]
    return torch.stack(rows)


@pytest.mark.parametrize(("before", "after"), [(77, 248), (64, 196), (32, 68)])
def test_a_stretch_by_four_is_long_clips(before: int, after: int) -> None:
    old = torch.randn(before, 6, generator=torch.Generator().manual_seed(0))
    assert stretched_length(before) == after
    new = stretch(old, after)
    assert torch.equal(new[:20], old[:20])
    torch.testing.assert_close(new, long_clip(old), atol=1e-6, rtol=1e-6)


def test_any_other_length_lies_on_the_line() -> None:
    old = torch.arange(32.0)[:, None] * torch.tensor([[1.0, -2.0]])
    for length in (33, 50, 100):
        expected = torch.tensor([20 + (j - 20) * 12 / (length - 20) for j in range(20, length)])
        torch.testing.assert_close(stretch(old, length)[20:, 0], expected)
        torch.testing.assert_close(stretch(old, length)[20:, 1], -2 * expected)


@torch.no_grad()
def test_short_texts_keep_their_embeddings(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> None:
    clip = make_clip(0)
    before = DenseClip(clip)
    longer, config = with_longer_texts(clip, files.tower_config(tiny), None)
    files.save(tmp_path, longer, config)
    after = DenseClip(files.load(tmp_path)[0])
    assert (after.context_length, config["text_cfg"]["context_length"]) == (68, 68)
    assert len(after.tokenizer.cut([SHORT, MIDDLE])) == 0
    short, middle = (after.encode_text(after.tokenizer([text])) for text in (SHORT, MIDDLE))
    assert int(after.tokenizer([MIDDLE]).argmax()) > 20
    torch.testing.assert_close(short, before.encode_text(before.tokenizer([SHORT])), atol=0, rtol=0)
    assert not torch.allclose(middle, before.encode_text(before.tokenizer([MIDDLE])), atol=1e-4)
    assert files.positions_of(longer) == files.positions_of(clip)


@torch.no_grad()
def test_plain_open_clip_reads_long_texts(make_clip: MakeClip, tiny: TowerParams, tmp_path: Path) -> None:
    longer, config = with_longer_texts(make_clip(0), files.tower_config(tiny), 100)
    files.save(tmp_path, longer, config)
    plain = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    tower = DenseClip(files.load(tmp_path)[0])
    tokens = open_clip.SimpleTokenizer(context_length=100)([SHORT, LONG])
    assert torch.equal(tower.tokenizer([SHORT, LONG]), tokens)
    out = tower.encode_text(tokens)
    torch.testing.assert_close(out, plain.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)
    cut = tower.tokenizer([LONG[:120]])
    assert not torch.allclose(out[1], tower.encode_text(cut)[0], atol=1e-4), "the end of a long text counts"


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_longer_tower_is_tuned_and_loaded(
    make_clip: MakeClip, tiny: TowerParams, tmp_path: Path, adapter: str
) -> None:
    longer, config = with_longer_texts(make_clip(0), files.tower_config(tiny), None)
    files.save(tmp_path, longer, config)
    adapted = adapt(files.load(tmp_path)[0], TrainParams.model_validate({"adapter": adapter}))
    tower = DenseClip(adapted.clip).train()
    learns = [p for p in adapted.clip.parameters() if p.requires_grad]
    tower.encode_text(tower.tokenizer([LONG]))[0, 0].backward()
    with torch.no_grad():
        for parameter in learns:
            parameter.add_(0.1 if parameter.grad is None else 0.1 * torch.randn_like(parameter))
    adapted.save(tmp_path / "adapter")
    tuned = DenseClip(load_tuned(tmp_path, tmp_path / "adapter"))
    with torch.no_grad():
        expected = tower.eval().encode_text(tower.tokenizer([LONG]))
        torch.testing.assert_close(tuned.encode_text(tuned.tokenizer([LONG])), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "EVA02-B-16"])
def test_text_towers_beside_the_image_tower(
    shallow: Callable[[str], dict[str, Any]], make_named: Callable[[str], nn.Module], name: str
) -> None:
    clip: Any = make_named(name)
    longer, config = with_longer_texts(clip, shallow(name), None)
    count = int(clip.context_length)
    assert longer.context_length == config["text_cfg"]["context_length"] == 20 + 4 * (count - 20)
    torch.testing.assert_close(longer.text.positional_embedding, long_clip(clip.text.positional_embedding))
    tokens = torch.randint(1, 1000, (1, longer.context_length), generator=torch.Generator().manual_seed(0))
    tokens[0, 150] = clip.vocab_size - 1
    out = DenseClip(longer).encode_text(tokens)
    torch.testing.assert_close(out, longer.encode_text(tokens, normalize=True), atol=1e-5, rtol=1e-5)
    for key, value in clip.state_dict().items():
        if "positional" not in key:
            assert torch.equal(value, longer.state_dict()[key]), key


def test_a_file_keeps_the_length_that_it_was_stretched_to(
    make_clip: MakeClip, tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer, _ = with_longer_texts(make_clip(0), files.tower_config(tiny), None)
    save_file({name: value.contiguous() for name, value in longer.state_dict().items()}, tmp_path / "a.safetensors")
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    (tmp_path / "small-test.json").write_text(json.dumps(files.tower_config(tiny)))
    open_clip.add_model_config(tmp_path / "small-test.json")
    loaded = load_pretrained("small-test", str(tmp_path / "a.safetensors"))
    assert loaded.model_cfg["text_cfg"]["context_length"] == loaded.clip.context_length == 68
    assert torch.equal(loaded.clip.positional_embedding, longer.positional_embedding)


def test_what_cannot_be_stretched_is_refused(make_clip: MakeClip, tiny: TowerParams) -> None:
    clip, config = make_clip(0), files.tower_config(tiny)
    with pytest.raises(InputError, match="base.context_length: expected more than the model's 32 tokens, got 32"):
        with_longer_texts(clip, config, 32)
    theirs = {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": "roberta-base"}}
    with pytest.raises(
        InputError, match=r"expected original, for only .* this one is Hugging Face's roberta-base; got"
    ):
        with_longer_texts(clip, theirs, None)
    few = TowerParams(**{**tiny.model_dump(), "context_length": 21})
    with pytest.raises(InputError, match="a text tower of at least 22 positions for stretched, got 21"):
        with_longer_texts(files.build(files.tower_config(few)), files.tower_config(few), None)
    with pytest.raises(ValueError, match="context_length: expected null, or text_positions: stretched, got 100"):
        BaseParams(context_length=100)
