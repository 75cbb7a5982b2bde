"""Rows of tables as text: what is wrong with one costs that one, and names its line."""

import io

import pytest

from umgclip.io.delimited import delimiter_of, read_rows, split


def rows(text, delimiter=","):
    def starts_row(cells):
        return len(cells) >= 2 and cells[0].endswith(".jpg")

    data = io.BytesIO(text.encode("utf-8", "surrogateescape"))
    handle = io.TextIOWrapper(data, "utf-8", "surrogateescape", newline="")
    return [(row.line, row.cells or row.broken) for row in read_rows(handle, delimiter, starts_row)]


def reasons(found):
    return {line: what.partition(":")[0] for line, what in found if isinstance(what, str)}


def test_quotes_hold_commas_quotes_and_line_ends():
    text = (
        '0.jpg,"a, b"\r\n1.jpg,"two\r\nlines, and ""quotes"""\r\n\r\n2.jpg, "behind a space"\r\n3.jpg,he said "hi"\r\n'
    )
    assert rows(text) == [
        (1, ["0.jpg", "a, b"]), (2, ["1.jpg", 'two\r\nlines, and "quotes"']), (5, ["2.jpg", "behind a space"]),
        (6, ["3.jpg", 'he said "hi"']),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('1.jpg,"Hello, she said', "a quote that does not close"),
        ('1.jpg,"the 5" screen', "a quote inside a text"),
        ('1.jpg,"the 5 inch" screen" of a phone', "a quote inside a text"),
        ('"1.jpg,a cat', "a quote that does not close"),
    ],
)
@pytest.mark.parametrize("behind", ["2.jpg,a dog\n3.jpg,a bird\n", '2.jpg,"a, dog"\n3.jpg,"a bird"\n', ""])
def test_a_stray_quote_costs_one_row(bad, reason, behind):
    found = rows(f"0.jpg,a cat\n{bad}\n{behind}")
    assert reasons(found) == {2: reason} or (reasons(found).keys() == {2} and behind)
    good = [cells for _, cells in found if isinstance(cells, list)]
    assert [cells[0] for cells in good] == ["0.jpg", *(["2.jpg", "3.jpg"] if behind else [])]


def test_two_stray_quotes_do_not_swallow_the_rows_between_them():
    found = rows('0.jpg,"Hello she said\n1.jpg,a dog\n2.jpg,a screen of 5"\n3.jpg,a bird\n')
    assert reasons(found) == {1: "a quote that does not close"}
    assert found[1:] == [(2, ["1.jpg", "a dog"]), (3, ["2.jpg", 'a screen of 5"']), (4, ["3.jpg", "a bird"])]


def test_a_quote_goes_on_for_so_many_lines_only():
    found = rows('0.jpg,"open\n' + "words\n" * 500 + "1.jpg,a dog\n")
    assert reasons(found) == {1: "a quote that does not close"}
    assert found[-1] == (502, ["1.jpg", "a dog"])


def test_tabs_part_cells_without_quoting():
    text = '0.jpg\t"the best" shoes\n1.jpg\t"Hello she said\n2.jpg\ta dog\n3.jpg\t"pandas says ""so"""\n'
    assert [cells for _, cells in rows(text, "\t")] == [
        ["0.jpg", '"the best" shoes'], ["1.jpg", '"Hello she said'], ["2.jpg", "a dog"], ["3.jpg", 'pandas says "so"'],
    ]  # fmt: skip


def test_line_ends_of_old_macs_and_zero_bytes():
    assert rows("0.jpg,a\r1.jpg,b\r") == [(1, ["0.jpg", "a"]), (2, ["1.jpg", "b"])]
    assert reasons(rows("0.jpg,a\0b\n1.jpg,b\n")) == {1: "a zero byte"}
    assert reasons(rows("0.jpg,caf\udce9\n")) == {1: "bytes that are no text"}


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        ("file,caption", ","), ("file;caption", ";"), ("file\tcaption", "\t"), ("file| caption", "|"), ("sep=;", ";"),
        ('"file","caption"', ","), ("file,a;b;c,caption", ","), ("file caption", None), ("", None),
    ],
)  # fmt: skip
def test_the_delimiter_is_that_under_which_the_first_line_fits(line, delimiter):
    assert delimiter_of(line, lambda cells: {"file", "caption"} <= {cell.strip() for cell in cells}) == delimiter


def test_a_line_alone():
    assert split('a,"b, c"\r\n', ",") == ["a", "b, c"]
    assert split('a,"b, c\r\n', ",") == ["a", '"b', " c"]
