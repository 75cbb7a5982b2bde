"""What a version keeps besides its weights."""

import pytest

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.register.folder import interface_sha256, read_vocabulary


def test_a_vocabulary_is_things_then_stuff_each_once(tmp_path):
    write_json(tmp_path / "v.json", {"things": ["dog", "sky"], "stuff": ["sky", "sea"], "held_out": ["dog"]})
    assert read_vocabulary(tmp_path / "v.json") == ("dog", "sky", "sea")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"things": ["dog"]}, "v.json: stuff: expected a list of texts, got None"),
        ({"things": [1], "stuff": []}, r"v.json: things: expected a list of texts, got \[1\]"),
        ([], "v.json: expected a JSON object, got list"),
    ],
)
def test_a_vocabulary_that_is_none_is_named(tmp_path, content, message):
    write_json(tmp_path / "v.json", content)
    with pytest.raises(DataError, match=message):
        read_vocabulary(tmp_path / "v.json")


def test_prompt_and_vocabulary_make_another_interface():
    one = interface_sha256("{a} {}", ["dog"])
    assert one == interface_sha256("{a} {}", ("dog",))
    assert len({one, interface_sha256("{}", ["dog"]), interface_sha256("{a} {}", ["cat"])}) == 3
