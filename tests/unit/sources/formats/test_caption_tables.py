"""Tables of captions as people have them: encodings, delimiters, quotes, missing fields, columns, names."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Entry
from umgclip.sources.formats.shared.caption_tables import CaptionTable
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request

FILES = ("0.jpg", "1.jpg", "été.jpg", "a/2.jpg", "b/2.jpg", "c/22.05.png", "c/key7.webp")


@pytest.fixture
def plan(tmp_path):
    with ImportPlan(tmp_path / "plan.sqlite", fresh=True) as made:
        made.add_files(Entry(name, 1, "") for name in FILES)
        made.plan_files(FORMAT_OF)
        yield made


@pytest.fixture
def read(plan, tmp_path):
    """Write a table and read it: captions by image, problems, what is told."""

    def reading(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        plan.add_rows(CaptionTable(path, Request("folder", ".", "train", "test", **options), plan).rows())
        plan.match_rows("caption")
        texts_of = {item.name: [text for _, text in plan.extras(item.position)] for item in plan.items(0, plan.size())}
        problems = [(where, problem.reason) for where, problem in plan.problems()]
        return {name: texts for name, texts in texts_of.items() if texts}, problems, plan.told()

    return reading


TEXT = "file_name,caption\n0.jpg,un café à Paris\nété.jpg,la plage\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1", "cp1252"])
def test_every_encoding_is_read_as_what_it_is(read, encoding):
    option = None if encoding.startswith("utf") else encoding
    captions, problems, _ = read("c.csv", TEXT.encode(encoding), encoding=option)
    assert captions == {"0.jpg": ["un café à Paris"], "été.jpg": ["la plage"]}
    assert problems == []


def test_bytes_that_are_no_utf8_cost_their_rows(read, plan):
    captions, problems, _ = read("c.csv", TEXT.encode("latin-1") + b"1.jpg,plain\n")
    assert captions == {"1.jpg": ["plain"]}
    assert problems == [("c.csv: line 2", "bad_row"), ("c.csv: line 3", "bad_row")]
    detail = next(problem.detail for _, problem in plan.problems())
    assert "'un caf\\xe9 \\xe0 Paris'; --encoding names the right one, such as latin-1" in detail


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "file_name,caption\n0.jpg,a; b | c\n"),
        ("c.csv", "file_name;caption\n0.jpg;a; b | c\n".replace("a; b", '"a; b').replace("c\n", 'c"\n')),
        ("c.csv", 'sep=;\nfile_name;caption\n0.jpg;"a; b | c"\n'),
        ("c.tsv", "file_name\tcaption\n0.jpg\ta; b | c\n"),
        ("c.txt", "0.jpg#0\ta; b | c\n"),
        ("Flickr8k.token", "0.jpg#0\ta; b | c\n"),
        ("c.csv", "0.jpg,a; b | c\n"),
        ("c.csv", "\n\nimage_name , comment_number, comment\n0.jpg, 0, a; b | c\n"),
        ("c.csv", "image,caption,\n0.jpg,a; b | c,\n"),
        ("c.jsonl", '{"file_name": "0.jpg", "caption": "a; b | c"}'),
        ("c.json", '{"0.jpg": "a; b | c"}'),
        ("c.json", '{"0.jpg": ["a; b | c"]}'),
        ("c.json", '{"0.jpg": [{"caption": "a; b | c"}]}'),
        ("c.json", '{"images": [{"file_name": "0.jpg", "sentence": "a; b | c"}]}'),
    ],
)
def test_delimiters_and_headers(read, name, content):
    captions, problems, _ = read(name, content)
    assert captions == {"0.jpg": ["a; b | c"]}
    assert problems == []


def test_flickr30k_has_bars_and_a_row_without_one(read):
    content = (
        "image_name| comment_number| comment\n0.jpg| 0| Two young guys\n0.jpg| 4   A dog runs .\n1.jpg| 0| A cat\n"
    )
    captions, problems, told = read("results.csv", content)
    assert captions == {"0.jpg": ["Two young guys"], "1.jpg": ["A cat"]}
    assert problems == [("results.csv: line 3", "bad_row")]
    assert told == {"columns that are not read (comment_number)": 1}


def test_a_comma_too_many_is_no_shorter_caption(read, plan):
    captions, problems, _ = read("c.csv", "image,caption\n0.jpg,A man, a dog and a cat\n1.jpg,plain\n")
    assert captions == {"1.jpg": ["plain"]}
    assert problems == [("c.csv: line 2", "bad_row")]
    assert "put texts that contain ',' in quotes" in next(plan.problems())[1].detail


def test_a_quote_that_does_not_close_takes_one_row_along(read):
    content = 'file_name,caption\n0.jpg,"Hello, she said\n1.jpg,a dog\nété.jpg,"a, bird"\n'
    captions, problems, _ = read("c.csv", content)
    assert captions == {"1.jpg": ["a dog"], "été.jpg": ["a, bird"]}
    assert problems == [("c.csv: line 2", "bad_row")]


def test_names_without_extension_are_rows_too_inside_a_quote(read):
    captions, problems, _ = read("c.csv", 'key,caption\n0,"Hello, she said\n1,a dog of 5"\n')
    assert captions == {"1.jpg": ['a dog of 5"']}
    assert problems == [("c.csv: line 2", "bad_row")]


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_rows_that_say_nothing_are_counted(read, tmp_path, form):
    rows = [("0.jpg", "a cat"), ("1.jpg", ""), ("", "of what?"), ("1.jpg", None)]
    if form == "csv":
        content = "file_name,caption\n" + "".join(f"{name},{text or ''}\n" for name, text in rows)
    elif form == "parquet":
        pq.write_table(pa.table({"file_name": [n for n, _ in rows], "caption": [t for _, t in rows]}), tmp_path / "t")
        content = (tmp_path / "t").read_bytes()
    else:
        objects = [{"file_name": name, "caption": text} for name, text in rows]
        content = "\n".join(map(json.dumps, objects)) if form == "jsonl" else json.dumps(objects)
    captions, problems, told = read(f"c.{form}", content)
    assert captions == {"0.jpg": ["a cat"]}
    assert [reason for _, reason in problems] == ["bad_row"]
    assert told == {"rows of the table with an empty caption": 2}


def test_lines_of_json_that_are_broken_or_lack_something_cost_themselves(read):
    lines = [
        '{"file_name": "0.jpg", "caption": "a cat"}', '{"file_name": "0.jpg"}', '{"file_name": "0.jpg", "capt',
        '"words"', "[1, 2]", "null", '{"caption": "of what?"}', '{"file_name": ["0.jpg"], "caption": "x"}',
        '{"file_name": "0.jpg", "caption": {"en": "x"}}', '{"file_name": "0.jpg", "caption": 5}', "[" * 5000, "{}",
        '{"image": "1.jpg", "text": "other fields"}', '{"file_name": "1.jpg", "caption": ["more", null, "again"]}',
    ]  # fmt: skip
    captions, problems, told = read("c.jsonl", "\n".join(lines))
    assert captions == {"0.jpg": ["a cat"], "1.jpg": ["other fields", "more", "again"]}
    assert len(problems) == 11
    assert {reason for _, reason in problems} == {"bad_row"}
    assert told == {"rows of the table with an empty caption": 1}


def test_bytes_that_are_no_text_in_json(read):
    content = '[{"file": "0.jpg", "caption": "café"}, {"file": "1.jpg", "caption": "tea"}]'.encode("latin-1")
    captions, problems, _ = read("c.json", content)
    assert captions == {"1.jpg": ["tea"]}
    assert problems == [("c.json: element 1", "bad_row")]


def test_a_table_without_captions_anywhere_is_an_error(read):
    with pytest.raises(InputError, match=r"c\.jsonl: expected a column such as caption, .* got \['file', 'score'\]"):
        read("c.jsonl", '{"file": "0.jpg", "score": 1}\n{"file": "1.jpg", "score": 2}\n')


def test_names_that_two_images_have(read):
    content = "image,caption\n2.jpg,which?\n/mnt/x/a/2.jpg,of a\nD:\\set\\b\\2.jpg,of b\nb\\2.jpg,again b\n"
    content += "key7,by its key\n22,none\n"
    captions, problems, _ = read("c.csv", content)
    assert captions == {"a/2.jpg": ["of a"], "b/2.jpg": ["of b", "again b"], "c/key7.webp": ["by its key"]}
    assert problems == [("2.jpg", "ambiguous_name"), ("22", "no_image")]


def test_two_files_of_one_composed_name_are_ambiguous(tmp_path):
    with ImportPlan(tmp_path / "p.sqlite", fresh=True) as plan:
        plan.add_files(Entry(name, 1, "") for name in ("caf\u00e9.jpg", "cafe\u0301.jpg"))
        plan.plan_files(FORMAT_OF)
        plan.add_rows([("caf\u00e9.jpg", "which?")])
        plan.match_rows("caption")
        assert [problem.reason for _, problem in plan.problems()] == ["ambiguous_name"]


def test_a_comma_in_a_caption_does_not_fit_a_column_without_a_name(read):
    captions, problems, _ = read("c.csv", "file_name,caption,\n0.jpg,a cat,\n1.jpg,b,extra\n")
    assert captions == {"0.jpg": ["a cat"]}
    assert problems == [("c.csv: line 3", "bad_row")]


@pytest.mark.parametrize("cell", ['["a cat", "it\'s a dog"]', """['a cat', "it's a dog"]"""])
def test_a_cell_may_hold_a_list(read, cell):
    quoted = cell.replace('"', '""')
    captions, _, told = read("c.csv", f'filename,raw\n0.jpg,"{quoted}"\n1.jpg,[a cat] is here [so]\n')
    assert captions == {"0.jpg": ["a cat", "it's a dog"], "1.jpg": ["[a cat] is here [so]"]}
    assert told == {"cells of the table that hold a list of captions": 1}


def test_captions_of_coco_are_sent_to_their_own_importer(read):
    content = {"images": [{"id": 1, "file_name": "0.jpg"}], "annotations": [{"image_id": 1, "caption": "a"}]}
    with pytest.raises(InputError, match=r"`umgclip data import coco \. --captions .*c\.json` reads them"):
        read("c.json", json.dumps(content))


def test_columns_that_are_not_read_are_told(read):
    content = "id,file_name,caption,text,label\n1,0.jpg,a cat,another,tabby\n"
    captions, _, told = read("c.csv", content)
    assert captions == {"0.jpg": ["a cat"]}
    assert told == {
        "caption columns beside 'caption' that are not read (text)": 1,
        "columns that are not read (id, label)": 2,
    }


def test_two_columns_of_one_name_are_refused(read):
    with pytest.raises(InputError, match="caption_column: expected one column caption, got 2 of that name"):
        read("c.csv", "file,caption,caption\n0.jpg,a,b\n")


def test_a_table_without_names_of_columns_takes_positions(read):
    content = "7,0.jpg,a cat,en\n8,1.jpg,a dog,en\n"
    with pytest.raises(
        InputError, match=r"expected a first line with the names of columns, .* got '7 \| 0\.jpg \| a cat"
    ):
        read("c.csv", content)
    captions, _, told = read("c.csv", content, image_column="2", caption_column="3")
    assert captions == {"0.jpg": ["a cat"], "1.jpg": ["a dog"]}
    assert told == {"tables without a line of names": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "", "expected a line with the names of columns, got an empty file"),
        ("c.csv", b"PK\x03\x04\0\0\x08\0\xff\xfe", r"expected a line with the names of columns, got 'PK"),
        ("c.xlsx", b"PK", r"expected a table as \.csv, \.tsv, \.parquet, \.json or \.jsonl, got \.xlsx"),
        ("c.json", '[{"file": "0.jpg"', "not valid JSON at character"),
        ("c.json", "[" * 9000, "too many brackets"),
        ("c.json", '{"a": 1} {"b": 2}', "expected the end, got '{'"),
        ("c.parquet", b"PAR1", "not a readable parquet file"),
    ],
)
def test_what_is_no_table_is_said(read, name, content, message):
    with pytest.raises((InputError, DataError), match=message):
        read(name, content)


def test_a_parquet_of_images_themselves_is_refused(read, tmp_path):
    table = pa.table({"image": [{"bytes": b"x", "path": "0.jpg"}], "text": ["a cat"]})
    pq.write_table(table, tmp_path / "t")
    with pytest.raises(InputError, match="holds the images themselves"):
        read("c.parquet", (tmp_path / "t").read_bytes())


def test_rows_that_say_the_same_twice_are_told(kit, photos, tmp_path):
    (tmp_path / "c.csv").write_text("file,caption\na/0.jpg,a cat\na/0.jpg,a  cat\n")
    done = kit.bring("folder", photos, tmp_path / "data", captions=str(tmp_path / "c.csv"))
    assert done.statistics["told"] == {"rows of the table that say again what another said": 1}
