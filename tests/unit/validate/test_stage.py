"""The stage as a whole: what passes, which row each rule finds, and when the gate closes."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError, GateError, InputError
from umgclip.io.atomic import fresh_folder
from umgclip.io.manifest import ClassList
from umgclip.params import RuleName, ValidateParams
from umgclip.stage import listen
from umgclip.validate import suites
from umgclip.validate.gate import RuleOutcome
from umgclip.validate.report import gate_message
from umgclip.validate.stage import ValidateInputs, run

Store = Callable[[Any], ValidateInputs]
Fault = tuple[str, str, int, dict[str, object]]

CANNED = "withheld for safety"
DATASET_RULES = {"label_score_mean", "captioned_image_share", "labelled_image_share", "annotated_image_share"}
# Let everything through, so that one run shows every fault.
LENIENT = ValidateParams(
    canned_images_min=2, tolerance=1.0, tolerances={"region_label_held_out": 1.0, "image_not_in_benchmark": 1.0}
)

# One fault for each rule, each in a row of its own. Rows of regions: image 10 has rows 40 to 43, even rows have a
# label, a caption and a mask.
CHANGED: list[Fault] = [
    ("image_sha256_present", "images", 0, {"sha256": None}),
    ("image_sha256_format", "images", 1, {"sha256": "ABC"}),
    ("image_width_present", "images", 2, {"width": None}),
    ("image_height_present", "images", 3, {"height": None}),
    ("image_width_range", "images", 4, {"width": 8}),
    ("image_height_range", "images", 5, {"height": 20_001}),
    ("image_caption_length", "images", 7, {"caption": ""}),
    ("image_caption_clean", "images", 8, {"caption": "a red car</s>"}),
    ("image_caption_loop", "images", 9, {"caption": "a car, a car, a car, a car"}),
    ("image_caption_refusal", "images", 13, {"caption": "I would rather not describe the people in this picture."}),
    ("image_caption_canned", "images", 14, {"caption": CANNED}),
    ("image_caption_canned", "images", 15, {"caption": CANNED.upper()}),
    ("image_caption_score_range", "images", 10, {"caption_score": 1.01}),
    ("image_tag_score_range", "images", 11, {"tag_score_min": -0.1}),
    ("image_tags_known", "images", 12, {"tags": "grass|unicorn"}),
    ("region_box_present", "regions", 40, {"y0": None}),
    ("region_flags_present", "regions", 41, {"is_stuff": None}),
    ("region_score_present", "regions", 42, {"score": None}),
    ("region_box_x_order", "regions", 43, {"x1": 30.0}),
    ("region_box_y_order", "regions", 45, {"y0": 30.0}),
    ("region_box_left", "regions", 47, {"x0": -0.5}),
    ("region_box_top", "regions", 49, {"y0": -3.0}),
    ("region_box_right", "regions", 51, {"x1": 96.5}),
    ("region_box_bottom", "regions", 53, {"y1": float("inf")}),
    ("region_score_range", "regions", 55, {"score": 1.5}),
    ("region_label_present", "regions", 56, {"label": None}),
    ("region_label_score_range", "regions", 58, {"label_score": -0.01}),
    ("region_label_known", "regions", 60, {"label": "unicorn"}),
    ("region_label_held_out", "regions", 62, {"label": "violin"}),
    ("region_caption_length", "regions", 64, {"caption": "car " + " ".join(str(i) for i in range(50))}),
    ("region_caption_clean", "regions", 66, {"caption": "a red\x00 car"}),
    ("region_caption_loop", "regions", 68, {"caption": "the the the the car"}),
    ("region_caption_refusal", "regions", 80, {"caption": "Sorry, I cannot see the image."}),
    ("region_caption_canned", "regions", 84, {"caption": CANNED}),
    ("region_caption_canned", "regions", 88, {"caption": CANNED}),
    ("region_caption_score_range", "regions", 70, {"caption_score": 2.0}),
    ("region_mask_present", "regions", 72, {"mask_area": None}),
    ("region_mask_area", "regions", 74, {"mask_area": 0.0}),
    ("region_mask_in_box", "regions", 76, {"mask_y1": 26.5}),
    ("region_negatives_wrong", "regions", 78, {"negative_fault": "'a red car' is a text of the region"}),
]


def plant_all(tables: Any, benchmark_sha: str) -> set[tuple[str | None, str | None, str]]:  # noqa: ANN401 - a fixture's class
    """Plant a fault for every rule that speaks of rows; returns the quarantine's expected (key, region, reason)."""
    expected: set[tuple[str | None, str | None, str]] = set()
    for rule, table, row, values in CHANGED:
        tables.plant(table, row, **values)
        broken = getattr(tables, table).loc[row]
        expected.add((broken["key"], broken.get("region_id"), rule))
    tables.plant("images", 20, sha256=benchmark_sha)
    tables.plant("images", 22, sha256=tables.images.loc[21, "sha256"])
    tables.append("images", 23, sha256="e" * 64)
    tables.append("images", 24, key=None, sha256="f" * 64)
    tables.plant("regions", 101, region_id="r2")
    tables.append("regions", 110, key="ghost")
    tables.append("regions", 112, key=None)
    tables.plant("regions", 114, region_id=None)
    return expected | {
        ("image020", None, "image_not_in_benchmark"),
        ("image022", None, "image_content_unique"),
        ("image023", None, "image_key_unique"),
        (None, None, "image_key_present"),
        ("image025", "r2", "region_id_unique"),
        ("ghost", "r2", "region_has_image"),
        (None, "r0", "region_key_present"),
        ("image028", None, "region_id_present"),
    }


