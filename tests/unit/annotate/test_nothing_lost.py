"""Workers that die, models that fail, images that nobody can annotate: the others come through unchanged."""

import pyarrow.parquet as pq
import pytest
import torch

from umgclip.annotate.annotator import Annotator
from umgclip.annotate.cache.cache import AnswerCache
from umgclip.annotate.cache.fallback import guarded
from umgclip.annotate.cache.lazy_model import NotAnsweredError
from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.rejected import Failure
from umgclip.annotate.worker import ShardWorker
from umgclip.errors import InputError, UmgclipError
from umgclip.io.shards import read_shard


class DeathError(BaseException):
    """What no handler catches, as nothing catches kill -9."""


def quarantine(shard, name):
    rows = pq.read_table(shard.folder / name / "train-000000.quarantine.parquet").to_pylist()
    return {row["key"]: row["reason"] for row in rows}


def keys(shard, name):
    return [raw.key for raw in read_shard(shard.folder / name / "train-000000.tar")]


def samples(shard, name):
    return {raw.key: (raw.json, raw.embeddings) for raw in read_shard(shard.folder / name / "train-000000.tar")}


@pytest.fixture
def intercept(monkeypatch):
    """Put a function between workers and their annotator: it gets the keys of a batch and how to annotate it."""
    annotate = Annotator.__call__

    def put(between):
        def ask(self, batch):
            return between([one.record.key for one in batch], lambda: annotate(self, batch))

        monkeypatch.setattr(Annotator, "__call__", ask)

    return put


@pytest.fixture
def until_done(shard, intercept):
    """Work on a shard, each time by a new worker that dies at some batches; gives how often one died."""

    def work(name, recipe, is_deadly):
        def between(keys, annotate):
            if is_deadly(keys):
                raise DeathError
            return annotate()

        intercept(between)
        for deaths in range(30):
            try:
                shard.annotate(name, ShardWorker(recipe))
            except DeathError:
                continue
            return deaths
        raise AssertionError("it never ends")

    return work


@pytest.fixture
def plain(shard):
    return keys(shard, "plain")


def test_a_worker_that_died_is_followed_by_one_that_gives_the_same_bytes(shard, plain, until_done):
    moments = iter([False, True, False, True])  # batches that it dies at, whichever they are
    assert until_done("out", shard.recipe(), lambda _: next(moments, False)) == 2
    assert shard.bytes_of("out") == shard.bytes_of("plain")
    assert not list((shard.folder / "out").glob(".*"))


def test_an_image_that_ends_its_worker_each_time_is_put_aside(shard, plain, until_done):
    poison = plain[3]
    recipe = shard.recipe(attempts=2)
    assert until_done("out", recipe, lambda batch: poison in batch) == 1 + 2 + 2
    assert quarantine(shard, "out") == {poison: "crashed"}
    assert keys(shard, "out") == [key for key in plain if key != poison]
    untouched = samples(shard, "plain")
    first_batch = {key: value for key, value in samples(shard, "out").items() if key in plain[:2]}
    assert first_batch == {key: untouched[key] for key in plain[:2]}


def test_deaths_of_an_earlier_run_do_not_count(shard, plain, intercept):
    dead = [True, True, False, False, False]

    def between(_keys, annotate):
        if dead.pop(0):
            raise DeathError
        return annotate()

    intercept(between)
    for _ in range(2):
        with pytest.raises(DeathError):
            shard.annotate("out", run="one", attempts=1)
    shard.annotate("out", run="two", attempts=1)
    assert shard.bytes_of("out") == shard.bytes_of("plain")


def test_workers_that_die_before_they_touch_an_image_end_the_run(shard, monkeypatch):
    monkeypatch.setattr("umgclip.annotate.worker.read_batches", lambda *_: (_ for _ in ()).throw(DeathError))
    recipe = shard.recipe(attempts=2)
    for _ in range(3):
        with pytest.raises(DeathError):
            shard.annotate("out", ShardWorker(recipe))
    with pytest.raises(UmgclipError, match="3 workers died over .* before its first sample"):
        shard.annotate("out", ShardWorker(recipe))


