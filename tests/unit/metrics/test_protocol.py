"""Two results in one column."""

import copy

import pytest

from umgclip.errors import InputError
from umgclip.metrics.protocol import differences, require_same_protocol

BLOCKS = {
    "region": {
        "resolution": "96 x 96",
        "split_sha256": "abc",
        "weights": {"tuned": "one"},
        "readouts": {"box": {"map": "value"}, "crop": {"frame": "0.8"}},
    },
    "retrieval": {"resolution": "96 x 96"},
}


def other(**changed):
    blocks = copy.deepcopy(BLOCKS)
    blocks["region"].update(changed)
    return blocks


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resolution": "48 x 48"}, r"ours and theirs .* same region.resolution, got '96 x 96' and '48 x 48'$"),
        ({"split_sha256": "abd"}, "region.split_sha256, got 'abc' and 'abd'"),
        ({"crowd": "keep"}, "region.crowd, got 'nothing' and 'keep'"),
        ({"readouts": {"crop": {"frame": "1"}}}, "region.readouts.crop.frame, got '0.8' and '1'"),
        ({"resolution": "48 x 48", "crowd": "keep"}, r"region.crowd, got .* \(and 1 more\)"),
    ],
)
def test_the_field_that_differs_is_named(changed, message):
    with pytest.raises(InputError, match=message):
        require_same_protocol(BLOCKS, other(**changed), ("ours", "theirs"))


def test_weights_readouts_and_benchmarks_that_one_side_lacks_are_no_difference():
    fewer = {"region": other(weights={"tuned": "two"}, readouts={"box": {"map": "value"}})["region"]}
    assert list(differences(BLOCKS["region"], fewer["region"])) == []
    require_same_protocol(BLOCKS, fewer, ("ours", "theirs"))


def test_what_the_user_allows_may_differ():
    require_same_protocol(BLOCKS, other(resolution="48 x 48"), ("a", "b"), allowed=["region.resolution"])
    assert [d.field for d in differences(BLOCKS, other(resolution="48 x 48"))] == ["region.resolution"]