def test_every_counted_step_reaches_its_end(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    totals: dict[str, int] = {}
    done: Counter[str] = Counter()

    def listener(step: str, total: int | None, _unit: str) -> Callable[[int], None]:
        if total is not None:
            totals[step] = total
        return lambda count: done.update({step: count})

    inputs = store(tables)
    listen(listener)
    try:
        run(LENIENT.model_copy(update={"chunk_rows": 50, "canned_images_min": 100}), inputs, tmp_path / "out")
    finally:
        listen(None)
    assert len(totals) == 9
    assert done == totals


def test_a_good_dataset_passes(tables: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    def no_network(*_: object) -> None:
        raise AssertionError("the stage opened a connection")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    inputs = store(tables)

    summary = run(ValidateParams(), inputs, tmp_path / "out")

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["passed"]
    assert set(report["rules"]) == set(get_args(RuleName))
    assert {rule["status"] for rule in report["rules"].values()} == {"pass"}
    assert all(rule["checked"] > 0 for rule in report["rules"].values())
    assert report["annotate_quarantine"] == {
        "images": 1,
        "regions": 1,
        "reasons": {"empty_box": 1, "undecodable": 1},
    }
    assert pq.read_table(tmp_path / "out" / "quarantine.parquet").num_rows == 0
    metrics = json.loads(inputs.metrics.read_text())
    assert metrics["passed"] == 1
    assert metrics["images"] == {"total": 40, "quarantined": 0, "passed": 40, "share": 1.0}
    assert set(metrics["failed"].values()) == {0}
    index = (inputs.data_docs / "great_expectations" / "index.html").read_text()
    assert "the gate is open" in (inputs.data_docs / "index.html").read_text()
    assert all(name in index for name in ("images", "regions", "image_keys", "region_keys", "dataset"))
    assert ("images", "40 of 40 pass (100.0%)") in summary.rows


def test_images_that_are_put_aside_are_rows_of_the_quarantine(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    summary = run(ValidateParams(leave_out=3), store(tables), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [(row["reason"], row["region_id"]) for row in rows] == [("left_out", None)] * 3
    assert {row["key"] for row in rows} < set(tables.images["key"])
    assert ("put aside for measuring", "3") in summary.rows
    assert "37 of 40 pass" in dict(summary.rows)["images"]


def test_more_than_half_of_the_images_cannot_be_put_aside(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"validate.leave_out: expected at most 20, half of the 40 .*, got 21"):
        run(ValidateParams(leave_out=21), store(tables), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_rule_finds_its_row_and_no_other(tables: Any, store: Store, benchmark_sha: str, tmp_path: Path) -> None:  # noqa: ANN401
    expected = plant_all(tables, benchmark_sha)
    assert {reason for *_, reason in expected} == set(get_args(RuleName)) - DATASET_RULES

    inputs = store(tables)
    run(LENIENT, inputs, tmp_path / "out")

    rows = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert {(row["key"], row["region_id"], row["reason"]) for row in rows} == expected
    # Both copies of a key, of an image or of a region, are at fault; every other fault is one row.
    assert len(rows) == len(expected) + 2, sorted(map(str, rows))
    details = {row["reason"]: row["detail"] for row in rows}
    assert details["region_box_right"] == "width=96, x1=96.5"
    assert details["region_caption_clean"] == "caption_dirt='\\x00'"
    assert details["image_content_unique"] == "first_copy=image021"
    assert details["image_not_in_benchmark"] == "benchmark_key=bench0"
    assert details["image_tags_known"] == "unknown_tags=unicorn"
    assert {row["stage"] for row in rows} == {"validate"}

    # The engine compares Great Expectations' count with the mask's and makes a difference an error: there is none.
    rules = json.loads((tmp_path / "out" / "report.json").read_text())["rules"]
    assert [name for name, rule in rules.items() if rule["error"]] == []
    assert {name for name, rule in rules.items() if rule["failed"]} == {reason for *_, reason in expected}

    metrics = json.loads(inputs.metrics.read_text())
    # Besides the changed rows: two hashes, both copies of a key, a row without a key, the owner of a nameless region.
    assert metrics["images"]["quarantined"] == len([f for f in CHANGED if f[1] == "images"]) + 2 + 2 + 1 + 1
    assert metrics["regions"]["quarantined"] == len([f for f in CHANGED if f[1] == "regions"]) + 2 + 1 + 1 + 1


def test_chunks_and_repetition_change_nothing(tables: Any, store: Store, benchmark_sha: str, tmp_path: Path) -> None:  # noqa: ANN401
    plant_all(tables, benchmark_sha)
    inputs = store(tables)

    run(LENIENT, inputs, tmp_path / "once")
    run(LENIENT, inputs, tmp_path / "again")
    run(LENIENT.model_copy(update={"chunk_rows": 60}), inputs, tmp_path / "chunks")

    for name in ("report.json", "quarantine.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    assert (tmp_path / "chunks" / "report.json").read_text() == (tmp_path / "once" / "report.json").read_text()
    rows = [pq.read_table(tmp_path / n / "quarantine.parquet").to_pylist() for n in ("once", "chunks")]
    assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))


def test_the_gate_closes_and_leaves_no_output(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    for row in range(6):
        tables.plant("regions", row, x0=-1.0, mask_x0=None, has_mask=False)
    tables.plant("regions", 60, label="violin")
    tables.plant("regions", 64, caption="")
    inputs = store(tables)
    with fresh_folder(tmp_path / "out") as earlier:
        (earlier / "report.json").write_text("of an earlier run")

    with pytest.raises(GateError) as caught:
        run(ValidateParams(tolerances={"region_caption_length": 0.0}), inputs, tmp_path / "out")

    message = str(caught.value)
    assert "2 of 50 rules" in message
    assert "region_box_left [ExpectColumnValuesToBeBetween(column=x0, min_value=0, strict_min=False)]" in message
    assert "6 of 160 rows failed (3.75%), tolerance 1.00%" in message
    assert "e.g. image000/r0, image000/r1, image000/r2, image000/r3, image001/r0\n" in message
    assert "-> change validate.tolerances.region_box_left (0.01) in params.yaml\n" in message
    assert "region_label_held_out" in message
    assert "1 of 80 rows failed (1.25%), tolerance 0.00%; e.g. image015/r0" in message
    # A warning over its tolerance is counted, and closes nothing.
    assert "region_caption_length" not in message
    assert not (tmp_path / "out").exists()
    page = (inputs.data_docs / "index.html").read_text()
    assert re.search("(https?:)?//", page) is None, "the page that a closed gate points to stands alone"
    assert "<script" not in page
    assert "the gate is closed" in page
    assert "change validate.tolerances.region_box_left (0.01) in params.yaml" in page
    assert "region_caption_length" in page
    report = json.loads((inputs.data_docs / "failed_report.json").read_text())
    assert report["rules"]["region_caption_length"]["status"] == "warning"
    assert pq.read_table(inputs.data_docs / "failed_quarantine.parquet").num_rows == 8
    metrics = json.loads(inputs.metrics.read_text())
    assert (metrics["passed"], metrics["failed"]["region_box_left"]) == (0, 6)


def test_a_dataset_with_few_labels_closes_the_gate(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.regions = tables.regions.assign(labelled=False, label=None, label_score=None)
    tables.quarantine = tables.quarantine.iloc[[0] * 40].assign(key=[f"lost{i}" for i in range(40)])

    with pytest.raises(GateError) as caught:
        run(ValidateParams(), store(tables), tmp_path / "out")

    message = str(caught.value)
    assert "3 of 50 rules" in message
    for fact in ("label_score_mean=0", "labelled_image_share=0", "annotated_image_share=0.5"):
        assert f"measured {fact}" in message
    assert (
        "-> change validate.label_score_mean_min (0.1) or validate.label_score_mean_max (1) in params.yaml; more "
        in (message)
    )
    assert "-> change validate.labelled_image_share_min (0.5) in params.yaml; " in message
    assert "annotate.label.threshold" in message


def test_images_without_any_region_close_the_gate_with_its_keys(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.regions = tables.regions.iloc[:0]
    with pytest.raises(GateError) as caught:
        run(ValidateParams(), store(tables), tmp_path / "out")
    assert "labelled_image_share=0" in str(caught.value)
    run(ValidateParams(labelled_image_share_min=0.0, label_score_mean_min=0.0), store(tables), tmp_path / "out")


def test_every_rule_names_params_that_exist() -> None:
    params, concepts = ValidateParams(), ClassList(things=["cat"], stuff=[], held_out=[])
    rules = [
        *suites.image_rules(params), *suites.region_rules(params, concepts), *suites.image_key_rules(),
        *suites.region_key_rules(), *suites.dataset_rules(params),
    ]  # fmt: skip
    for rule in rules:
        message = gate_message(
            [RuleOutcome("images", rule, 0.0, checked=1, failed=1, examples=["k"])], Path("docs"), params
        )
        assert rule.severity != "critical" or f"validate.tolerances.{rule.name} (0)" in message
        assert all(f"validate.{name} (" in message or rule.severity != "critical" for name in rule.bounds)


def test_a_missing_or_mistyped_column_is_an_error_and_no_pass(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.images = tables.images.drop(columns="key")
    tables.regions = tables.regions.drop(columns=["label_score", "score"])
    inputs = store(tables)
    regions = pq.read_table(inputs.annotations / "regions.parquet").drop_columns(["mask_x0"])
    regions = regions.append_column("mask_x0", [["left"] * regions.num_rows])
    pq.write_table(regions, inputs.annotations / "regions.parquet")

    with pytest.raises(GateError) as caught:
        run(ValidateParams(), inputs, tmp_path / "out")

    message = str(caught.value)
    path = inputs.annotations / "regions.parquet"
    assert "region_score_range [ExpectColumnValuesToBeBetween(column=score, min_value=0.0, " in message
    assert f"ERROR {path}: column 'score' is missing" in message
    assert f"ERROR {path}: column 'mask_x0': expected number, got string" in message
    rules = json.loads((inputs.data_docs / "failed_report.json").read_text())["rules"]
    assert {name for name, rule in rules.items() if rule["status"] == "error"} == {
        *("image_key_present", "image_key_unique", "image_content_unique", "region_has_image"),
        *("region_score_present", "region_score_range"),
        *("region_label_present", "region_label_score_range", "label_score_mean"),
        *("region_mask_present", "region_mask_in_box"),
        *("labelled_image_share", "annotated_image_share"),
    }
    metrics = json.loads(inputs.metrics.read_text())
    assert metrics["failed"]["region_score_range"] is None
    assert metrics["errors"] == 13
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_captions_is_not_asked_for_them(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.images = tables.images.assign(caption=None, caption_score=None, tags="", tag_score_min=None)

    summary = run(ValidateParams(), store(tables), tmp_path / "out")

    assert ("not checked, without captions or labels", "captioned_image_share") in summary.rows
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["images"]["passed"] == 40
    assert report["rules"]["labelled_image_share"]["checked"] == 1  # labels came with the images


def test_a_dataset_without_any_word_is_not_asked_for_labels(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.images = tables.images.assign(caption=None, caption_score=None, tags="", tag_score_min=None)
    nothing = {"label": None, "label_score": None, "caption": None, "caption_score": None}
    tables.regions = tables.regions.assign(labelled=False, **nothing)
    inputs = store(tables)
    inputs.vocabulary.write_text('{"things": [], "stuff": [], "held_out": []}')

    summary = run(ValidateParams(), inputs, tmp_path / "out")

    (asked,) = [value for name, value in summary.rows if name.startswith("not checked")]
    assert asked == "label_score_mean, captioned_image_share, labelled_image_share"


def test_few_images_without_a_caption_stay_and_many_name_the_key(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    tables.images.loc[:9, "caption"] = None
    run(ValidateParams(), store(tables), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["images"]["passed"] == 40

    tables.images.loc[:29, "caption"] = None
    with pytest.raises(GateError, match=r"captioned_image_share=0.25\n.*validate.captioned_image_share_min"):
        run(ValidateParams(), store(tables), tmp_path / "out2")


@pytest.mark.parametrize("name", ["images"])
def test_an_empty_table_is_refused(name: str, tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    setattr(tables, name, getattr(tables, name).iloc[:0])
    with pytest.raises(DataError, match=rf"{name}\.parquet: expected at least one row, the table is empty"):
        run(ValidateParams(), store(tables), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the vocabulary of the annotate stage, found none"),
        ("{", "vocabulary: Invalid JSON"),
        ('{"things": []}', "stuff: Field required"),
    ],
)
def test_a_bad_vocabulary_is_refused(
    content: str | None,
    message: str,
    tables: Any,  # noqa: ANN401
    store: Store,
    tmp_path: Path,
) -> None:
    inputs = store(tables)
    inputs.vocabulary.unlink() if content is None else inputs.vocabulary.write_text(content)
    with pytest.raises(DataError, match=message):
        run(ValidateParams(), inputs, tmp_path / "out")


def test_other_spellings_of_a_type_are_read(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    inputs = store(tables)
    path = inputs.annotations / "regions.parquet"
    table = pq.read_table(path)
    # A dictionary column, 32-bit floats, and a column of nulls only, which has no type.
    table = table.set_column(table.schema.get_field_index("label"), "label", table["label"].dictionary_encode())
    table = table.set_column(table.schema.get_field_index("score"), "score", table["score"].cast(pa.float32()))
    table = table.set_column(table.schema.get_field_index("caption"), "caption", pa.nulls(table.num_rows))
    pq.write_table(table, path)

    run(ValidateParams(), inputs, tmp_path / "out")

    rules = json.loads((tmp_path / "out" / "report.json").read_text())["rules"]
    assert {rule["status"] for rule in rules.values()} == {"pass"}
    assert rules["region_caption_length"]["checked"] == 0


def test_damaged_tables_are_refused(tables: Any, store: Store, tmp_path: Path) -> None:  # noqa: ANN401
    inputs = store(tables)
    dropped = inputs.annotations / "quarantine.parquet"
    pq.write_table(pq.read_table(dropped).drop_columns(["reason"]), dropped)
    with pytest.raises(DataError, match=r"quarantine\.parquet: column 'reason' is missing"):
        run(ValidateParams(), inputs, tmp_path / "out")
    (inputs.annotations / "regions.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"regions\.parquet: not a readable parquet table"):
        run(ValidateParams(), inputs, tmp_path / "out")
    (inputs.annotations / "images.parquet").unlink()
    with pytest.raises(DataError, match=r"images\.parquet: expected a table of the annotate stage, found none"):
        run(ValidateParams(), inputs, tmp_path / "out")
