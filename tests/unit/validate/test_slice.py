"""Images that are put aside for measuring."""

import hashlib

import pyarrow as pa

from umgclip.stage import LEFT_OUT
from umgclip.validate.gate import QUARANTINE
from umgclip.validate.slice import chosen, put_aside

KEYS = [f"image-{number}" for number in range(50)]


def test_the_choice_is_by_the_key_alone():
    first = chosen(KEYS, 10)
    assert first == sorted(KEYS, key=lambda key: hashlib.sha256(key.encode()).hexdigest())[:10]
    assert chosen(reversed(KEYS), 10) == first
    # an image that comes later takes the place of one at most
    more = chosen([*KEYS, "one-more"], 10)
    assert len(set(first) - set(more)) <= 1
    assert chosen(KEYS, 100) == chosen(KEYS, 50)


def test_images_with_a_fault_are_no_measure_and_nothing_is_lost():
    worst = chosen(KEYS, 2)
    faults = [
        {"key": worst[0], "region_id": None, "stage": "validate", "reason": "image_width_range", "detail": "1"},
        {"key": worst[1], "region_id": "r0", "stage": "validate", "reason": "region_box_left", "detail": "-1"},
    ]
    before = pa.Table.from_pylist(faults, schema=QUARANTINE)
    after = put_aside(before, [*KEYS, None], 3)
    assert after.schema == before.schema
    assert after.slice(0, 2).equals(before)
    aside = after.slice(2).to_pylist()
    # the image whose region has a fault may be measured, the one with a fault of its own may not
    assert [row["key"] for row in aside] == chosen(KEYS, 4)[1:]
    assert {(row["reason"], row["region_id"], row["stage"]) for row in aside} == {(LEFT_OUT, None, "validate")}
    assert put_aside(before, KEYS, 0).equals(before)
