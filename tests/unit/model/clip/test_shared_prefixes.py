"""Texts computed on their distinct beginnings: the embeddings and gradients of open_clip's own text tower."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.text import encode_text_nodes, has_nodes
from umgclip.model.clip.texts.shared_prefixes import current_tree, prefix_tree
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams
from umgclip.train.blocks import checkpoint_activations, compile_blocks

MakeClip = Callable[[int], nn.Module]
TEXTS = ["a dog", "a dog on grass and a red car", "a red car", "", "a dog on grass and an owl", "an owl", "a dog"]


def test_a_common_beginning_is_one_node() -> None:
    # 7 begins, 9 ends (the largest id); after the end anything may stand
    tree = prefix_tree(torch.tensor([[7, 1, 9, 0, 0], [7, 1, 2, 9, 0], [7, 2, 9, 5, 5]]))

    beginnings = [(7,), (7, 1), (7, 2), (7, 1, 9), (7, 1, 2), (7, 2, 9), (7, 1, 2, 9)]
    assert sorted(zip(tree.position.tolist(), tree.token.tolist(), strict=True)) == sorted(
        (len(beginning) - 1, beginning[-1]) for beginning in beginnings
    )
    (path,) = tree.paths
    assert tree.token[path[1]].tolist() == [7, 1, 2, 9]
    assert path[0, 0] == path[1, 0] == path[2, 0]
    assert path[0, 1] == path[1, 1] != path[2, 1]
    assert path.flatten()[tree.place].tolist() == list(range(len(beginnings))), "each node at a place of its own"
    assert tree.token[tree.end].tolist() == [9, 9, 9]


def test_texts_of_similar_length_share_a_batch() -> None:
    ends = [3, 4, 5, 8, 9, 12]
    tokens = torch.ones(len(ends), 20, dtype=torch.long)
    tokens[range(len(ends)), ends] = 99
    assert [tuple(path.shape) for path in prefix_tree(tokens).paths] == [(1, 4), (2, 6), (3, 13)]


def learning(clip: nn.Module) -> nn.Module:
    """The clip with a LoRA that is not at zero."""
    adapted = add_lora(copy.deepcopy(clip), LoraParams(rank=4, alpha=8)).get_base_model().train()
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return adapted


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_embeddings_and_gradients_are_open_clips(make_clip: MakeClip, kind: str, checkpointed: bool) -> None:
    plain = files.with_linear_attention(make_clip(0)).train()
    plain = learning(plain) if kind == "lora" else plain
    shared = copy.deepcopy(plain)
    if checkpointed:
        checkpoint_activations(DenseClip(shared))
    tokens = files.Tokenizer(plain.context_length)(TEXTS)
    wanted = F.normalize(plain.encode_text(tokens), dim=-1)
    actual = DenseClip(shared).train().encode_text(tokens)

    torch.testing.assert_close(actual, wanted, atol=1e-6, rtol=1e-5)
    assert current_tree() is None
    direction = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    for embedded in (wanted, actual):
        (embedded * direction).sum().backward()
    gradients = dict(shared.named_parameters())
    compared = 0
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)
            compared += 1
    assert compared == (8 if kind == "lora" else 17)


def test_no_token_is_computed_twice(make_clip: MakeClip) -> None:
    clip = files.with_linear_attention(make_clip(0)).train()
    rows: list[int] = []
    clip.transformer.resblocks[0].mlp.register_forward_hook(lambda _m, inputs, _o: rows.append(inputs[0].shape[1]))
    tokens = files.Tokenizer(clip.context_length)(TEXTS)
    encode_text_nodes(clip, tokens)

    ends = tokens.argmax(dim=1).tolist()
    beginnings = {tuple(row[: n + 1]) for row, end in zip(tokens.tolist(), ends, strict=True) for n in range(end + 1)}
    assert rows == [len(beginnings)]


def test_other_towers_go_the_ordinary_way(make_clip: MakeClip, make_named: Callable[[str], nn.Module]) -> None:
    assert has_nodes(files.with_linear_attention(make_clip(0)))
    assert not has_nodes(make_named("ViT-B-16-SigLIP")), "reads its padding"
    assert not has_nodes(make_clip(0)), "torch's attention, which has no layers of its own"
    compiled = DenseClip(files.with_linear_attention(make_clip(0)))
    compile_blocks(compiled)
    assert not has_nodes(compiled.clip)
