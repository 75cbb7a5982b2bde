"""The suite's filters of warnings: everything is an error but named warnings of other packages, each with a reason."""

import re
import tomllib
import warnings
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
FILTERS = tomllib.loads(TEXT)["tool"]["pytest"]["ini_options"]["filterwarnings"]


def test_any_other_warning_is_an_error():
    assert FILTERS[0] == "error"
    with pytest.raises(ResourceWarning, match="left open"):
        warnings.warn("a file left open", ResourceWarning, stacklevel=1)


@pytest.mark.parametrize("line", FILTERS[1:])
def test_a_filter_names_a_message_and_a_category_of_others(line):
    action, message, category, *module = line.split(":")
    assert action == "ignore"
    assert len(re.sub(r"\W", "", message)) >= 8, "a message that nothing else gives"
    assert category in ("DeprecationWarning", "FutureWarning", "ResourceWarning", "UserWarning")
    assert not any(re.match(name, own) for name in module for own in ("umgclip.io", "flows.sweep", "tests.unit"))


def test_every_filter_has_its_reason():
    block = TEXT.split("filterwarnings = [\n")[1].split("\n]")[0].splitlines()
    assert block[0].strip() == '"error",'
    reasons, filters = block[1::2], block[2::2]
    assert len(filters) == len(FILTERS) - 1
    assert all(line.startswith("  # ") for line in reasons)
    assert all(line.startswith('  "ignore:') for line in filters)
