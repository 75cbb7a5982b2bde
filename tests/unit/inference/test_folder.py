"""What a version keeps besides its weights."""

import pytest

from umgclip.errors import DataError
from umgclip.inference.folder import interface_sha256, read_box_share, read_vocabulary
from umgclip.io.atomic import write_json


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


def test_a_version_from_before_there_was_a_choice_reads_whole_boxes():
    assert read_box_share({"template": "{a} {}"}) == 1.0
    assert read_box_share({"template": "{a} {}", "box_share": 0.5}) == 0.5


def test_prompt_box_share_and_vocabulary_make_another_interface():
    one = interface_sha256("{a} {}", 0.7, ["dog"])
    assert one == interface_sha256("{a} {}", 0.7, ("dog",))
    others = [interface_sha256("{}", 0.7, ["dog"]), interface_sha256("{a} {}", 1.0, ["dog"])]
    assert len({one, *others, interface_sha256("{a} {}", 0.7, ["cat"])}) == 4
