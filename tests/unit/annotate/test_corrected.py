"""What a person corrected stands, whatever models say, and what a person removed is not written again."""

import json

import numpy as np
import pytest

from umgclip.annotate.corrected import corrected, restrained
from umgclip.annotate.draft import Annotated
from umgclip.data.corrections import Correction, open_corrections, parse_correction
from umgclip.data.stream import read_raw
from umgclip.errors import InputError
from umgclip.io.tables import read_columns
from umgclip.records import ImageRecord, Region, Source, Text, parse_record

SHA = "a" * 64


def text(words, source="human", score=1.0):
    return Text(text=words, source=source, score=score)


def region(name, box, label, source="human", **more):
    return Region(id=name, box_xyxy=box, tags=[text(label, source)] if label else [], captions=[], **more)


def record(**more):
    about = {"key": "k", "width": 100, "height": 80, "sha256": SHA, "source": Source(dataset="d")}
    return ImageRecord(**about, **more)


def correction(**more):
    return Correction(key="k", sha256=SHA, width=100, height=80, **more)


def done(given, *, regions=(), tags=(), captions=()):
    """A finished sample: what was given, then what models added; row i of the embeddings is full of i."""
    update = {
        "regions": [*(given.regions or []), *regions],
        "tags": [*(given.tags or []), *tags],
        "captions": [*(given.captions or []), *captions],
    }
    rows = 1 + len(update["regions"])
    return Annotated(given.model_copy(update=update), np.arange(rows, dtype=np.float16)[:, None].repeat(2, 1))


def test_a_persons_parts_replace_what_was_shown_and_nothing_else():
    before = record(
        captions=[text("a cat on a mat", "alt"), text("two cats")],
        tags=[text("dog")],
        regions=[region("a", (0, 0, 9, 9), "dog"), region("b", (50, 0, 60, 9), None)],
        negative_tags=[text("cow"), text("cat")],
    )
    said = correction(
        shown=["a"], regions=[region("a", (0, 0, 9, 9), "cat")], tags=[text("cat")], captions=[text("a cat")],
        negative_tags=[text("dog")],
    )  # fmt: skip
    after = corrected(before, said)
    assert [(r.id, r.tags[0].text if r.tags else None) for r in after.regions] == [("b", None), ("a", "cat")]
    assert [(c.text, c.source) for c in after.captions] == [("a cat on a mat", "alt"), ("a cat", "human")]
    assert [tag.text for tag in after.tags] == ["cat"]
    assert [tag.text for tag in after.negative_tags] == ["cow", "dog"]  # the person says that there is a cat
    assert corrected(before, correction()) == before  # asked for nothing


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        (region("m", (50, 50, 70, 70), "tree", "m"), "human_removed"),  # removed before, under whatever name
        (region("m", (0, 0, 20, 19), "tree", "m"), "human_region"),  # the place of the person's cat
        (region("m", (0, 0, 20, 30), "cat", "m"), "human_region"),  # the cat again, larger
        (region("m", (70, 0, 90, 20), "tree", "m"), None),  # new, and the image is open
        (region("m", (50, 50, 70, 70), None, "m"), None),  # without a label it claims nothing
        (region("m", (0, 0, 100, 80), "grass", "m", is_stuff=True), None),  # another ground than the removed one
        (region("m", (0, 0, 100, 80), "sand", "m", is_stuff=True), "human_removed"),
    ],
)
def test_a_region_of_a_model_against_a_persons_word_is_refused(added, reason):
    said = correction(
        closed=False,
        regions=[region("h", (0, 0, 20, 20), "cat")],
        removed=[region("r", (50, 50, 70, 69), "dog"), region("s", (0, 0, 100, 80), "sand", is_stuff=True)],
    )
    given = corrected(record(), said)
    after = restrained(done(given, regions=[added]), given, said)
    assert [one.id for one in after.record.regions] == (["h"] if reason else ["h", "m"])
    assert [one.reason for one in after.rejected] == ([reason] if reason else [])
    assert after.embeddings[:, 0].tolist() == [0, 1] + ([] if reason else [2])


def test_a_closed_image_gets_no_label_but_stays_open_for_proposals_and_for_what_was_not_asked():
    said = correction(regions=[region("h", (0, 0, 20, 20), "cat")], tags=[text("cat")])
    given = corrected(record(), said)
    models = [region("m", (70, 0, 90, 20), "tree", "m"), region("n", (40, 0, 60, 20), None, "m")]
    after = restrained(
        done(given, regions=models, tags=[text("tree", "m")], captions=[text("a tree", "m")]), given, said
    )
    assert [one.id for one in after.record.regions] == ["h", "n"]
    assert [tag.text for tag in after.record.tags] == ["cat"]
    assert [one.text for one in after.record.captions] == ["a tree"]  # captions were not asked for
    assert [(one.role, one.reason) for one in after.rejected] == [
        ("proposer", "human_closed"),
        ("tagger", "human_closed"),
    ]
    assert after.embeddings[:, 0].tolist() == [0, 1, 3]


def test_a_caption_that_names_what_is_not_there_is_refused():
    said = correction(negative_tags=[text("Tree")], removed_captions=[text("a red house")])
    given = record()
    captions = [text(words, "m") for words in ("a cat under a tree", "a red house", "a street", "two treehouses")]
    after = restrained(done(given, captions=captions), given, said)
    assert [one.text for one in after.record.captions] == ["a street", "two treehouses"]
    assert [one.reason for one in after.rejected] == ["human_removed"] * 2


def records_of(folder):
    return {raw.key: parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)}


