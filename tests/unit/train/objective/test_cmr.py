"""Ranking by the margins of the last step, against loops."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from umgclip.errors import InputError
from umgclip.learning.quarantine import Dropped
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TowerParams, TrainParams
from umgclip.train.feed import TrainFeed
from umgclip.train.objective.cmr import gap_sums, next_margins, ranking_loss, state
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.objective.labels import join
from umgclip.train.objective.registry import features_of, labels_of
from umgclip.train.objective.term import GlobalBatch, Similarity, TermInputs
from umgclip.train.objective.total import total
from umgclip.train.texts import MOST_NEGATIVES

GAPS, RANKS = torch.tensor([3.0, 1.0, -2.0, 0.5, 4.0]), torch.tensor([0, 0, 1, 1, 3])


def test_on_the_docstring_example() -> None:
    assert ranking_loss(GAPS[:2], RANKS[:2], torch.tensor([2.0])).item() == 0.5


def test_it_equals_a_loop() -> None:
    margins = torch.tensor([2.0, 1.0, 7.0, 4.5])
    costs = [max(0.0, margins[k].item() - gap) for gap, k in zip(GAPS.tolist(), RANKS.tolist(), strict=True)]
    assert ranking_loss(GAPS, RANKS, margins).item() == pytest.approx(sum(costs) / 5)


def test_margins_are_the_mean_gaps_of_all_processes_and_stay_where_there_is_none() -> None:
    whole = gap_sums(GAPS, RANKS)
    parts = gap_sums(GAPS[:2], RANKS[:2]) + gap_sums(GAPS[2:], RANKS[2:])
    torch.testing.assert_close(whole, parts)
    before = torch.full((MOST_NEGATIVES,), 9.0, dtype=torch.float64)
    after = next_margins(before, whole)
    assert after[:4].tolist() == pytest.approx([2.0, -0.75, 9.0, 4.0])
    assert (after[4:] == 9).all()


def test_gradients_are_right() -> None:
    gaps = GAPS.double().requires_grad_()
    margins = torch.tensor([2.0, 1.0, 7.0, 4.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda g: ranking_loss(g, RANKS, margins), gaps)


def test_no_pair_gives_a_connected_zero() -> None:
    none = torch.zeros(0, requires_grad=True)
    value = ranking_loss(none, torch.zeros(0, dtype=torch.long), state())
    value.backward()
    assert value.item() == 0
    assert next_margins(state(), gap_sums(none, torch.zeros(0, dtype=torch.long))).tolist() == [0.0] * MOST_NEGATIVES


@pytest.mark.usefixtures("shapes_unchecked")
def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"rank: expected shape \(5,\), got \(4,\)"):
        ranking_loss(GAPS, RANKS[:4], torch.ones(4))
    with pytest.raises(InputError, match=r"rank: expected indices in \[0, 3\)"):
        ranking_loss(GAPS, RANKS, torch.ones(3))


def test_a_step_ranks_by_the_margins_of_the_one_before(base: Path, annotations: Path, tiny: TowerParams) -> None:
    """The first step asks the right text to be first, the second to be so by the mean of the first."""
    tower, tokenizer = DenseClip(files.load(base)[0]), files.Tokenizer(tiny.context_length)
    weights = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {"cmr": 1.0})
    params = TrainParams(batch=5, weights=weights)
    batch = next(TrainFeed(params, annotations, Dropped(frozenset(), {}), tower).from_step(0))
    parts = (labels_of(batch, weights, tokenizer),)
    with torch.no_grad():
        embedded = TowerEmbedder(tower)(batch.images, tokenizer([batch.texts[i] for i in parts[0].used.tolist()]))
    features = features_of(embedded.out, batch, weights)
    similarity = Similarity(embedded.scale, embedded.bias)
    remembered = {"cmr": state()}
    seen = TermInputs(features, GlobalBatch(batch, parts, join(parts)), similarity, params, state=remembered)
    first, margins = total(seen)[1]["cmr"], remembered["cmr"].clone()
    second = total(seen)[1]["cmr"]
    gaps = by_hand(batch, features, parts[0].used, embedded.scale)
    assert first == pytest.approx(sum(max(0.0, -gap) for _, gap in gaps) / len(gaps), rel=1e-4)
    for k in range(3):
        of_k = [gap for rank, gap in gaps if rank == k]
        assert margins[k].item() == pytest.approx(sum(of_k) / len(of_k), rel=1e-4, abs=1e-5)
    assert second == pytest.approx(sum(max(0.0, margins[k].item() - gap) for k, gap in gaps) / len(gaps), rel=1e-4)
    assert math.isfinite(second)


def by_hand(batch, features, used: Tensor, scale: Tensor) -> list[tuple[int, float]]:  # noqa: ANN001
    """The number and the gap of each wrong text, by mask and by box, one region after the other."""
    row = {place: number for number, place in enumerate(used.tolist())}
    things = [region for region, stuff in enumerate(batch.is_stuff.tolist()) if not stuff]
    gaps = []
    for region, text in enumerate(batch.region_text.tolist()):
        wrong = batch.negative_text[batch.region_of_negative == region].tolist()
        looks = [features.by_mask[region]] + ([features.by_box[things.index(region)]] if region in things else [])
        for look in looks if text >= 0 else []:
            for k, other in enumerate(wrong):
                right, false = (
                    torch.cosine_similarity(look, features.text[row[place]], dim=0) for place in (text, other)
                )
                gaps.append((k, float(scale * (right - false))))
    assert len(gaps) > 5
    return gaps