def test_what_a_role_cannot_do_at_once_is_tried_one_by_one(shard, plain, monkeypatch):
    tag_images, bad = ClipTeacher.tag_images, []

    def failing(self, images, captions):
        bad[:] = bad or [images[1].tobytes()]
        if any(pixels.tobytes() in bad for pixels in images):
            raise ZeroDivisionError("no\nluck")
        return tag_images(self, images, captions)

    monkeypatch.setattr(ClipTeacher, "tag_images", failing)
    told = shard.annotate("out")
    assert quarantine(shard, "out") == {plain[1]: "tagger_error"}
    assert (told.images, told.failed, told.lost) == (6, {"tagger_error": 1}, {"tagger_error": 1})
    row = pq.read_table(shard.folder / "out" / "train-000000.quarantine.parquet").to_pylist()[0]
    assert row["detail"] == "tagger: error: ZeroDivisionError: no"
    untouched, found = samples(shard, "plain"), samples(shard, "out")
    assert {key: found[key] for key in plain[2:]} == {key: untouched[key] for key in plain[2:]}


def test_what_no_role_is_to_blame_for_is_put_aside_too(shard, plain, intercept):
    def between(keys, annotate):
        if plain[2] in keys:
            raise KeyError("label")
        return annotate()

    intercept(between)
    shard.annotate("out")
    assert quarantine(shard, "out") == {plain[2]: "annotate_error"}


def test_memory_that_runs_out_halves_the_batch():
    sizes = []

    def compute(rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(rows)

    assert guarded(compute, range(7)) == list(range(7))
    assert sizes == [7, 4, 2, 2, 3, 2, 1]
    full = guarded(lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("full")), range(2))
    assert full == [Failure("out_of_memory", "OutOfMemoryError: full")] * 2


def test_a_teacher_that_runs_out_of_memory_goes_on_with_fewer_images(shard, plain, monkeypatch):
    embed, largest = ClipTeacher._embed_images, []

    def small(self, images):
        if len(images) > 25:
            raise torch.OutOfMemoryError("CUDA out of memory")
        largest.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(ClipTeacher, "_embed_images", small)
    shard.annotate("out")
    assert max(largest) <= 25
    assert keys(shard, "out") == plain


@pytest.mark.parametrize("error", [InputError("no weights"), NotAnsweredError("tagger", "m")])
def test_what_every_image_would_meet_ends_the_work(error):
    with pytest.raises(type(error), match=str(error)):
        guarded(lambda _: (_ for _ in ()).throw(error), range(3))


def test_failed_samples_alone_are_done_again(shard, plain, intercept):
    def fail(keys, annotate):
        found = annotate()
        for one in found if plain[0] in keys else []:
            one.failures["tagger"] = Failure("busy", "later")
        return found

    intercept(fail)
    shard.annotate("out")
    assert set(quarantine(shard, "out")) == set(plain[:2])
    asked = []
    intercept(lambda keys, annotate: asked.extend(keys) or annotate())
    told = shard.annotate("out", job_changes={"retry": True})
    assert asked == plain[:2]
    assert told.images == 6
    assert shard.bytes_of("out") == shard.bytes_of("plain")
    assert shard.job("out").marker()["failed"] == 0


def test_embeddings_that_fail_leave_no_half_sample(shard, plain, monkeypatch):
    ask = AnswerCache.ask

    def odd(self, role, model, *columns):
        answers = ask(self, role, model, *columns)
        return [Failure("odd", "x"), *answers[1:]] if role == "image_embedder" else answers

    monkeypatch.setattr(AnswerCache, "ask", odd)
    shard.annotate("out")
    assert set(quarantine(shard, "out").values()) == {"embedder_odd"}
    assert len(keys(shard, "out")) == 6 - 3
