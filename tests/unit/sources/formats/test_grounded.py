"""FineHARD, GRIT and what is written like them: JSON of many images with their regions."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError, InputError
from umgclip.records import parse_record

FINEHARD = {
    "caption": "A long caption. With two sentences.",
    "short_caption": "a short caption",
    "f_path": "grit-12m/coyo_image_0/0.jpg",
    "bbox_info": [
        {"bbox": [0.1, 0.2, 0.6, 0.8, 0.9], "short_expr": "a red cup", "long_expr": "a red cup on a table",
         "flag_short_neg": 1, "short_expr_negs": {"0": "a blue cup", "1": "a red plate"}, "flag_long_neg": 0},
        {"bbox": [0.5, 0.5, 0.4, 0.9, 0.8], "short_expr": "an inverted box", "flag_short_neg": 0},
    ],
}  # fmt: skip


@pytest.fixture
def images(kit, tmp_path):
    kit.photo(tmp_path / "in" / "grit-12m" / "coyo_image_0" / "0.jpg", 0, 100, 50)
    kit.photo(tmp_path / "in" / "00001" / "000010002.png", 1, 100, 50)
    return tmp_path / "in"


def bring(kit, images, tmp_path, *annotations, **options):
    return kit.bring("finehard", images, tmp_path / "data", annotations=tuple(map(str, annotations)), **options)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_finehard(kit, images, tmp_path, form):
    rows = [FINEHARD, {**FINEHARD, "f_path": "grit-12m/coyo_image_0/nothing.jpg"}, 7]
    path = tmp_path / "results_0.json"
    path.write_text(json.dumps(rows) if form == "array" else "\n".join(map(json.dumps, rows)))
    done = bring(kit, images, tmp_path, path)
    (record,) = done.records.values()
    assert [text.text for text in record.captions] == [FINEHARD["caption"], FINEHARD["short_caption"]]
    (region,) = record.regions
    assert (region.box_xyxy, region.score) == ((10, 10, 60, 40), 0.9)
    assert [text.text for text in region.captions] == ["a red cup", "a red cup on a table"]
    assert [text.text for text in region.negatives] == ["a blue cup", "a red plate"]
    assert {text.source for text in [*record.captions, *region.captions]} == {"finehard"}
    assert done.reasons == [
        ("bad_box", "grit-12m/coyo_image_0/0.jpg"), ("bad_record", "results_0.json"),
        ("no_image", "grit-12m/coyo_image_0/nothing.jpg"),
    ]  # fmt: skip
    assert parse_record(record.to_json(), where="x") == record
    assert done.statistics["not_understood"] == {}


def test_files_of_a_folder_are_read_in_order_and_said_once(kit, images, tmp_path):
    for number in (1, 0):
        (tmp_path / "json").mkdir(exist_ok=True)
        (tmp_path / "json" / f"{number}.json").write_text(json.dumps([{**FINEHARD, "caption": f"from file {number}"}]))
    done = bring(kit, images, tmp_path, tmp_path / "json")
    (record,) = done.records.values()
    assert [text.text for text in record.captions] == ["from file 0", "a short caption", "from file 1"]
    assert len(record.regions) == 1
    assert ("duplicate", "grit-12m/coyo_image_0/0.jpg") in done.reasons


def test_grit_in_parquet_finds_its_images_by_key(kit, images, tmp_path):
    row = {"key": "000010002", "url": "http://x", "caption": "a dog in a field", "width": 1000, "height": 500,
           "clip_similarity_vitb32": 0.3, "noun_chunks": [[0, 5, 0.1, 0.2, 0.3, 0.4, 0.8]], "ref_exps": []}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "grit.parquet")
    done = bring(kit, images, tmp_path, tmp_path / "grit.parquet", annotator="grit")
    ((name, record),) = done.records.items()
    assert name == "00001/000010002.png"
    assert (record.regions[0].tags[0].text, record.regions[0].box_xyxy) == ("a dog", (10, 10, 30, 20))


def test_annotations_must_be_given(kit, images, tmp_path):
    with pytest.raises(InputError, match="expected --annotations"):
        bring(kit, images, tmp_path)


def test_lines_that_are_broken_and_files_of_other_kinds_cost_themselves(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    lines = ['{"f_path": "a.jpg", "caption": "a cat"}', '{"f_path": "b.jpg", "capt', "5", '{"f_path": "a.jpg"}']
    kit.write_text(tmp_path / "rows.jsonl", *lines)
    done = kit.bring("finehard", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "rows.jsonl"),))
    assert [text.text for text in done.records["a.jpg"].captions] == ["a cat"]
    assert [reason for reason, _ in done.reasons] == ["bad_record", "bad_row", "duplicate"]
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"rows\.parquet: not a readable parquet file"):
        kit.bring("finehard", tmp_path / "in", tmp_path / "no", annotations=(str(tmp_path / "rows.parquet"),))


def test_a_parquet_file_with_bytes_and_times(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    row = {"file_name": "a.jpg", "caption": "a cat", "jpg": b"\xff\xd8", "taken": datetime(2024, 1, 1, tzinfo=UTC)}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    done = kit.bring("finehard", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "rows.parquet"),))
    assert [text.text for text in done.records["a.jpg"].captions] == ["a cat"]
    assert done.statistics["told"] == {"columns of bytes, which are not read": 1}
    assert done.statistics["not_understood"] == {"taken": 1}
