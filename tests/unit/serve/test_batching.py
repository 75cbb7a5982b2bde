from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.serve.conftest import picture
from umgclip.io.images import encode_png
from umgclip.serve.batching import Batcher
from umgclip.serve.current import Served
from umgclip.serve.metrics import Metrics
from umgclip.serve.settings import Batching

Make = Callable[..., Batcher]


@pytest.fixture
def make_batcher() -> Iterator[Make]:
    made: list[Batcher] = []

    def make(accepted: Callable[[], int] | None = None, **settings: float) -> Batcher:
        made.append(Batcher(Batching(**settings), Metrics(), accepted))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close(10.0)


@pytest.fixture
def served(make_answerer) -> Served:
    return Served("1", make_answerer(1), datetime.now(UTC))


def held(batcher: Batcher, served: Served, images: int) -> list:
    """Requests that reach the queue while the model is busy with the first of them."""
    served.answerer.go.clear()
    futures = [batcher.submit(served, served.answerer.prepared(0))]
    assert served.answerer.busy.wait(30)
    return futures + [batcher.submit(served, served.answerer.prepared(seed)) for seed in range(1, images)]


def test_what_gathers_behind_a_forward_shares_the_next_ones(make_batcher, served):
    futures = held(make_batcher(max_images=4), served, 8)
    served.answerer.go.set()

    answers = [future.result(30) for future in futures]

    assert served.answerer.batches == [1, 4, 3]
    for seed, answer in enumerate(answers):
        [alone] = served.answerer.answer([served.answerer.prepared(seed)])
        np.testing.assert_allclose(answer["embedding"], alone["embedding"], atol=1e-5)


def test_the_first_of_a_batch_waits_for_others_but_not_for_longer_than_it_may(make_batcher, served):
    patient = make_batcher(max_wait_ms=100_000.0, max_images=2)
    futures = [patient.submit(served, served.answerer.prepared(0))]
    time.sleep(0.1)
    assert not served.answerer.busy.is_set()
    futures.append(patient.submit(served, served.answerer.prepared(1)))
    for future in futures:
        future.result(30)
    make_batcher(max_wait_ms=300.0, max_images=2).submit(served, served.answerer.prepared(2)).result(30)

    assert served.answerer.batches == [2, 1]


def test_when_all_accepted_images_are_there_none_is_waited_for(make_batcher, served):
    accepted = 1
    batcher = make_batcher(lambda: accepted, max_wait_ms=100_000.0)

    batcher.submit(served, served.answerer.prepared(0)).result(30)
    accepted = 3
    futures = [batcher.submit(served, served.answerer.prepared(seed)) for seed in range(3)]
    for future in futures:
        future.result(30)

    assert served.answerer.batches == [1, 3]


def test_with_no_wait_a_lone_image_goes_at_once(make_batcher, served):
    batcher = make_batcher(max_wait_ms=0.0)
    for seed in range(3):
        batcher.submit(served, served.answerer.prepared(seed)).result(30)
    assert served.answerer.batches == [1, 1, 1]


def test_images_of_two_versions_never_share_a_forward(make_batcher, served, make_answerer):
    other = Served("2", make_answerer(2), datetime.now(UTC))
    batcher = make_batcher()
    futures = held(batcher, served, 2)
    futures += [batcher.submit(other, other.answerer.prepared(seed)) for seed in (5, 6)]
    futures.append(batcher.submit(served, served.answerer.prepared(7)))
    served.answerer.go.set()

    for future in futures:
        future.result(30)

    assert served.answerer.batches == [1, 1, 1]  # in their order
    assert other.answerer.batches == [2]


def test_an_image_that_breaks_a_forward_does_not_break_its_neighbours(make_batcher, served, caplog):
    batcher = make_batcher()
    futures = held(batcher, served, 3)
    black = served.answerer.prepare({"image": encode_png(np.zeros((8, 8, 3), np.uint8))})
    bad = batcher.submit(served, black)
    served.answerer.go.set()

    assert all(len(future.result(30)["embedding"]) == 64 for future in futures)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        bad.result(30)
    assert "a forward pass of 3 images failed" in caplog.text
    assert batcher.alive


