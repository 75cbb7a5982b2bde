"""CLIP_benchmark's layout: classification with templates, many labels an image, retrieval with many captions."""

import io

import numpy as np
import pytest

from umgclip.errors import DataError


@pytest.fixture
def write(kit, tmp_path):
    """Write two tars of two images: what is said of each, by extension, and the text files beside them."""

    def make(samples, **files):
        root = tmp_path / "wds"
        for tar, numbers in ((0, (0, 1)), (1, (2, 3))):
            members = []
            for number in numbers:
                members.append((f"s{number}.webp", kit.encoded(kit.pixels(number), "WEBP")))
                members += [(f"s{number}.{extension}", content) for extension, content in samples[number].items()]
            kit.write_tar(root / "test" / f"{tar}.tar", members)
        kit.write_text(root / "test" / "nshards.txt", "2")
        for name, lines in files.items():
            kit.write_text(root / f"{name}.txt", *lines)
        return root

    return make


NAMES = ["tench", "missile", "missile"]
TEMPLATES = {"zeroshot_classification_templates": ["a photo of a {c}.", "itap of the {c}."]}


def test_classification(kit, write, tmp_path):
    samples = [{"cls": b"0"}, {"cls": b"2\n"}, {"cls": b"9"}, {}]
    done = kit.bring("clip_benchmark", write(samples, classnames=NAMES, **TEMPLATES), tmp_path / "data", "benchmark")
    classes = done.manifest.classes
    assert classes.things == ["tench", "missile (1)", "missile (2)"]
    assert classes.names == {"missile (1)": ["missile"], "missile (2)": ["missile"]}
    assert classes.templates == ["a photo of a {}.", "itap of the {}."]
    assert [tag.text for tag in done.records["test/0.tar:s1"].tags] == ["missile (2)"]
    assert {record.source.dataset for record in done.records.values()} == {"test/singles"}
    assert done.reasons == [("no_class", "test/1.tar:s2"), ("no_class", "test/1.tar:s3")]
    assert set(kit.measure(tmp_path / "data" / "benchmark")) == {"classification"}


def test_many_labels_an_image(kit, write, tmp_path):
    samples = []
    for vector in ([1, 0, 1], [0, -1, 1], [1, 0], [0, 0, 0]):
        buffer = io.BytesIO()
        np.save(buffer, np.array(vector))
        samples.append({"npy": buffer.getvalue()})
    root = write(samples, classnames=["dog", "cat", "cow"], dataset_type=["multilabel"])
    done = kit.bring("clip_benchmark", root, tmp_path / "data", "benchmark")
    told = {
        key[-2:]: ([t.text for t in record.tags], [t.text for t in record.negative_tags])
        for key, record in done.records.items()
    }
    assert told == {"s0": (["dog", "cow"], ["cat"]), "s1": (["cow"], ["dog"]), "s3": ([], ["dog", "cat", "cow"])}
    assert done.reasons == [("no_class", "test/1.tar:s2")]
    assert set(kit.measure(tmp_path / "data" / "benchmark")) == {"tagging"}


def test_retrieval_keeps_every_caption(kit, write, tmp_path):
    parts = [
        {"txt": b"a cat\na cat\n a  small cat \n"},
        {"txt": b"a dog"},
        {"txt": b"\n"},
        {"txt": b"x", "json": b"{}"},
    ]
    done = kit.bring("clip_benchmark", write(parts, dataset_type=["retrieval"]), tmp_path / "data", "benchmark")
    captions = {key[-2:]: [text.text for text in record.captions] for key, record in done.records.items()}
    assert captions == {"s0": ["a cat", "a cat", "a small cat"], "s1": ["a dog"], "s3": ["x"]}
    assert done.manifest.classes is None
    assert done.reasons == [("bad_text", "test/1.tar:s2")]
    assert set(kit.measure(tmp_path / "data" / "benchmark")) == {"retrieval"}
    assert done.statistics["not_understood"] == {".json": 1}


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("classnames.txt", r"classnames\.txt: expected the names of the classes"),
        ("test/nshards.txt", r"nshards\.txt: expected the number of tars"),
        ("test/1.tar", r"test/1\.tar: expected one of 2 tars"),
        ("test", "test: expected a folder"),
    ],
)
def test_what_is_missing_is_named_with_its_home(kit, write, tmp_path, lost, message):
    root = write([{"cls": b"0"}] * 4, classnames=NAMES)
    path = root / lost
    path.rename(tmp_path / "away")
    with pytest.raises(DataError, match=f"{message}.*found none; .*https://huggingface.co/clip-benchmark"):
        kit.bring("clip_benchmark", root, tmp_path / "data", "benchmark")


def test_another_kind_of_data_set_is_named(kit, write, tmp_path):
    root = write([{"cls": b"0"}] * 4, classnames=NAMES, dataset_type=["video"])
    with pytest.raises(DataError, match="expected classification, multilabel, retrieval, got 'video'"):
        kit.bring("clip_benchmark", root, tmp_path / "data", "benchmark")
