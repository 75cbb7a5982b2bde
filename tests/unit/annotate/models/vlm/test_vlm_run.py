"""`umgclip annotate` with a model behind a server: a run in each grammar, a server that dies, stored answers."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.annotate.models.vlm.conftest import completion, sent, serving
from umgclip.__main__ import app
from umgclip.annotate.cache.identity import answer_identities
from umgclip.cli import session
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import Vocabulary
from umgclip.params import AnnotateParams, DataParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo

ANSWERS = {
    "json": '{"objects": [{"label": "thing", "box": [250, 250, 750, 750]}, {"label": "thing", "box": [9, 9, 1, 1]}]}',
    "bbox_2d": '[{"bbox_2d": [250, 250, 750, 750], "label": "thing"}, {"bbox_2d": [9, 9, 1, 1], "label": "thing"}]',
    "griffon": "thing-[0.250,0.250,0.750,0.750]&thing-[0.900,0.900,0.100,0.100]",
    "texthawk": "<ref>thing</ref><box><250><250>,<750><750></box><box><9><9>,<1><1></box>",
    "shikra": "A thing [0.25,0.25,0.75,0.75;0.9,0.9,0.1,0.1].",
    "molmo": '<points x1="50.0" y1="50.0" x2="9.0" alt="thing">thing</points>',
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Three images for training in two shards, and a benchmark."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    write_demo(DataParams(train_scenes=3, benchmark_scenes=1, benchmark_singles=1, shard_samples=2), folder)
    return folder


@pytest.fixture
def annotate(tiny, teacher_folder, tmp_path, monkeypatch, in_process):
    """Run the command with one model `v` in some roles; gives its outcome and the annotated records."""
    monkeypatch.setattr(session, "tracked", lambda name, _section, _metrics: session.untracked(name))
    monkeypatch.chdir(tmp_path)

    def run(roles, expect=0, out="out", section=None, **model):
        entry = {"kind": "vlm", "model": "m", "retries": 0, "backoff_s": 0.01, "concurrency": 1, **model}
        annotate = {
            "workers": 1, "batch": 1, "min_concept_count": 1, "max_failed": 0.0, "roles": {"filter": "none", **roles},
            "models": {"v": entry}, "rules": {"unknown_tags": "keep"}, **(section or {}),
        }  # fmt: skip
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"annotate": annotate}), encoding="utf-8")
        words = [
            "annotate",
            "--data",
            str(tiny),
            "--base",
            str(teacher_folder),
            "--out",
            out,
            "--metrics",
            f"{out}.json",
        ]
        done = CliRunner().invoke(app, words)
        assert getattr(done.exception, "exit_code", done.exit_code) == expect, f"{done.output}\n{done.exception!r}"
        if expect:
            return str(done.exception), []
        return done.output, [parse_record(raw.json, where=raw.key) for _, raw in read_raw(tmp_path / out / "train")]

    return run


@pytest.mark.parametrize("grammar", list(ANSWERS))
def test_a_run_in_each_grammar(annotate, server, grammar, tmp_path):
    def answer(body, number):
        picture, prompt = sent(body)
        if prompt.startswith("Briefly describe this region"):
            return completion({"caption": "a small thing"} if grammar in ("json", "bbox_2d") else "a small thing")
        return completion(ANSWERS[grammar])

    server.answer = answer
    more = {} if grammar == "molmo" else {"regions": "box_text"}
    roles = {"proposer": "v", "region_tagger": "given", "masker": "none", "tagger": "none", "captioner": "none"}
    roles["region_captioner"] = "none" if grammar == "molmo" else "v"
    _, records = annotate(roles, url=server.url, grammar=grammar, queries=["thing"], **more)
    assert len(records) == 3
    regions = [region for record in records for region in record.regions]
    if grammar != "molmo":
        assert len(regions) == 3
        for record in records:
            (region,) = record.regions
            width, height = record.width, record.height
            assert region.box_xyxy == pytest.approx((width / 4, height / 4, width * 0.75, height * 0.75), abs=0.01)
            assert [text.text for text in region.captions] == ["a small thing"]
    assert {tag.text for region in regions for tag in region.tags} <= {"thing"}
    assert all(tag.source.startswith("vlm/m@unknown#sha256:") for region in regions for tag in region.tags)
    table = pq.read_table(tmp_path / "out" / "train" / "rejected.parquet").to_pylist()
    reasons = Counter((row["role"], row["reason"], row["text"]) for row in table)
    assert reasons[("proposer", "bad_box", "thing")] == 3
    assert len(regions) + reasons[("proposer", "no_region", "thing")] == 3
    counts = json.loads((tmp_path / "out.json").read_text())["train"]
    assert counts["failed"] == 0


def test_describe_anything_captions_the_masks_of_the_segment_tree(annotate, server):
    """Its server is at `/chat/completions`, takes RGBA alone and tells neither an end nor probabilities."""

    def answer(body, number):
        picture, prompt = sent(body)
        if picture.mode != "RGBA":
            return 500, {"error": "Image mode is RGB, but it should be RGBA"}
        assert prompt == "Describe the masked region in detail."
        content = f"A thing of {(picture.getextrema()[3][1] == 255) * 'one'} colour."
        return 200, {"choices": [{"message": {"role": "assistant", "content": content}}]}

    server.answer = answer
    roles = {"region_tagger": "clip_teacher", "region_captioner": "v", "tagger": "none", "captioner": "none"}
    _, records = annotate(roles, url=server.url.removesuffix("/v1"), regions="alpha", logprobs=False)
    captions = {text.text for record in records for region in record.regions for text in region.captions}
    assert captions == {"A thing of one colour."}


def test_a_server_that_dies_in_the_middle_ends_the_run_which_another_server_continues(annotate, tmp_path):
    def answer(body, number):
        if number > 2:
            threading.Thread(target=dying.shutdown).start()
            dying.server_close()
            raise ConnectionError("dies while it answers")
        return completion("thing-[0.250,0.250,0.750,0.750]")

    roles = {"proposer": "v", "region_tagger": "given", "masker": "none", "region_captioner": "none", "tagger": "none",
             "captioner": "none"}  # fmt: skip
    with serving() as dying:
        dying.answer = answer
        error, _ = annotate(roles, expect=1, url=dying.url, grammar="griffon", retries=2)
    assert re.search(r"annotate.models.v: no answer from http://127.0.0.1:\d+/v1 in 3 tries .*; run it again", error)
    with serving() as other:
        other.answer = lambda body, number: completion("thing-[0.250,0.250,0.750,0.750]")
        _, records = annotate(roles, url=other.url, grammar="griffon", retries=2)
        assert [len(record.regions) for record in records] == [1, 1, 1]
        train = [body for body in other.bodies if sent(body)[1].startswith("Identify")]
        assert 1 <= len(train) < 7  # the first shard was done


def test_stored_answers_depend_on_what_a_role_reads_and_on_nothing_else():
    def identities(words=("cat",), **model):
        params = AnnotateParams.model_validate(
            {
                "roles": {"proposer": ["v"], "tagger": ["v"], "captioner": ["v"], "region_captioner": ["v"]},
                "models": {"v": {"kind": "vlm", "url": "http://a/v1", "model": "m", **model}},
            }
        )
        made = answer_identities(params, "base", Vocabulary(tuple(words), ()), {})
        return {name.partition(".")[0]: value for name, value in made.items() if name.endswith(".v")}

    def changed(before, after):
        return {role for role in before if before[role] != after[role]}

    assert changed(identities(), identities(words=("cat", "dog"))) == set()
    for queries in ("caption", "vocabulary", ["cat"]):
        before, after = identities(queries=queries), identities(words=("cat", "dog"), queries=queries)
        assert changed(before, after) == {"proposer"}
    assert changed(identities(), identities(queries="vocabulary")) == {"proposer"}
    assert changed(identities(), identities(names_per_question=7)) == {"proposer"}
    assert changed(identities(), identities(regions="box_text")) == {"region_captioner"}
    assert changed(identities(), identities(url="http://b/v1")) == set()
    assert changed(identities(), identities(grammar="griffon", answers="json")) == {"proposer", "region_captioner"}
    assert changed(identities(), identities(box_unit="pixel")) == {"proposer", "region_captioner"}
    assert changed(identities(), identities(tags_prompt="Tags?")) == {"tagger"}
    assert changed(identities(), identities(answers="text")) == {"tagger", "captioner", "region_captioner"}
