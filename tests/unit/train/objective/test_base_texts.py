"""The base's text tower decides which texts are the same, whatever the one that learns has become."""

from pathlib import Path

import pytest
import torch

from umgclip.learning.checkpoint import Checkpoints
from umgclip.learning.quarantine import Dropped
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, LossWeights, TrainParams
from umgclip.train import loop
from umgclip.train.feed import TrainFeed
from umgclip.train.objective import region_text
from umgclip.train.objective.base_texts import base_texts

CPU = torch.device("cpu")
ASKED = TrainParams(joint_threshold=0.9, batch=4, steps=2, precision="fp32", lr_peak=1e-2, device="cpu")


@pytest.fixture
def tower(base: Path) -> DenseClip:
    return DenseClip(add_lora(files.load(base)[0], LoraParams(rank=4, alpha=8)).get_base_model())


def test_it_stays_the_base_while_the_tower_learns(tower: DenseClip, base: Path) -> None:
    tokens = tower.tokenizer(["a dog", "a cat on a mat", "a dog"])
    kept = base_texts(tower, ASKED, CPU)
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
        expected = DenseClip(files.load(base)[0]).eval().encode_text(tokens)
        learnt = tower.encode_text(tokens)
    torch.testing.assert_close(kept(tokens), expected)
    assert not kept(tokens).requires_grad
    assert (learnt - expected).abs().max() > 0.01
    assert not any("visual" in name for name, _ in kept._clip.named_parameters()), "no second image tower"


def test_no_copy_where_none_is_needed(tower: DenseClip, base: Path) -> None:
    no_term = LossWeights(region_text=0, pixel=0)
    assert base_texts(tower, TrainParams(), CPU) is None
    assert base_texts(tower, ASKED.model_copy(update={"weights": no_term}), CPU) is None
    frozen = DenseClip(files.load(base)[0].requires_grad_(False))
    assert base_texts(frozen, ASKED, CPU) is None, "its own texts are the base's"


def test_the_terms_ask_the_base(
    tower: DenseClip, annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    joint = region_text.joint_positives

    def watched(text_of: torch.Tensor, texts: torch.Tensor, threshold: float | None) -> torch.Tensor:
        asked.append((texts.clone(), threshold))
        return joint(text_of, texts, threshold)

    monkeypatch.setattr(region_text, "joint_positives", watched)
    fixed = base_texts(tower, ASKED, CPU)
    feed = TrainFeed(ASKED, annotations, Dropped(frozenset(), {}), tower)
    loop.train(tower, feed, ASKED, Checkpoints(tmp_path / "c.pt", {}), lambda _step, _values: None)
    assert [threshold for _, threshold in asked] == [0.9, 0.9]
    batch = list(zip(range(2), feed.from_step(0), strict=False))[1][1]
    names = sorted({batch.texts[place] for place in batch.region_text.tolist() if place >= 0})
    wanted = {row.numpy().round(4).tobytes() for row in fixed(tower.tokenizer(names))}
    assert {row.numpy().round(4).tobytes() for row in asked[1][0]} == wanted
