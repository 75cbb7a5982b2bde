"""Training images without captions: regions alone where labels came with them, or one line before the work."""

import json
import shutil

import pytest

from umgclip.annotate import stage
from umgclip.annotate.failures import check_failures, reasons_in_words
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import AnnotateParams, LabelParams, ValidateParams
from umgclip.records import Region, Text, parse_record
from umgclip.validate.stage import ValidateInputs
from umgclip.validate.stage import run as validate


def rewritten(few, folder, change):
    """The few images with other records for training."""
    shutil.copytree(few, folder)
    manifest, shards = read_manifest(folder / "train"), []
    for shard in manifest.shards:
        samples = [raw for name, raw in read_raw(few / "train") if name == shard.path]
        writer = ShardWriter(folder / "train" / shard.path)
        for raw in samples:
            record = change(parse_record(raw.json, where=raw.key))
            writer.write(RawSample(raw.key, raw.image, raw.extension, record.to_json()))
        writer.close()
        shards.append(describe_shard(folder / "train" / shard.path, len(samples)))
    write_manifest(folder / "train", manifest.model_copy(update={"shards": shards}))
    return folder


def bare(record):
    return record.model_copy(update={"captions": None, "tags": None, "regions": None})


def boxed(record):
    """What a file of boxes alone may leave: all ids are equal."""
    tags = [Text(text="animal", source="human")]
    places = [Region(id="0", box_xyxy=(4.0 + n, 4.0, 30.0 + n, 30.0), tags=tags, captions=[]) for n in range(2)]
    return bare(record).model_copy(update={"regions": places})


@pytest.mark.usefixtures("in_process")
def test_images_of_which_nothing_is_known_are_refused_before_the_work(run_stage, few, tmp_path):
    data = rewritten(few, tmp_path / "bare", bare)
    with pytest.raises(
        DataError, match="^annotate: no training image has a caption, a tag or a labelled region"
    ) as end:
        run_stage("out", data=data)
    for key in ("--captions FILE", "annotate.roles.captioner", "annotate.rules.vocabulary", "--vocabulary FILE"):
        assert key in str(end.value)
    assert "\n" not in str(end.value)
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.usefixtures("in_process")
def test_boxes_alone_get_regions_without_words_and_pass_the_gate(run_stage, few, tmp_path):
    data = rewritten(few, tmp_path / "boxed", boxed)
    out = run_stage("out", data=data, min_concept_count="auto", max_failed=0.0)
    records = [parse_record(raw.json, where=raw.key) for _, raw in read_raw(out / "train")]
    assert len(records) == 12
    for record in records:
        given = [r for r in record.regions if r.tags and r.tags[0].source == "human"]
        added = [r for r in record.regions if r not in given]
        assert [r.id for r in given] == ["0", "1"]  # ids are ours to give
        assert added
        assert all(r.tags == [] and r.captions == [] for r in added)
        assert len({r.id for r in record.regions}) == len(record.regions)
        assert (record.captions, record.tags) == ([], [])
    assert json.loads((out / "vocabulary.json").read_text())["things"] == ["animal"]
    docs, metrics = tmp_path / "docs", tmp_path / "v.json"
    inputs = ValidateInputs(out / "train", few / "benchmark", out / "vocabulary.json", docs, metrics)
    summary = dict(validate(ValidateParams(), inputs, tmp_path / "validate").rows)
    assert summary["images"].startswith("12 of 12 pass")


@pytest.mark.usefixtures("in_process")
def test_a_few_images_without_captions_stay_among_many(run_stage, few, tmp_path):
    keys = [raw.key for _, raw in read_raw(few / "train")][:3]
    data = rewritten(few, tmp_path / "mixed", lambda record: bare(record) if record.key in keys else record)
    out = run_stage("out", data=data, max_failed=0.0)
    records = [parse_record(raw.json, where=raw.key) for _, raw in read_raw(out / "train")]
    assert len(records) == 12
    assert all(r.tags == [] for r in records if r.key in keys)
    assert any(r.tags for r in records if r.key not in keys)


@pytest.mark.usefixtures("in_process")
def test_captions_that_the_base_cuts_are_counted(few, tmp_path, teacher_folder):
    keys = [raw.key for _, raw in read_raw(few / "train")][:3]
    long = [Text(text="a dog " + "and a cat " * 20, source="alt")]

    def change(record):
        return record.model_copy(update={"captions": long} if record.key in keys else {})

    data = rewritten(few, tmp_path / "long", change)
    params = AnnotateParams(workers=1, min_concept_count=1, label=LabelParams(threshold=0.0))
    summary = stage.run(params, stage.AnnotateInputs(data, teacher_folder, tmp_path / "m.json"), tmp_path / "out")
    said = dict(summary.rows)["captions that the base cuts"]
    assert said.startswith("1 of ")
    assert said.endswith(" are longer than the base's 32 tokens; it does not read their end")


def test_a_run_that_lost_too_many_names_the_reasons_with_examples():
    lost = {"unreadable": 2, "captioner_refusal": 14, "proposer_box_scale": 3, "tagger_timeout": 1}
    examples = {"captioner_refusal": "k1: captioner: refusal: Sorry,\n I cannot", "unreadable": "k2: no JPEG"}
    with pytest.raises(DataError) as end:
        check_failures(lost, examples, 30, 0.01)
    assert str(end.value) == (
        "annotate: 20 of 30 training samples could not be annotated, more than annotate.max_failed = 0.01: "
        "14 captioner_refusal (e.g. k1: captioner: refusal: Sorry, I cannot), 3 proposer_box_scale, "
        "2 unreadable (e.g. k2: no JPEG), 1 of 1 other reasons; `umgclip data verify` names every unreadable sample; "
        "annotate.models: box_unit has to be the scale that the model answers in; "
        "annotate.roles may name another model"
    )
    check_failures({"unreadable": 1}, {}, 100, 0.01)
    assert reasons_in_words(lost) == "20 (14 captioner_refusal, 3 proposer_box_scale, 2 unreadable, 1 tagger_timeout)"
