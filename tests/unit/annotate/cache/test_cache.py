"""Stored answers: the same bytes, and no more work than what changed asks for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.cache.files import prune
from umgclip.annotate.proposal import PixelMask, Proposal
from umgclip.annotate.worker import NotAnsweredError, ShardWorker
from umgclip.io.places import Folder
from umgclip.params import LabelParams, MaskerParams
from umgclip.records import Text


def roles(shard, name):
    return set(shard.job(name).marker()["roles"])


def test_what_is_stored_is_not_asked_again_and_gives_the_same_bytes(shard):
    shard.annotate("first", store=shard.store)
    assert shard.bytes_of("first") == shard.bytes_of("plain")
    assert {"proposer", "region_tagger", "masker", "filter", "image_embedder"} <= roles(shard, "first")
    worker = ShardWorker(shard.recipe(store=shard.store))
    told = shard.annotate("second", worker)
    assert shard.bytes_of("second") == shard.bytes_of("plain")
    assert (told.images, told.asked) == (6, {})
    assert not any(part.model.is_loaded for part in worker._annotator.parts.proposers + worker._annotator.parts.taggers)


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"masker": MaskerParams(iterations=5)}, {"masker", "region_embedder", "captioner"}),
        ({"label": LabelParams(threshold=0.01)}, {"region_tagger", "masker", "region_captioner", "captioner"}),
        ({"caption_threshold": 0.9}, set()),
    ],
)
def test_other_params_of_one_role_ask_that_role_and_those_that_see_another_input(shard, changes, asked):
    shard.annotate("before", store=shard.store)
    shard.annotate("after", store=shard.store, **changes)
    shard.annotate("fresh", **changes)
    assert shard.bytes_of("after") == shard.bytes_of("fresh")
    assert not roles(shard, "after") & {"proposer", "tagger", "image_embedder"}
    assert roles(shard, "after") - asked <= {"filter", "region_embedder"}  # of captions or regions that changed
    shard.annotate("back", store=shard.store)
    assert shard.bytes_of("back") == shard.bytes_of("before")


def test_models_can_work_one_after_the_other_in_workers_of_their_own(shard):
    for models in ({"segment_tree"}, {"clip_teacher"}, {"grabcut"}):
        worker = ShardWorker(shard.recipe(loads=frozenset(models), store=shard.store))
        with pytest.raises(NotAnsweredError, match=r"answers of \w+ are not stored"):
            shard.annotate("chain", worker)
        assert shard.job("chain").marker() is None
    shard.annotate("chain", ShardWorker(shard.recipe(loads=frozenset({"clip_teacher"}), store=shard.store)))
    assert shard.bytes_of("chain") == shard.bytes_of("plain")


def test_a_damaged_file_is_no_answer(shard):
    shard.annotate("first", store=shard.store)
    for path in Path(shard.store).rglob("tagger.*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    shard.annotate("second", store=shard.store)
    assert roles(shard, "second") == {"tagger"}
    assert shard.bytes_of("second") == shard.bytes_of("first")


def test_pruning_takes_what_was_not_used_for_longest(tmp_path):
    import os

    for number in range(4):
        path = tmp_path / f"{number}" / "x.parquet"
        path.parent.mkdir()
        path.write_bytes(bytes(100))
        os.utime(path, (number, number))
    assert prune(Folder(tmp_path), 250) == 2
    assert sorted(path.parent.name for path in tmp_path.rglob("*.parquet")) == ["2", "3"]


def proposals():
    rng = np.random.default_rng(0)
    drawn, boxed = (
        Proposal.of_mask(rng.random((20, 30)) > 0.5, 0.1 + 0.2),
        Proposal.of_box((1.25, 2.0, 20.0, 19.0), (20, 30), 1 / 3),
    )
    drawn = replace(drawn, embedding=rng.random(8).astype(np.float32), index=0)
    tags = (Text(text="é", score=1 / 3, source="m", agreed_by=["n"]),)
    return [drawn, replace(boxed, tags=tags, source="m", index=1)]


def test_proposals_come_back_as_they_were():
    given = proposals()
    found = unpack("proposer", pack("proposer", given))
    assert [p.score for p in found] == [0.1 + 0.2, 1 / 3]
    assert np.array_equal(found[0].mask, given[0].mask)
    assert found[0].embedding.tobytes() == given[0].embedding.tobytes()
    assert found[0].embedding.dtype == np.float32
    assert (found[1].box_xyxy, found[1].has_mask, found[1].tags) == (given[1].box_xyxy, False, given[1].tags)


def test_of_a_proposal_given_back_only_what_was_replaced_is_stored():
    given = proposals()
    labelled = replace(given[1], shape=PixelMask(np.eye(20, 30, dtype=bool)), tags=(Text(text="b", source="m"),))
    packed = pack("region_tagger", [labelled], given)
    later = [given[0], replace(given[1], score=0.75, source="another")]
    (kept,) = unpack("region_tagger", packed, later)
    assert np.array_equal(kept.mask, np.eye(20, 30, dtype=bool))
    assert (kept.tags[0].text, kept.score, kept.source, kept.index) == ("b", 0.75, "another", 1)
    assert (given[1].has_mask, given[1].tags[0].text) == (False, "é")
