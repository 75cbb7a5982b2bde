"""What becomes of images that a policy has found something in: at an annotator, and in a run of the stage."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from umgclip.annotate import stage
from umgclip.annotate.annotator import Annotator
from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.models.build import Parts
from umgclip.annotate.rejected import Failure, Rejected, refused
from umgclip.annotate.rules.apply import RuleSet
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.annotate.stage import AnnotateInputs
from umgclip.data.stream import Sample
from umgclip.data.vocabulary import Vocabulary
from umgclip.io.images import decode_image
from umgclip.io.manifest import read_manifest
from umgclip.io.shards import read_shard
from umgclip.params import AnnotateParams
from umgclip.params.annotators import FaceParams, NsfwParams
from umgclip.params.roles import RolesParams, RulesParams
from umgclip.records import ImageRecord, Source

FACE = Rejected("policy", "face", box_xyxy=(1.0, 2.0, 9.0, 9.0), score=0.93, source="face/m@0")
WORSE = replace(FACE, score=0.71)


class Watchful:
    """A policy that finds what it is told, image by image; and an embedder that counts."""

    name = "watch"

    def __init__(self, *answers):
        self.answers, self.embedded = answers, 0

    def judge_images(self, images):
        return list(self.answers[: len(images)])

    def embed_images(self, images):
        self.embedded += len(images)
        return np.zeros((len(images), 4), np.float32)

    def embed_regions(self, images, proposals):
        return list(proposals)


def annotate(policy, refusing=("watch",)):
    parts = Parts(policy, (), (), (), (), (), (), None, policies=(policy,), refusing=frozenset(refusing))
    rules = RuleSet(RulesParams(), Vocabulary((), (), ()), TagNames((), {}))
    pixels = np.zeros((20, 20, 3), np.uint8)
    record = ImageRecord(key="k", width=20, height=20, sha256="0", source=Source(dataset="d"))
    return Annotator(parts, rules)([Sample(pixels.copy(), record) for _ in policy.answers])


def test_an_image_with_a_finding_is_put_aside_and_nobody_else_is_asked():
    policy = Watchful([], [WORSE, FACE], [])
    first, second, third = annotate(policy)
    detail = "2 found, the best with a score of 0.93 by face/m@0"
    assert second.failures == {"policy": Failure("face", detail)}
    assert first.failures == third.failures == {}
    assert policy.embedded == 2


def test_all_of_a_batch_may_go():
    policy = Watchful([FACE], [FACE])
    assert [list(one.failures) for one in annotate(policy)] == [["policy"], ["policy"]]
    assert policy.embedded == 0


def test_a_note_keeps_the_image():
    (one,) = annotate(Watchful([FACE, WORSE]), refusing=())
    assert one.failures == {}
    assert [said.row("k", "s")["reason"] for said in one.rejected] == ["face", "face"]
    assert one.rejected[0].row("k", "s")["x1"] == 9.0


def test_a_policy_that_fails_lets_nothing_through():
    (one,) = annotate(Watchful(Failure("out_of_memory", "m")))
    assert one.failures == {"policy": Failure("out_of_memory", "m")}
    assert refused({"policy_out_of_memory": 1, "policy_face": 2, "policy_nsfw": 3, "unreadable": 4}) == 5


def test_answers_come_back_from_the_store():
    for answer in ([], [FACE, WORSE], [Rejected("policy", "nsfw", score=0.5, source="m")]):
        assert unpack("policy", pack("policy", answer)) == answer


def test_params_name_policies():
    models = {"f": FaceParams(path="y.onnx"), "n": NsfwParams(path="folder")}
    assert AnnotateParams(roles=RolesParams(policy=["f", "n"]), models=models).roles.of("policy") == ["f", "n"]
    assert AnnotateParams().roles.of("policy") == ["none"]
    with pytest.raises(ValueError, match="roles.policy: expected face or nsfw or none, got segment_tree"):
        AnnotateParams(roles=RolesParams(policy=["segment_tree"]))


def largest_red(dataset):
    """The keys of a dataset's images with a clearly red cell of 16 pixels, as the drawn network sees them."""
    found = []
    for shard in read_manifest(dataset).shards:
        for raw in read_shard(dataset / shard.path):
            pixels = decode_image(raw.image, where=raw.key).astype(float) / 255
            height, width = (side // 16 * 16 for side in pixels.shape[:2])
            cells = pixels[:height, :width].reshape(height // 16, 16, width // 16, 16, 3).mean((1, 3))
            found.append((float((cells[..., 0] - cells[..., 1] - cells[..., 2]).max()), raw.key))
    return sorted(found, reverse=True)


@pytest.mark.usefixtures("in_process")
def test_the_stage_puts_images_aside_or_notes_what_was_found(network, demo, base, tmp_path):
    """One policy refuses the reddest third of the demo, another one notes the half."""
    reds = [red for red, _ in largest_red(demo / "train")]
    strict, lenient = FaceParams(path=network, threshold=np.mean(reds[7:9])), np.mean(reds[11:13])
    params = AnnotateParams(
        roles=RolesParams(policy=["strict", "lenient"]),
        models={"strict": strict, "lenient": FaceParams(path=network, threshold=lenient, action="note")},
        workers=1, min_concept_count=1, max_failed=0.0,
    )  # fmt: skip
    summary = stage.run(params, AnnotateInputs(demo, base, tmp_path / "metrics.json"), tmp_path / "out")
    counts = json.loads((tmp_path / "metrics.json").read_text())["train"]
    assert (counts["samples"], counts["failed"], counts["refused"]) == (16, 8, 8)
    assert ("images that a policy refused", "8") in summary.rows
    assert ("images that could not be read or annotated", "0") in summary.rows
    quarantine = pq.read_table(tmp_path / "out" / "train" / "quarantine.parquet").to_pylist()
    ordered = [key for _, key in largest_red(demo / "train")]
    assert {row["key"] for row in quarantine} == set(ordered[:8])
    assert {row["reason"] for row in quarantine} == {"policy_face"}
    rejected = pq.read_table(tmp_path / "out" / "train" / "rejected.parquet").to_pylist()
    notes = [row for row in rejected if row["role"] == "policy"]
    assert {row["key"] for row in notes} == set(ordered[8:12])
    assert all(row["reason"] == "face" and row["x1"] > row["x0"] for row in notes)
