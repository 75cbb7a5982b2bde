"""Each kind of check: its row mask must count what Great Expectations counts, on awkward values too."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from umgclip.params import ValidateParams
from umgclip.validate.engine import Engine
from umgclip.validate.gate import Gate, TableCheck
from umgclip.validate.rules import (
    Condition,
    Rule,
    absent,
    greater,
    matching,
    member,
    not_member,
    present,
    unique,
    within,
)

# In the order of the rows of `frame`, the rows that fail.
CASES: list[tuple[Condition, list[int]]] = [
    (present("text"), [2]),
    (absent("text"), [0, 1, 3, 4, 5, 6]),
    (absent("nulls"), []),
    (within("a", 0.0, 1.0), [3, 4, 5]),
    (within("a", low=0.0), [3, 4]),
    (within("a", low=0.0, above=True), [0, 3, 4]),
    (within("a", high=1.0), [5]),
    (within("nulls", 0.0, 1.0), []),
    (greater("a", "b"), [0, 3]),
    (greater("a", "b", or_equal=True), [3]),
    (matching("text", r"^[a-z]+$"), [3, 4]),
    (member("text", {"x", "y"}), [3, 4]),
    (not_member("text", {"x"}), [0, 5]),
    (not_member("text", set()), []),
    (unique("text"), [0, 1, 5, 6]),
    (unique("text", "b"), [0, 5]),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Set up one context for all cases, since that takes long."""
    return Engine(tmp_path_factory.mktemp("docs"))


@pytest.fixture
def frame() -> pd.DataFrame:
    """Edges, infinities, nulls, empty and repeated strings."""
    return pd.DataFrame(
        {
            "a": [0.0, 1.0, np.nan, -1e-9, -np.inf, np.inf, 0.5],
            "b": [0.0, 0.0, 1.0, 1.0, np.nan, 0.0, np.nan],
            "text": pd.Series(["x", "y", None, "", "Z z", "x", "y"], dtype="str"),
            "nulls": [np.nan] * 7,
        }
    )


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)))
def test_mask_and_expectation_agree(
    number: int, case: tuple[Condition, list[int]], engine: Engine, frame: pd.DataFrame
) -> None:
    check, expected = case
    rule = Rule(f"rule{number}", check)

    verdict = engine.check(f"case{number}", [rule], frame, {rule.name: 0.0})[rule.name]

    assert np.flatnonzero(check.failing(frame)).tolist() == expected
    assert (verdict.failed, verdict.error) == (len(expected), None)


def test_a_mask_that_disagrees_is_an_error(engine: Engine, frame: pd.DataFrame) -> None:
    blind = present("a")
    wrong = Condition(blind.expectation, blind.kwargs, blind.columns, lambda f: np.zeros(len(f), bool), nulls=True)
    gate = Gate(engine, ValidateParams())

    gate.check(TableCheck("wrong", (Rule("wrong", wrong),), [frame], {}))

    assert gate.outcomes[0].status == "error"
    assert gate.outcomes[0].error == "columns a: the expectation counts 1 failing rows, the row mask 0"


def test_what_great_expectations_cannot_do_is_an_error(engine: Engine, frame: pd.DataFrame) -> None:
    rule = Rule("lost", present("nowhere"))
    verdict = engine.check("lost", [rule], frame, {"lost": 0.0})["lost"]
    assert verdict.failed is None
    assert verdict.error is not None
    assert "nowhere" in verdict.error


def test_a_frame_is_let_go_after_its_check(engine: Engine, frame: pd.DataFrame) -> None:
    copy = frame.copy()
    there = weakref.ref(copy)
    engine.check("let_go", [Rule("rule", present("text"))], copy, {"rule": 0.5})
    del copy
    gc.collect()
    assert there() is None


def test_docs_have_a_stable_first_page(engine: Engine, frame: pd.DataFrame, tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.check("table", [Rule("rule", present("text"))], frame, {"rule": 0.5})
    engine.write_docs()
    assert (tmp_path / "index.html").is_file()
    assert "Rule rule, critical, tolerance 0.5" in (tmp_path / "expectations" / "table.html").read_text()


def test_a_tolerance_of_a_rule_beats_that_of_all(engine: Engine, frame: pd.DataFrame) -> None:
    rules = (
        Rule("region_score_range", within("a", 0.0, 1.0)),
        Rule("region_label_held_out", not_member("text", {"x"}), tolerance=0.0),
        Rule("region_box_left", within("b", low=0.5)),
    )
    gate = Gate(engine, ValidateParams(tolerance=0.6, tolerances={"region_box_left": 0.1}))
    gate.check(TableCheck("tolerances", rules, [frame], {}))
    assert [(t.tolerance, t.failed, t.checked, t.status) for t in gate.outcomes] == [
        (0.6, 3, 6, "tolerated"),
        (0.0, 2, 6, "fail"),
        (0.1, 3, 5, "fail"),
    ]
