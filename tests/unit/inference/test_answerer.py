"""Answers against the tower's own embeddings."""

import json
import threading

import numpy as np
import pytest
import torch

from umgclip.geometry.masks import encode, to_grid
from umgclip.inference.answerer import ANSWER, Answerer, NotFiniteError
from umgclip.io.atomic import sha256_file
from umgclip.io.images import encode_png
from umgclip.model.adapters.adapt import adapt, add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.readout import pool_boxes, pool_masks
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, TrainParams

MASK = np.zeros((96, 96), bool)
MASK[10:50, 20:70] = True


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def full_request(seed: int) -> dict:
    return {
        "image": encode_png(pixels(seed)),
        "labels": ["dog", "apple", "red car"],
        "boxes": [[0, 0, 48, 48], [10.5, 20, 96, 96]],
        "masks": [encode(MASK).model_dump()],
        "tags": 2,
        "similarity_map": True,
        "region_embeddings": True,
    }


@torch.inference_mode()
def expected(answerer: Answerer, seed: int) -> dict:
    tower = answerer._tower
    image, dense = tower.encode_image(files.to_input(pixels(seed)[None]))
    text = tower.encode_text(files.Tokenizer(tower.context_length)(["a dog", "an apple", "a red car"]))
    concepts = tower.encode_text(files.Tokenizer(tower.context_length)(["a dog", "an apple", "a sky"]))
    shares = torch.tensor([[7.2, 7.2, 40.8, 40.8], [23.325, 31.4, 83.175, 84.6]]) / 96  # .7 of the sides
    boxes = pool_boxes(dense, shares, torch.zeros(2, dtype=torch.long))
    masks = pool_masks(dense, torch.from_numpy(to_grid(MASK, (8, 8)))[None], torch.zeros(1, dtype=torch.long))
    scale = tower.logit_scale()
    best = (scale * image[0] @ concepts.T).softmax(-1).sort(descending=True)
    return {
        "embedding": image[0],
        "label_scores": (scale * image[0] @ text.T).softmax(-1),
        "box_label_scores": (scale * boxes @ text.T).softmax(-1),
        "mask_label_scores": (scale * masks @ text.T).softmax(-1),
        "box_embeddings": boxes,
        "mask_embeddings": masks,
        "similarity_map": torch.einsum("ld,dhw->lhw", text, dense[0]),
        "tags": [
            {"label": answerer.target.vocabulary[index], "score": score}
            for score, index in zip(best.values[:2].tolist(), best.indices[:2].tolist(), strict=True)
        ],
    }


def assert_same(got: dict, wanted: dict) -> None:
    assert [tag["label"] for tag in got["tags"]] == [tag["label"] for tag in wanted["tags"]]
    scores = [[tag["score"] for tag in each["tags"]] for each in (got, wanted)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    for name in set(ANSWER) - {"tags"}:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-5, err_msg=name)


def test_a_full_request_is_answered_with_the_towers_own_numbers(answerer: Answerer):
    [answer] = answerer.answer([answerer.prepare(full_request(1))])
    assert tuple(answer) == ANSWER
    assert_same(answer, expected(answerer, 1))
    assert json.loads(json.dumps(answer)) == answer


def test_what_was_not_asked_for_is_none(answerer: Answerer):
    [answer] = answerer.answer([answerer.prepare({"image": encode_png(pixels(1))})])
    assert len(answer.pop("embedding")) == answerer.embed_dim
    assert set(answer.values()) == {None}


def test_boxes_without_labels_give_embeddings_when_asked(answerer: Answerer):
    request = {"image": encode_png(pixels(1)), "boxes": [[0, 0, 48, 48]], "region_embeddings": True}
    [answer] = answerer.answer([answerer.prepare(request)])
    assert np.shape(answer["box_embeddings"]) == (1, answerer.embed_dim)
    assert answer["box_label_scores"] is None
    assert answer["mask_embeddings"] is None


def test_a_batch_answers_each_request_as_if_it_were_alone(answerer: Answerer):
    bare = {"image": encode_png(pixels(3))}
    own = {"image": encode_png(pixels(4)), "labels": ["sky"], "tags": 1, "vocabulary": ["cow", "tree"]}
    requests = [full_request(1), bare, own, full_request(2)]
    prepared = [answerer.prepare(request) for request in requests]
    together = answerer.answer(prepared)
    alone = [answerer.answer([one])[0] for one in prepared]
    for got, wanted in ((together[0], alone[0]), (together[3], alone[3])):
        assert_same(got, wanted)
    np.testing.assert_allclose(together[1]["embedding"], alone[1]["embedding"], atol=1e-5)
    assert together[2]["label_scores"] == [1.0]
    assert together[2]["tags"][0]["label"] == alone[2]["tags"][0]["label"]
    assert answerer.answer([]) == []


