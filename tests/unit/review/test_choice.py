"""The choice: what a look is worth, one of each group that looks alike, the same in every run."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest

from umgclip.data.corrections import Correction, open_corrections
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.io import tables
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.review.exporting import Wish, run_export
from umgclip.review.labels import LabelCounts, count_labels
from umgclip.review.selection import BestImages, WorthyImage
from umgclip.review.worth import Judge, Worth

WORDS = Vocabulary(("cat", "dog", "bird", "fox"), ("grass",), ("fox",))


def reasons_of(record, counts=None):
    worth = Judge(WORDS, counts or LabelCounts()).worth(record)
    return {reason.reason: (reason.value, reason.about) for reason in worth.reasons}


def test_what_a_look_is_worth_by_hand(scenes):
    # cat .4 and grass .9 are named by the alt text; dog is not, so its sources disagree
    found = reasons_of(scenes.scene(0))
    assert found["low_score"] == (pytest.approx(0.6 + 0.1), ("cat", "grass"))
    assert found["sources_disagree"] == (0.5, ("dog",))
    assert found["filter_score"] == (pytest.approx(0.7), ("a cat & a dog",))
    assert found["region_without_label"] == (pytest.approx(0.05 * 0.9), ("",))
    assert "named_without_region" not in found


def test_a_thing_that_a_caption_names_and_no_region_has(scenes):
    record = scenes.record_of(0, captions=[scenes.text("a bird and a fox on grass", "alt")], regions=[])
    assert reasons_of(record) == {"named_without_region": (pytest.approx(1.6), ("bird", "grass"))}  # a fox is held out


def test_a_second_source_halves_the_doubt_and_rare_names_raise_it(scenes):
    once = scenes.boxed("0", (0, 0, 9, 9), "cat", 0.4)
    twice = once.model_copy(update={"tags": [once.tags[0].model_copy(update={"agreed_by": ["florence2"]})]})
    counts = LabelCounts()
    counts.things.update({"dog": 100, "bird": 100, "cat": 10})
    assert reasons_of(scenes.record_of(0, regions=[once])) == {"low_score": (0.6, ("cat",))}
    assert reasons_of(scenes.record_of(0, regions=[twice])) == {"low_score": (0.3, ("cat",))}
    assert reasons_of(scenes.record_of(0, regions=[once]), counts)["rare"] == (pytest.approx(0.6), ("cat",))


def test_a_label_is_doubted_by_the_rank_of_its_score_among_those_of_its_source(scenes):
    counts = LabelCounts()
    for number in range(100):
        counts.add_label("cat", 0.002 * number, "clip_teacher", is_stuff=False)  # all below 0.2, as CLIP's are
        counts.add_label("cat", 0.98, "florence2", is_stuff=False)
    regions = [scenes.boxed(str(n), (0, 0, 9, 9), "cat", score) for n, score in enumerate((0.0, 0.1, 0.198))]
    doubts = [Judge(WORDS, counts).worth(scenes.record_of(0, regions=[region])).value for region in regions]
    assert doubts == [pytest.approx(0.5), pytest.approx(0.5 * 0.25), pytest.approx(0.5 * 0.01**2, abs=1e-3)]
    sure = regions[0].model_copy(update={"tags": [scenes.text("cat", "florence2", 0.98)]})
    assert Judge(WORDS, counts).worth(scenes.record_of(0, regions=[sure])).value == pytest.approx(0.02)


def test_a_label_that_another_one_comes_near_is_doubted(scenes):
    region = scenes.boxed("0", (0, 0, 9, 9), "cat", 0.8)
    near = region.model_copy(update={"tags": [*region.tags, scenes.text("dog", score=0.6)]})
    other = region.model_copy(update={"tags": [*region.tags, scenes.text("dog", "florence2", 0.1)]})
    assert reasons_of(scenes.record_of(0, regions=[region])) == {"low_score": (pytest.approx(0.2), ("cat",))}
    assert reasons_of(scenes.record_of(0, regions=[near])) == {"low_margin": (pytest.approx(0.375), ("cat",))}
    assert reasons_of(scenes.record_of(0, regions=[other])) == {"sources_disagree": (0.5, ("cat",))}


def test_what_people_said_is_not_doubted(scenes):
    human = scenes.boxed("0", (0, 0, 9, 9), "cat")
    human = human.model_copy(update={"tags": [scenes.text("cat", "human", 1.0)]})
    record = scenes.record_of(0, captions=[scenes.text("a bird on grass", "alt")], regions=[human])
    assert reasons_of(record) == {}


def test_labels_are_counted_in_records_and_in_the_table_alike(scenes, tmp_path):
    folder = scenes.write_dataset(tmp_path / "d", [scenes.scene(n) for n in range(4)])
    counted = count_labels(Folder(folder), read_manifest(folder))
    assert dict(counted.things) == {"cat": 4, "dog": 4}
    assert dict(counted.stuff) == {"grass": 4}
    rows = [tables.region_row(scenes.scene(n), region) for n in range(4) for region in scenes.scene(n).regions]
    tables.write_table(folder / "regions.parquet", rows, tables.REGIONS)
    assert pq.read_table(folder / "regions.parquet").num_rows == 16
    again = count_labels(Folder(folder), read_manifest(folder))
    assert (again.things, again.stuff) == (counted.things, counted.stuff)
    assert {key: counts.tolist() for key, counts in again.scores.items()} == {
        key: counts.tolist() for key, counts in counted.scores.items()
    }


def candidate(number, value):
    return WorthyImage(f"k{number}", f"{number:064x}", "s", Worth(value, ()))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_without_near_duplicates_equal_a_sort(seed):
    draw = np.random.default_rng(seed)
    values = draw.random(300).round(2)  # with ties
    selection = BestImages(40, None, seed)
    for number, value in enumerate(values):
        selection.offer(candidate(number, float(value)), lambda: 0)
    got = [one.worth.value for one in selection.chosen()]
    assert got == sorted(values.tolist(), reverse=True)[:40]
    again = BestImages(40, None, seed)
    for number in reversed(range(300)):
        again.offer(candidate(number, float(values[number])), lambda: 0)
    assert again.chosen() == selection.chosen()  # whatever the order, ties included


def test_one_of_each_group_that_looks_alike_and_hashes_only_of_the_best():
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 2**63, 50, dtype=np.uint64)
    hashed = []
    selection = BestImages(10, 6, 0)
    values = draw.random(2000)
    for number, value in enumerate(values):
        code = int(groups[number % 50]) ^ (1 << int(draw.integers(64)))  # 0 to 2 bits from others of its group
        selection.offer(candidate(number, float(value)), lambda code=code: hashed.append(code) or code)
    chosen = [int(one.sha256, 16) for one in selection.chosen()]
    assert len({number % 50 for number in chosen}) == 10
    best = {group: max(range(group, 2000, 50), key=lambda number: values[number]) for group in range(50)}
    expected = sorted(best.values(), key=lambda number: -values[number])[:10]
    assert chosen == expected
    assert selection.alike > 0


@pytest.mark.parametrize("first", [True, False])
def test_no_image_like_one_that_people_looked_at_is_chosen(first):
    selection = BestImages(5, 6, 0)
    if first:
        selection.block(0)
    selection.offer(candidate(1, 0.9), lambda: 0b111)
    selection.offer(candidate(2, 0.1), lambda: 0xFF00)
    if not first:
        selection.block(0)
    assert [one.key for one in selection.chosen()] == ["k2"]
    assert selection.alike == 1


def test_an_image_that_cannot_be_read_is_never_chosen():
    selection = BestImages(2, 6, 0)
    selection.offer(candidate(1, 0.9), lambda: None)
    selection.offer(candidate(2, 0.1), lambda: 7)
    assert [one.key for one in selection.chosen()] == ["k2"]


def test_the_export_is_the_same_in_every_run_and_says_why(scenes, tmp_path):
    records = [scenes.scene(n) for n in range(8)]
    records[5] = records[5].model_copy(update={"regions": [scenes.boxed("0", (0, 0, 9, 9), "dog", 0.01)]})
    data = scenes.write_dataset(tmp_path / "data", records)
    outs = [tmp_path / "one" / "review", tmp_path / "two" / "review"]
    for out in outs:
        out.parent.mkdir()
        run_export(Folder(data), read_manifest(data), Wish("label-studio", 3, seed=1), out)
    files = [{p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} for out in outs]
    assert files[0] == files[1]
    rows = [json.loads(line) for line in (outs[0] / "choice.jsonl").read_text().splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert rows[0]["value"] >= rows[1]["value"] >= rows[2]["value"] > 0
    assert {reason["reason"] for reason in rows[0]["reasons"]} >= {"sources_disagree", "filter_score"}
    assert {f"{row['key']}.png" for row in rows} == {p.name for p in (outs[0] / "images").iterdir()}
    other = tmp_path / "random"
    run_export(Folder(data), read_manifest(data), Wish("label-studio", 3, by="random", seed=1), other)
    lines = (other / "choice.jsonl").read_text().splitlines()
    assert {json.loads(line)["reasons"][0]["reason"] for line in lines} == {"random"}


def test_images_that_people_looked_at_are_passed_over(scenes, tmp_path):
    records = [scenes.scene(n) for n in range(4)]
    done = records[3]
    data = scenes.write_dataset(tmp_path / "data", records)
    said = Correction(key=done.key, sha256=done.sha256, width=done.width, height=done.height)
    (tmp_path / "corrections.jsonl").write_bytes(said.to_json())
    wish = Wish("cvat", 9)
    summary = run_export(
        Folder(data), read_manifest(data), wish, tmp_path / "a", open_corrections(tmp_path / "corrections.jsonl")
    )
    assert ("passed over because people looked at them", "1") in summary.rows
    assert ("fewer than the budget", "9 were asked for") in summary.rows
    rows = [json.loads(line) for line in (tmp_path / "a" / "choice.jsonl").read_text().splitlines()]
    assert sorted(row["key"] for row in rows) == ["k000", "k001", "k002"]


def test_nothing_to_look_at_is_an_error(scenes, tmp_path):
    data = scenes.write_dataset(tmp_path / "data", [scenes.record_of(0, regions=[])])
    with pytest.raises(InputError, match="no image has a doubtful annotation"):
        run_export(Folder(data), read_manifest(data), Wish("cvat", 9), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_names_beyond_the_few_become_a_tree_and_special_characters_are_escaped(scenes, exported):
    record = scenes.scene(0)
    regions = [scenes.boxed(str(n), (n, 0, n + 2, 4), f"name {n}") for n in range(60)]
    regions.append(scenes.boxed("x", (0, 9, 5, 14), 'salt & "pepper" <mill>'))
    folder = exported([record.model_copy(update={"regions": regions})], "label-studio")
    config = ET.parse(folder / "label_config.xml")
    assert [tag.get("value") for tag in config.iter("Label") if "pepper" in tag.get("value")] == [
        'salt & "pepper" <mill>'
    ] * 2
    assert len(list(config.iter("Taxonomy"))) == 1
    task = json.loads((folder / "tasks.json").read_text())[0]
    tags = next(part for part in task["predictions"][0]["result"] if part["from_name"] == "tags")
    assert tags["value"] == {"taxonomy": [["cat"], ["dog"], ["bird"]]}