def test_the_next_annotate_applies_the_file_and_says_what_is_gone(in_process, run_stage, tmp_path):
    plain = records_of(run_stage("plain") / "train")
    first = next(one for one in plain.values() if any(region.tags for region in one.regions))
    second = next(one for one in plain.values() if one.key not in (first.key, list(plain)[-1]))
    shown = [one for one in first.regions if one.tags]
    human = region("h0", (1.0, 2.0, 30.0, 40.0), "zebra crossing")
    about = {"width": first.width, "height": first.height}
    said = [
        Correction(
            key=first.key, sha256=first.sha256, **about, shown=[one.id for one in shown], regions=[human],
            removed=shown, tags=[text("zebra crossing")],
        ),
        Correction(key="lost", sha256="b" * 64, **about, tags=[]),
        Correction(
            key=second.key, sha256=second.sha256, width=second.width + 1, height=second.height,
            shown=[one.id for one in second.regions], regions=[human], tags=[text("zebra crossing")],
        ),
        Correction(key=list(plain)[-1], sha256="c" * 64, **about, tags=[]),
    ]  # fmt: skip
    file = tmp_path / "corrections.jsonl"
    file.write_bytes(b"".join(one.to_json() for one in said))
    out = run_stage("corrected", corrections=str(file))
    after = records_of(out / "train")
    mine = after[first.key]
    assert [one for one in mine.regions if one.tags] == [human]
    assert [(tag.text, tag.source) for tag in mine.tags] == [("zebra crossing", "human")]
    assert {key: one for key, one in after.items() if key != first.key} == {
        key: one for key, one in plain.items() if key != first.key
    }
    assert "zebra crossing" in json.loads((out / "vocabulary.json").read_text())["things"]
    fates = json.loads((out / "corrections.json").read_text())
    assert {name: fates[name] for name in ("applied", "unusable", "failed", "replaced", "gone")} == {
        "applied": 1, "unusable": 1, "failed": 0, "replaced": 1, "gone": 1,
    }  # fmt: skip
    assert [(one["key"], one["fate"]) for one in fates["not_applied"]] == [
        ("lost", "gone"), (second.key, "unusable"), (list(plain)[-1], "replaced"),
    ]  # fmt: skip
    expected = f"{second.width} x {second.height}, got {second.width + 1} x {second.height}"
    assert fates["not_applied"][1]["detail"] == f"width, height: expected {expected}"
    assert json.loads((tmp_path / "corrected.metrics.json").read_text())["corrections"]["applied"] == 1
    refused = read_columns(out / "train" / "rejected.parquet", ["key", "reason"]).to_pylist()
    reasons = {row["reason"] for row in refused if row["key"] == first.key}
    assert reasons & {"human_removed", "human_region", "human_closed"}
    assert records_of(out / "benchmark") == records_of(tmp_path / "plain" / "benchmark")


def test_a_held_out_name_of_a_person_is_no_label(in_process, run_stage, few, tmp_path):
    raw = parse_record(next(read_raw(few / "train"))[1].json, where="first")
    said = Correction(
        key=raw.key, sha256=raw.sha256, width=raw.width, height=raw.height,
        regions=[region("h", (1.0, 2.0, 30.0, 40.0), "fox")],
    )  # fmt: skip
    (tmp_path / "corrections.jsonl").write_bytes(said.to_json())
    out = run_stage("held", corrections=str(tmp_path), held_out=["fox"])
    assert records_of(out / "train")[raw.key].regions[0] == said.regions[0].model_copy(
        update={"tags": [], "negatives": None}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "annotate.corrections: expected .* found none"),
        (b"{oops\n", "corrections.jsonl:1: expected a correction as JSON"),
        (2 * Correction(key="k", sha256=SHA, width=4, height=4).to_json(), ":2: expected each image once, got 'aaa"),
        (
            Correction(key="k", sha256=SHA, width=4, height=4).to_json().replace(b'"version":1', b'"version":2'),
            ":1: line: Value error, version: expected 1, got 2",
        ),
        (b'{"sha256":"%s","key":"k","width":4,"height":4,"colour":1}\n' % SHA.encode(), ":1: colour: Extra"),
    ],
)
def test_a_bad_file_is_refused_before_the_work(content, message, in_process, run_stage, tmp_path):
    if content is not None:
        (tmp_path / "corrections.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        run_stage("out", corrections=str(tmp_path / "corrections.jsonl"))
    assert not (tmp_path / "out").exists()


def test_lines_are_found_where_they_are(tmp_path):
    said = [
        Correction(key=f"k{n}", sha256=f"{n:064x}", width=9, height=9, tags=[text("ü" * n)] if n else None)
        for n in range(4)
    ]
    (tmp_path / "corrections.jsonl").write_bytes(b"\n".join(one.to_json() for one in said))
    corrections = open_corrections(tmp_path)
    assert len(corrections) == 4
    assert [corrections.find(one.sha256) for one in reversed(said)] == list(reversed(said))
    assert corrections.find(SHA) is None
    assert list(corrections.each()) == said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 9}, r"region h: expected a box inside 9 x 80 pixels, got \(0.0, 0.0, 20.0, 9.0\)$"),
        ({"regions": "twice"}, "regions.id: expected each id once, got 'h' 2 times$"),
    ],
)
def test_what_was_spoilt_by_hand_is_refused_with_its_line(change, message):
    value = json.loads(correction(regions=[region("h", (0, 0, 20, 9), "cat")]).to_json())
    value |= {name: 2 * value["regions"] if new == "twice" else new for name, new in change.items()}
    with pytest.raises(InputError, match="corrections.jsonl:3: line: Value error, " + message):
        parse_correction(json.dumps(value), where="corrections.jsonl:3")


def test_a_box_outside_its_image_is_no_correction():
    with pytest.raises(ValueError, match="region h: expected a box inside 100 x 80 pixels"):
        correction(regions=[region("h", (90, 0, 101, 9), "cat")])
