"""JSON about one image, in the many ways in which it is written."""

import pytest

from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.note import Speaker

SPEAKER = Speaker("alt", "tagger")


def text_and_source(texts):
    return None if texts is None else [(text.text, text.source) for text in texts]


@pytest.mark.parametrize(
    ("value", "captions"),
    [
        pytest.param("just a text", ["just a text"], id="a text"),
        pytest.param({"caption": "one"}, ["one"], id="caption"),
        pytest.param({"captions": ["one", "two", "one"]}, ["one", "two"], id="captions"),
        pytest.param({"alt_text": " spaced \n out "}, ["spaced out"], id="alt text"),
        pytest.param({"Caption": [{"text": "one", "score": 0.5}]}, ["one"], id="with scores"),
        pytest.param({"blip2_caption": "one", "shikra-caption": "two"}, ["one", "two"], id="by models"),
        pytest.param({"sentences": [{"raw": "one"}, {"raw": "two"}]}, ["one", "two"], id="of Karpathy"),
        pytest.param({"description": ""}, [], id="an empty one"),
        pytest.param({"width": 3}, None, id="none"),
    ],
)
def test_captions(value, captions):
    expected = None if captions is None else [(text, "alt") for text in captions]
    assert text_and_source(read_note(value, SPEAKER).captions) == expected


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        pytest.param({"tags": ["cat", "dog"]}, [("cat", 1.0), ("dog", 1.0)], id="a list"),
        pytest.param({"tags": "cat | dog"}, [("cat", 1.0), ("dog", 1.0)], id="with bars"),
        pytest.param({"labels": "cat, dog"}, [("cat", 1.0), ("dog", 1.0)], id="with commas"),
        pytest.param({"tag": {"cat": 0.5, "dog": 0.25}}, [("cat", 0.5), ("dog", 0.25)], id="with scores"),
        pytest.param({"tags": [["cat", 0.5]]}, [("cat", 0.5)], id="pairs"),
        pytest.param({"objects": ["cat"]}, [("cat", 1.0)], id="objects that are names"),
        pytest.param({"tags": [{"name": "cat", "confidence": 7}]}, [("cat", 1.0)], id="a score above 1"),
    ],
)
def test_tags(value, tags):
    assert [(text.text, text.score) for text in read_note(value, SPEAKER).tags] == tags


@pytest.mark.parametrize(
    ("box", "form", "expected"),
    [
        pytest.param({"bbox": [1, 2, 3, 4]}, "xyxy", ([1, 2, 3, 4], "xyxy", False), id="bbox"),
        pytest.param({"bbox": [1, 2, 3, 4]}, "xywh", ([1, 2, 3, 4], "xywh", False), id="bbox as told"),
        pytest.param({"box_xyxy": [1, 2, 3, 4]}, "xywh", ([1, 2, 3, 4], "xyxy", False), id="named xyxy"),
        pytest.param({"bbox-xywh": [1, 2, 3, 4]}, "xyxy", ([1, 2, 3, 4], "xywh", False), id="named xywh"),
        pytest.param(
            {"box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}, "xywh", ([1, 2, 3, 4], "xyxy", False), id="corners"
        ),
        pytest.param({"box": {"x": 1, "y": 2, "w": 3, "h": 4}}, "xyxy", ([1, 2, 3, 4], "xywh", False), id="sides"),
        pytest.param({"bbox": [0.1, 0.2, 1.0, 1]}, "xyxy", ([0.1, 0.2, 1.0, 1], "xyxy", True), id="shares"),
        pytest.param({"bbox": [0, 0, 1, 1]}, "xyxy", ([0, 0, 1, 1], "xyxy", False), id="one pixel"),
        pytest.param({"bbox": [1, 2, 3, 4, 0.5]}, "xyxy", ([1, 2, 3, 4], "xyxy", False), id="with its score"),
    ],
)
def test_boxes(box, form, expected):
    (region,) = read_note({"regions": [{**box, "label": "cat"}]}, SPEAKER, form).regions
    assert (list(region.box), region.form, region.shares) == expected
    assert text_and_source(region.tags) == [("cat", "tagger")]


def test_regions_by_name_as_lists_of_boxes_and_as_stuff():
    named = read_note({"instances": {"cat": [[1, 2, 3, 4], [5, 6, 7, 8]], "dog": {"bbox": [1, 1, 2, 2]}}}, SPEAKER)
    assert [(text_and_source(r.tags)[0][0], list(r.box)) for r in named.regions] == [
        ("cat", [1, 2, 3, 4]), ("cat", [5, 6, 7, 8]), ("dog", [1, 1, 2, 2])
    ]  # fmt: skip
    bare = read_note({"boxes": [[1, 2, 3, 4], [5, 6, 7, 8, 0.5]]}, SPEAKER)
    assert [(list(r.box), r.score) for r in bare.regions] == [([1, 2, 3, 4], 1.0), ([5, 6, 7, 8], 0.5)]
    stuff = read_note({"segments": [{"bbox": [1, 2, 3, 4], "isthing": 0}], "stuff": [{"mask": {}}]}, SPEAKER)
    assert [r.is_stuff for r in stuff.regions] == [True, True]


def test_what_is_not_understood_is_named_and_what_says_nothing_is_not():
    note = read_note({"key": 1, "exif": {}, "mood": "calm", "regions": [{"bbox": [1, 2, 3, 4], "depth": 3}]}, SPEAKER)
    assert dict(note.unknown) == {"mood": 1, "region.depth": 1}
    assert dict(read_note(7, SPEAKER).unknown) == {"(no object)": 1}


def test_nothing_found_is_not_the_same_as_not_asked():
    note = read_note({"regions": [], "tags": []}, SPEAKER)
    assert (note.regions, note.tags, note.captions) == ([], [], None)
