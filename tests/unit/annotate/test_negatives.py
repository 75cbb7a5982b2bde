"""Runs with the rule `negatives`: made ones, those that came with the images, and those of a model."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.rejected import Failure
from umgclip.data.stream import read_raw
from umgclip.io.images import encode_jpeg
from umgclip.io.tables import read_columns
from umgclip.params import ImportParams
from umgclip.params.annotators import VlmParams
from umgclip.params.roles import RolesParams, RulesParams
from umgclip.records import Text, parse_record
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

RULES = RulesParams(negatives=4)


def records(folder):
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


def negatives_of(records):
    """By region; scores are left out, since a batch of another size rounds them differently on some processors."""
    return {(record.key, region.id): region.negatives for record in records for region in record.regions}


@pytest.mark.usefixtures("in_process")
def test_regions_of_the_demo_get_negatives_and_nothing_else_changes(run_stage):
    plain, out = run_stage("plain"), run_stage("out", rules=RULES)
    again = run_stage("again", rules=RULES, batch=5)
    before, after = records(plain / "train"), records(out / "train")
    assert negatives_of(records(again / "train")) == negatives_of(after)  # whatever the batches
    count = 0
    for one, other in zip(before, after, strict=True):
        bare = [region.model_copy(update={"negatives": None}) for region in other.regions]
        assert [region.id for region in bare] == [region.id for region in one.regions]
        right = {text.text for text in (*other.tags, *(t for region in bare for t in region.captions))}
        for region in other.regions:
            assert (region.negatives is not None) == bool(region.captions)
            count += len(region.negatives or [])
            assert not right & {text.text for text in region.negatives or []}
    assert count > 20
    table = read_columns(out / "train" / "regions.parquet", ["n_negatives", "negative_fault"])
    assert sum(table["n_negatives"].to_pylist()) == count
    assert table["negative_fault"].null_count == table.num_rows
    assert all(r.negatives is None for one in records(out / "proposals") for r in one.regions)


@pytest.mark.usefixtures("in_process")
def test_a_models_negatives_are_cached_and_its_failures_cost_their_image(run_stage, tmp_path, monkeypatch):
    asked = []

    def write(self, images, proposals):
        asked.append(sum(map(len, proposals)))
        return [
            Failure("refusal", "no") if image.mean() > 250 else
            [[Text(text=f"not {one.captions[0].text}", source="vlm")] for one in regions]
            for image, regions in zip(images, proposals, strict=True)
        ]  # fmt: skip

    monkeypatch.setattr(Vlm, "write_negatives", write)
    models = {"v": VlmParams(url="http://127.0.0.1:1/v1", model="m")}
    given = {"models": models, "roles": RolesParams(negator=["v"]), "store": str(tmp_path / "answers")}
    out = run_stage("out", rules=RULES, **given)
    regions = [region for one in records(out / "train") for region in one.regions if region.captions]
    assert [region.negatives[0].text for region in regions] == [f"not {r.captions[0].text}" for r in regions]
    count = len(asked)
    run_stage("again", rules=RulesParams(negatives=2), **given)  # another number needs no other answers
    assert len(asked) == count
    assert "negatives_prompt" in (out / "annotators.json").read_text()


@pytest.fixture
def finehard(tmp_path, few):
    """FineHARD: an image with two regions, one of which has negatives."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.fromarray(pixels).resize((96, 64), Image.Resampling.NEAREST)
    (folder / "0.jpg").write_bytes(encode_jpeg(np.asarray(image)))
    boxes = [
        {"bbox": [0.1, 0.1, 0.5, 0.6, 0.9], "short_expr": "a red cup",
         "short_expr_negs": {"0": "a blue cup", "1": "a red plate"}},
        {"bbox": [0.5, 0.5, 0.9, 0.9, 0.8], "short_expr": "a small dog"},
    ]  # fmt: skip
    rows = [{"caption": "a red cup and a small dog", "f_path": "0.jpg", "bbox_info": boxes}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    request = Request("finehard", str(folder), "train", "f", annotations=(str(tmp_path / "rows.json"),))
    run_import(request, ImportParams(workers=1), tmp_path / "data", alone=True)
    shutil.copytree(few / "benchmark", tmp_path / "data" / "benchmark")
    return tmp_path / "data"


@pytest.mark.usefixtures("in_process")
def test_negatives_that_came_survive_and_other_regions_get_some(run_stage, finehard):
    (off,) = records(run_stage("off", finehard) / "train")
    (on,) = records(run_stage("on", finehard, rules=RULES) / "train")
    (given,) = records(finehard / "train")
    for one in (off, on):
        assert one.regions[0] == given.regions[0]
        assert [(n.text, n.source) for n in one.regions[0].negatives] == [
            ("a blue cup", "finehard"), ("a red plate", "finehard")
        ]  # fmt: skip
    assert off.regions[1] == given.regions[1]
    made = on.regions[1].negatives
    assert on.regions[1] == given.regions[1].model_copy(update={"negatives": made})
    assert ("a large dog", "rule#attribute") in {(n.text, n.source) for n in made}


def test_a_negative_that_is_right_or_has_no_words_is_a_fault(few):
    from umgclip.io.tables import region_row

    record = records(few / "benchmark")[0]
    region = record.regions[0]
    name = region.captions[0].text

    def fault(*texts):
        negatives = [Text(text=text, source="m") for text in texts]
        return region_row(record, region.model_copy(update={"negatives": negatives}))["negative_fault"]

    assert fault("something else") is None
    assert fault("something else", f" {name.upper()}. ") == f"' {name.upper()}. ' is a text of the region"
    assert fault("...") == "'...' has no words"
    assert region_row(record, region)["n_negatives"] == 0
