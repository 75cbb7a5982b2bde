"""Texts in CSV files that a spreadsheet would run."""

import csv

import pytest

from umgclip.io.spreadsheet import cell, write_csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://a.example","b")'])
def test_a_formula_is_a_text(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1, -0.5, 1e-9, 0, "dog", "a=b", "", None, "'quoted"])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert cell(value) is value


def test_a_table_reads_back(tmp_path):
    path = tmp_path / "table.csv"

    write_csv(path, ("class", "gain"), [("=cmd|' /C calc'!A0", -0.25), ("dog, brown", 3), ('say "hi"', 1e-7)])

    with path.open(encoding="utf-8", newline="") as handle:
        assert list(csv.reader(handle)) == [
            ["class", "gain"],
            ["'=cmd|' /C calc'!A0", "-0.25"],
            ["dog, brown", "3"],
            ['say "hi"', "1e-07"],
        ]
