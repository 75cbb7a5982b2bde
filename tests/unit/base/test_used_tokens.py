"""The cut-down embedding trains as the whole one would."""

import pytest
import torch

from umgclip.base.used_tokens import UsedTokens
from umgclip.model.clip.files import Tokenizer, build, tower_config
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TowerParams

TEXTS = ["a dog", "an owl on sand", ""]


@pytest.fixture
def tower(tiny: TowerParams) -> DenseClip:
    torch.manual_seed(0)
    return DenseClip(build(tower_config(tiny)))


def test_embeddings_are_the_same(tower: DenseClip) -> None:
    before = tower.encode_text(Tokenizer(tower.context_length)(TEXTS))
    used = UsedTokens(tower.clip, tower.context_length, TEXTS)
    assert tower.clip.token_embedding.num_embeddings < 12
    torch.testing.assert_close(tower.encode_text(used(TEXTS)), before, atol=0, rtol=0)


def test_training_moves_the_used_rows_of_the_whole_embedding(tower: DenseClip) -> None:
    whole = tower.clip.token_embedding
    before, tokens = whole.weight.detach().clone(), Tokenizer(tower.context_length)(TEXTS)
    used = UsedTokens(tower.clip, tower.context_length, TEXTS)
    optimizer = torch.optim.AdamW(tower.clip.token_embedding.parameters(), lr=0.1, weight_decay=0.0)
    tower.encode_text(used(TEXTS)).sum().backward()
    optimizer.step()
    trained = tower.encode_text(used(TEXTS))
    used.restore()
    assert tower.clip.token_embedding is whole
    torch.testing.assert_close(tower.encode_text(tokens), trained, atol=0, rtol=0)
    moved = (whole.weight != before).any(dim=1).nonzero()[:, 0].tolist()
    assert moved
    assert set(moved) <= set(tokens.unique().tolist())


def test_an_unannounced_token_is_an_error_and_no_other_word(tower: DenseClip) -> None:
    used = UsedTokens(tower.clip, tower.context_length, ["a dog"])
    with pytest.raises(KeyError, match="owl"):
        used(["an owl"])