def test_a_batch_is_one_forward_of_the_image_tower(answerer: Answerer, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    encode_image = answerer._tower.encode_image
    monkeypatch.setattr(answerer._tower, "encode_image", lambda x: sizes.append(len(x)) or encode_image(x))
    answerer.answer([answerer.prepare(full_request(seed)) for seed in range(5)])
    assert sizes == [5]


def test_where_nobody_reads_patches_the_last_block_computes_none(answerer: Answerer, monkeypatch: pytest.MonkeyPatch):
    asked = [{name: full_request(seed)[name] for name in ("image", "labels")} for seed in range(3)]
    with_map = [answerer.answer([answerer.prepare({**one, "similarity_map": True})])[0] for one in asked]
    monkeypatch.setattr(answerer._tower, "encode_image", None)  # which makes a dense map
    answers = answerer.answer([answerer.prepare(one) for one in asked])
    for got, wanted in zip(answers, with_map, strict=True):
        assert got["similarity_map"] is None
        np.testing.assert_allclose(got["embedding"], wanted["embedding"], atol=1e-5)
        np.testing.assert_allclose(got["label_scores"], wanted["label_scores"], atol=1e-4)


def test_labels_seen_before_are_not_embedded_again(answerer: Answerer, monkeypatch: pytest.MonkeyPatch):
    answerer.answer([answerer.prepare(full_request(1))])
    sizes = []
    encode_text = answerer._tower.encode_text
    monkeypatch.setattr(answerer._tower, "encode_text", lambda x: sizes.append(len(x)) or encode_text(x))
    request = {**full_request(2), "labels": ["dog", "zebra", "zebra", "dog"]}
    [answer] = answerer.answer([answerer.prepare(request)])
    assert sizes == [1]
    assert answer["label_scores"][0] == answer["label_scores"][3]


def test_labels_that_are_cut_are_counted_and_the_first_is_logged(make_answerer, caplog: pytest.LogCaptureFixture):
    answerer = make_answerer()
    before = answerer.texts_read.read
    for label in ("dog", "dog " * 40, "cat " * 40):
        answerer.embed([label])
    assert (answerer.texts_read.read - before, answerer.texts_read.cut) == (3, 2)
    length = answerer._tower.context_length
    told = f"a label is longer than the model's {length} tokens and is cut, '{('dog ' * 40)[:80]}'"
    assert [record.message for record in caplog.records] == [told]


def test_many_new_labels_are_embedded_in_pieces(answerer: Answerer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("umgclip.inference.answerer._TEXT_BATCH", 3)
    labels = [f"thing {number}" for number in range(8)]
    [answer] = answerer.answer([answerer.prepare({"image": encode_png(pixels(1)), "labels": labels})])
    texts = answerer._reader.tokenize([f"a {label}" for label in labels])
    with torch.inference_mode():
        rows = answerer._tower.encode_text(texts)
    wanted = (answerer._scoring.scale * torch.tensor(answer["embedding"]) @ rows.T).softmax(-1)
    np.testing.assert_allclose(answer["label_scores"], wanted, atol=1e-5)


def test_more_tags_than_concepts_are_all_of_them(answerer: Answerer):
    [answer] = answerer.answer([answerer.prepare({"image": encode_png(pixels(1)), "tags": 50})])
    assert sorted(tag["label"] for tag in answer["tags"]) == ["apple", "dog", "sky"]
    assert sum(tag["score"] for tag in answer["tags"]) == pytest.approx(1.0, abs=1e-5)


def test_threads_get_the_answers_of_their_own_requests(answerer: Answerer):
    prepared = [answerer.prepare(full_request(seed)) for seed in range(4)]
    wanted = [answerer.answer([one])[0] for one in prepared]
    got: dict[int, list] = {}

    def work(index: int) -> None:
        got[index] = [answerer.answer([prepared[index]])[0] for _ in range(5)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, answers in got.items():
        for answer in answers:
            assert_same(answer, wanted[index])


def test_loaded_from_folders_it_is_the_tuned_model(tiny, tmp_path):
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    files.save(base, files.build(config), config)
    tuned = add_lora(files.load(base)[0], LoraParams(rank=2, alpha=4))
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1)
    tuned.save_pretrained(str(adapter))
    loaded = Answerer.load(base, adapter, template="{}", vocabulary=["dog"], device="cpu")
    [answer] = loaded.answer([loaded.prepare({"image": encode_png(pixels(1))})])
    with torch.inference_mode():
        wanted = load_tuned(base, adapter).encode_image(files.to_input(pixels(1)[None]), normalize=True)
    np.testing.assert_allclose(answer["embedding"], wanted[0], atol=1e-5)
    assert loaded.target == ((96, 96), (8, 8), ("dog",), "squash", "bicubic")


@torch.inference_mode()
def test_with_padding_answers_are_about_the_image_alone(make_answerer):
    answerer = make_answerer(resize="pad")
    tower, wide = answerer._tower, np.repeat(pixels(3)[:48], 2, axis=0)[:48]
    mask = MASK[:48]
    request = {
        "image": encode_png(wide),
        "labels": ["dog"],
        "boxes": [[0, 0, 48, 24], [48, 24, 96, 48]],
        "masks": [encode(mask).model_dump()],
        "similarity_map": True,
        "region_embeddings": True,
    }
    # beside an image that fills the canvas
    answer = answerer.answer([answerer.prepare(request), answerer.prepare({"image": encode_png(pixels(4))})])[0]
    canvas = np.zeros((96, 96, 3), np.uint8)
    canvas[:48] = wide
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, :4] = True
    image, dense = tower.encode_image(files.to_input(canvas[None]), valid)
    np.testing.assert_allclose(answer["embedding"], image[0], atol=1e-5)
    assert np.shape(answer["similarity_map"]) == (1, 4, 8)
    inner = dense[:, :, :4]
    middles = torch.tensor([[0.075, 0.075, 0.425, 0.425], [0.575, 0.575, 0.925, 0.925]])
    boxes = pool_boxes(inner, middles, torch.zeros(2, dtype=torch.long))
    np.testing.assert_allclose(answer["box_embeddings"], boxes, atol=1e-5)
    cells = torch.from_numpy(to_grid(mask, (4, 8)))[None]
    masks = pool_masks(inner, cells, torch.zeros(1, dtype=torch.long))
    np.testing.assert_allclose(answer["mask_embeddings"], masks, atol=1e-5)


@pytest.mark.parametrize("kind", ["convpass", "full"])
def test_every_kind_of_adapter_answers(tiny, tmp_path, kind):
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    base, train = tmp_path / "base", tmp_path / "train"
    base.mkdir()
    files.save(base, files.build(config), config)
    adapted = adapt(files.load(base)[0], TrainParams(adapter=kind))
    with torch.no_grad():
        for value in adapted.clip.parameters():
            if value.requires_grad and value.ndim == 2:
                value.add_(0.05 * torch.randn_like(value))
    adapted.save(train / "adapter")
    (train / "train.json").write_text(
        json.dumps({"base_sha256": sha256_file(base / files.WEIGHTS), "params": {"resize": "pad"}})
    )
    loaded = Answerer.load(base, train / "adapter", template="{}", device="cpu")
    assert loaded.target.resize == "pad"
    [answer] = loaded.answer([loaded.prepare({"image": encode_png(pixels(1))})])
    with torch.inference_mode():
        wanted = DenseClip(adapted.clip).eval().encode_image(files.to_input(pixels(1)[None]))[0]
    np.testing.assert_allclose(answer["embedding"], wanted[0], atol=1e-5)


@pytest.mark.parametrize("part", ["visual.conv1.weight", "token_embedding.weight", "logit_scale"])
def test_no_answer_holds_what_is_no_number(make_answerer, part):
    clip = make_answerer()._tower.clip
    with torch.no_grad():
        clip.get_parameter(part).fill_(torch.nan)
    damaged = Answerer(clip, device="cpu")
    with pytest.raises(NotFiniteError, match="numbers that are infinite or none: its weights are damaged"):
        damaged.answer([damaged.prepare(full_request(0) | {"tags": 0})])


def test_another_precision_answers_nearly_the_same(make_answerer):
    plain, half = make_answerer(), make_answerer().computing_in(torch.bfloat16)
    one, other = (model.answer([model.prepare(full_request(0))])[0] for model in (plain, half))
    for field in ("embedding", "label_scores", "box_embeddings", "mask_embeddings", "similarity_map"):
        assert one[field] != other[field], field
        assert np.allclose(one[field], other[field], atol=0.05), field