def test_an_image_that_nobody_waits_for_any_more_costs_nothing(make_batcher, served):
    futures = held(make_batcher(), served, 3)
    assert futures[1].cancel()
    served.answerer.go.set()

    futures[2].result(30)

    assert served.answerer.batches == [1, 1]


def test_closing_answers_what_is_in_the_queue(make_batcher, served):
    batcher = make_batcher(max_images=2)
    futures = held(batcher, served, 6)
    served.answerer.go.set()

    batcher.close(30.0)

    assert all(future.done() for future in futures)
    assert not batcher.alive


# ---------------------------------------------------------------- clients beside each other


def with_labels(served: Served, count: int, first: int = 0):
    labels = [f"thing {index}" for index in range(first, first + count)]
    return served.answerer.prepare({"image": picture(), "labels": labels})


def test_new_labels_are_encoded_in_steps_of_a_forwards_size(make_batcher, served):
    batcher = make_batcher(max_images=4)
    batcher.submit(served, with_labels(served, 10)).result(30)
    batcher.submit(served, with_labels(served, 11)).result(30)
    assert served.answerer.steps == [
        *[("texts", 4), ("texts", 4), ("texts", 2), ("images", 1)],
        *[("texts", 1), ("images", 1)],
    ]


def test_images_of_a_request_share_their_new_labels(make_batcher, served):
    batcher = make_batcher(max_images=8)
    served.answerer.texts_too = True
    served.answerer.go.clear()
    futures = [batcher.submit(served, with_labels(served, 8)) for _ in range(3)]
    served.answerer.go.set()
    answers = [future.result(30) for future in futures]
    assert [work for kind, work in served.answerer.steps if kind == "texts"] == [8]
    assert sum(work for kind, work in served.answerer.steps if kind == "images") == 3
    [alone] = served.answerer.answer([with_labels(served, 8)])
    np.testing.assert_allclose(answers[0]["label_scores"], alone["label_scores"], atol=1e-5)


def test_on_a_cpu_nobody_waits_for_another_clients_batch(make_batcher, served):
    batcher = make_batcher(max_images=16)
    served.answerer.texts_too = True
    served.answerer.go.clear()
    greedy = [batcher.submit(served, with_labels(served, 30, 40 * index), "greedy") for index in range(20)]
    modest = batcher.submit(served, served.answerer.prepare({"image": picture()}), "modest")
    assert served.answerer.busy.wait(30)
    served.answerer.go.set()
    modest.result(30)
    done = list(served.answerer.steps)
    for future in greedy:
        future.result(60)
    first = done.index(("images", 1))
    assert sum(work for _, work in done[:first]) <= 17, "one step that had begun, and one turn"
    assert not greedy[-1].done() or len(served.answerer.steps) > len(done)


def test_labels_that_nobody_waits_for_any_more_are_not_encoded(make_batcher, served):
    batcher = make_batcher(max_images=2)
    served.answerer.texts_too = True
    served.answerer.go.clear()
    future = batcher.submit(served, with_labels(served, 100))
    assert served.answerer.busy.wait(30)
    assert future.cancel()
    served.answerer.go.set()
    batcher.submit(served, served.answerer.prepare({"image": picture()})).result(30)
    assert sum(work for kind, work in served.answerer.steps if kind == "texts") <= 2


def test_labels_that_cannot_be_encoded_fail_their_request_alone(make_batcher, served, monkeypatch):
    batcher = make_batcher()
    monkeypatch.setattr(type(served.answerer), "embed", lambda *_: {}["a kernel"])
    future = batcher.submit(served, with_labels(served, 3))
    with pytest.raises(KeyError):
        future.result(30)
    assert batcher.submit(served, served.answerer.prepare({"image": picture()})).result(30)["embedding"]
    assert batcher.alive
