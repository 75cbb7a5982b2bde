"""The network: shapes, matching, names, and a loss that falls."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from umgclip.model.clip import files
from umgclip.model.clip.clustered import set_clustering
from umgclip.model.clip.tower import DenseClip
from umgclip.model.segmenter.ensemble import ensemble
from umgclip.model.segmenter.network import Segmenter, pool_soft
from umgclip.model.segmenter.segments import Segments, resized_to, segments_of
from umgclip.model.segmenter.token_maps import read_maps
from umgclip.params import ClusteringParams
from umgclip.params.segment import SegmentWeights


@pytest.fixture
def tower(tiny):
    torch.manual_seed(0)
    return DenseClip(files.build(files.tower_config(tiny))).eval()


@pytest.fixture
def segmenter(tower, params):
    torch.manual_seed(0)
    return Segmenter(tower, params.decoder)


def test_shapes(segmenter):
    layers = segmenter(torch.randn(2, 3, 96, 96))
    assert [tuple(q.masks.shape) for q in layers] == [(2, 16, 32, 32)] * 2  # before and after the one layer
    assert layers[-1].names.shape == layers[-1].pooled.shape == (2, 16, 64)
    texts = F.normalize(torch.randn(5, 64), dim=-1)
    assert segmenter.logits(layers[-1], texts).shape == (2, 16, 6)


def test_images_of_another_size_and_padding(segmenter):
    valid = torch.ones(1, 7, 5, dtype=torch.bool)
    valid[:, 4:] = False
    assert segmenter(torch.randn(1, 3, 84, 60), valid)[-1].masks.shape == (1, 16, 28, 20)


def test_the_tower_is_frozen_and_no_part_of_what_is_learned(segmenter):
    segmenter(torch.randn(1, 3, 96, 96))[-1].masks.sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in segmenter.tower.parameters())
    assert not any("tower" in name or "visual" in name for name in segmenter.learned())
    segmenter.train()
    assert not segmenter.tower.training


def test_maps_are_those_of_the_forward(tower):
    images = torch.randn(1, 3, 96, 96)
    dense, maps = read_maps(tower, images, None)
    assert torch.equal(dense, tower.encode_image(images)[1])
    assert [tuple(each.shape) for each in maps] == [(1, 64, 8, 8)] * 4
    assert not tower.clip.visual.transformer.resblocks[0]._forward_hooks


def test_maps_of_clusters_are_maps_of_cells(tiny):
    clip = files.build(files.tower_config(tiny.model_copy(update={"layers": 4})))
    set_clustering(clip, ClusteringParams(after_block=1, grid=[3, 5]))
    dense, maps = read_maps(DenseClip(clip).eval(), torch.randn(1, 3, 96, 96), None)
    assert [tuple(each.shape) for each in maps] == [(1, 64, 8, 8)] * 4
    assert torch.equal(maps[-1], dense)


def test_an_untrained_query_is_named_as_the_frozen_tower_names_its_mask(segmenter):
    queries = segmenter(torch.randn(1, 3, 96, 96))[-1]
    assert torch.allclose(queries.names, queries.pooled, atol=1e-6)


def test_soft_pooling_by_hand():
    dense = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=0).reshape(1, 2, 1, 2)
    masks = torch.tensor([[30.0, -30.0], [30.0, 30.0]]).reshape(1, 2, 1, 2)
    expected = torch.tensor([[[1.0, 0.0], [0.5**0.5, 0.5**0.5]]])
    assert torch.allclose(pool_soft(dense, masks), expected, atol=1e-6)


def test_places_asks_a_mask_of_queries_that_start_inside_it():
    from umgclip.model.segmenter.heads import Places

    left = torch.zeros(8, 8)
    left[:, :4] = 1
    corner = torch.zeros(8, 8)
    corner[7, 7] = 1  # covers no place by enough: the nearest is asked
    (queries, rows), (none, _) = Places(most=4)(
        torch.zeros(2, 16, 8, 8), torch.zeros(2, 16, 1), [torch.stack([left, corner]), torch.zeros(1, 8, 8)], []
    )
    assert rows.tolist() == [0, 0, 0, 0, 1]
    assert all(query % 4 < 2 for query in queries[:4].tolist())
    assert queries[4] == 15
    assert len(none) == 1


@pytest.mark.parametrize("matching", ["places", "hungarian"])
def test_matching_finds_the_right_masks(matching, params):
    from umgclip.model.segmenter.heads import Criterion

    torch.manual_seed(0)
    true = torch.zeros(4, 8, 8)
    for number in range(4):
        true[number, 4 * (number // 2) :, 4 * (number % 2) :][:4, :4] = 1
    owner = torch.tensor([2 * (q // 8) + (q % 4) // 2 for q in range(16)])  # quarter that each place lies in
    right = 20 * (true[owner][None] * 2 - 1)
    logits = torch.full((1, 16, 6), -20.0)
    logits[0, range(16), owner] = 20.0
    if matching == "hungarian":  # one query a mask, the others no object
        others = [q for q in range(16) if q not in (0, 2, 8, 10)]
        logits[0, others] = torch.tensor([-20.0] * 5 + [20.0])
    criterion = Criterion(params.decoder, SegmentWeights(), 64, matching)
    labels = [torch.arange(4)]
    good, parts = criterion([right], [logits], [true], labels)
    bad, _ = criterion([right.flip(1)], [logits], [true], labels)
    assert set(parts) == {"cross_entropy", "mask", "dice"}
    assert good < bad / 5  # not 0: points between two places are compared too


def test_masks_without_a_name_teach_masks_only(params):
    from umgclip.model.segmenter.heads import Criterion

    criterion = Criterion(params.decoder, SegmentWeights(), 64, "places")
    masks = torch.zeros(1, 16, 8, 8, requires_grad=True)
    logits = torch.zeros(1, 16, 4, requires_grad=True)
    true = torch.zeros(2, 8, 8)
    true[0, :4], true[1, 4:] = 1, 1
    loss, _ = criterion([masks], [logits], [true], [torch.tensor([1, -100])])
    loss.backward()
    assert masks.grad[0, 8:].abs().sum() > 0
    assert logits.grad[0, :8].abs().sum() > 0
    assert logits.grad[0, 8:].abs().sum() == 0


def test_ensemble_by_hand():
    found = ensemble(torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5]), torch.tensor([True, False]), (0.0, 1.0))
    assert torch.allclose(found, torch.tensor([0.8, 0.5]) / 1.3)
    frozen_only = ensemble(torch.tensor([1.0, 0.0]), torch.tensor([0.3, 0.7]), torch.tensor([True, True]), (1.0, 1.0))
    assert torch.allclose(frozen_only, torch.tensor([0.3, 0.7]))


def halves(names, objectness=(0.9, 0.8, 0.7)):
    """A left half twice, a little different, and a right half."""
    masks = torch.full((3, 4, 4), 0.05)
    masks[0, :, :2], masks[1, :, :2], masks[2, :, 2:] = 0.95, 0.9, 0.9
    return Segments(masks, torch.tensor(names), torch.tensor(objectness))


def test_panoptic_merges_masks_of_the_same_thing():
    ids, names = halves([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8]]).panoptic(0.1, 0.5)
    assert ids.tolist() == [[1, 1, 2, 2]] * 4
    assert names == [1, 1]  # .9 * .95 * (.6, .4) + .8 * .9 * (.1, .9)


def test_panoptic_drops_what_is_not_sure_enough():
    segments = halves([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8]], objectness=(0.9, 0.8, 0.01))
    ids, names = segments.panoptic(0.1, 0.5)
    assert ids.tolist() == [[1, 1, 0, 0]] * 4
    assert len(names) == 1
    assert segments.panoptic(1.0, 0.5)[1] == []


def test_semantic_and_resizing():
    segments = halves([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert segments.semantic().tolist() == [[0, 0, 1, 1]] * 4
    assert resized_to(segments, (8, 12)).semantic().shape == (8, 12)


def test_names_that_training_never_saw_can_be_asked_for(segmenter):
    segmenter.eval()
    texts = F.normalize(torch.randn(7, 64), dim=-1)
    with torch.inference_mode():
        queries = segmenter(torch.randn(2, 3, 96, 96))[-1]
        found = segments_of(segmenter, queries, texts, torch.zeros(7, dtype=torch.bool), (0.4, 0.8))
    assert len(found) == 2
    assert found[0].names.shape == (16, 7)
    assert torch.allclose(found[0].names.sum(dim=1), torch.ones(16))
