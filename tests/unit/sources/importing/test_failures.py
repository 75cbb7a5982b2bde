"""The net under every importer: what one image brings about costs that image, by name, and no other."""

import json
import subprocess
import sys
import textwrap

import pytest

from umgclip.errors import DataError, StorageError
from umgclip.io.places import place_at
from umgclip.sources.formats import tars
from umgclip.sources.formats.shared import reading
from umgclip.sources.importing import failures, parts


@pytest.fixture
def failing(monkeypatch):
    """Make reading an image file raise, by its name."""

    def fail(names, error):
        read = reading.read_image

        def read_image(source, name, limit):
            if names is None or name in names:
                raise error
            return read(source, name, limit)

        monkeypatch.setattr("umgclip.sources.formats.folder.read_image", read_image)

    return fail


def test_an_image_about_which_anything_is_raised_is_named_with_the_line(kit, photos, tmp_path, failing):
    failing({"b/1.jpg", "a/6.jpg", "b/7.jpg"}, KeyError("segments"))
    done = kit.bring("folder", photos, tmp_path / "data")
    assert len(done.records) == 7
    assert done.reasons == [("import_error", name) for name in ("a/6.jpg", "b/1.jpg", "b/7.jpg")]
    details = {row["detail"] for row in done.quarantine}
    assert len(details) == 1
    assert details.pop().startswith("KeyError: 'segments' (umgclip/sources/formats/folder.py:")
    assert done.statistics["counts"]["image_files"] == 10


def test_what_placing_its_words_raises_costs_the_image_too(kit, photos, tmp_path, monkeypatch):
    prepare_sample = failures.prepare_sample

    def raising(problems, request, params):
        if problems.name == "a/8.jpg":
            raise ZeroDivisionError("division by zero")
        return prepare_sample(problems, request, params)

    monkeypatch.setattr(failures, "prepare_sample", raising)
    done = kit.bring("folder", photos, tmp_path / "data")
    assert len(done.records) == 9
    assert done.reasons == [("import_error", "a/8.jpg")]


def test_a_store_that_does_not_answer_ends_the_import(kit, photos, tmp_path, failing):
    failing({"b/1.jpg"}, StorageError("s3://x: does not answer"))
    with pytest.raises(StorageError, match="does not answer"):
        kit.bring("folder", photos, tmp_path / "data")


def test_a_set_that_fails_as_a_whole_ends_with_the_error(kit, photos, tmp_path, failing, monkeypatch):
    monkeypatch.setattr(parts, "HOPELESS", 3)
    failing(None, KeyError("segments"))
    with pytest.raises(DataError, match=r"the first 3 of a part all failed .* KeyError: 'segments' \(umgclip/"):
        kit.bring("folder", photos, tmp_path / "data")


def test_a_tar_ends_where_something_unforeseen_happens_and_says_so(kit, tmp_path, monkeypatch):
    members = [(f"{n}.jpg", kit.encoded(kit.pixels(n))) for n in range(4)]
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    kit.write_tar(tmp_path / "in" / "1.tar", [("9.jpg", kit.encoded(kit.pixels(9)))])
    groups = tars.read_samples

    def broken(source, name, limit, *more):
        for number, group in enumerate(groups(source, name, limit, *more)):
            if name == "0.tar" and number == 2:
                raise IndexError("pop from an empty deque")
            yield group

    monkeypatch.setattr(tars, "read_samples", broken)
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert sorted(done.records) == ["0.tar:0", "0.tar:1", "1.tar:9"]
    assert done.reasons == [("import_error", "0.tar:(from image 2 on)")]


def test_regions_of_a_record_of_ours_that_cannot_be_read_cost_themselves(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    good, boxes = {"size": [30, 40], "counts": "PQ1"}, {"n": [float("nan"), 0, 1, 1], "o": [0, 0, 50, 5]}
    masks = {"p": {**good, "counts": "P"}, "q": {**good, "size": [40, 30]}, "s": None}
    regions = [{"id": name, "box_xyxy": box} for name, box in boxes.items()]
    regions += [{"id": name, "box_xyxy": [0, 0, 9, 9], "mask": mask} for name, mask in masks.items()]
    record = {
        "schema_version": 1, "key": "k", "width": 40, "height": 30, "sha256": "0", "source": {"dataset": "x/train"},
        "regions": regions,
    }  # fmt: skip
    (tmp_path / "in" / "a.json").write_text(json.dumps(record))
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data")
    assert [region.id for region in done.records["a.jpg"].regions] == ["s"]
    problems = {row["region_id"]: row["reason"] for row in done.quarantine}
    assert problems == {"n": "bad_box", "o": "bad_box", "p": "bad_mask", "q": "bad_mask"}


DYING = textwrap.dedent(
    """
    import os, signal, sys
    from umgclip.params import ImportParams
    from umgclip.sources.importing import samples
    from umgclip.sources.importing.run import run_import
    from umgclip.sources.request import Request

    prepare = samples.prepare_image

    def deadly(data, **more):
        if len(data) == int(sys.argv[3]):  # an image over which C code dies
            os.kill(os.getpid(), signal.SIGSEGV)
        return prepare(data, **more)

    samples.prepare_image = deadly  # also in the workers, which import this file

    if __name__ == "__main__":
        request = Request(sys.argv[4], sys.argv[1], "train", "test")
        counts = []
        from umgclip.sources.importing.run import ImportCallbacks
        callbacks = ImportCallbacks(advance=counts.append)
        run_import(request, ImportParams(workers=2, shard_samples=4), sys.argv[2], callbacks=callbacks)
        print(sum(counts))
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_an_image_over_which_workers_die_is_put_aside_and_the_import_goes_on(kit, photos, tmp_path, kind):
    deadly = kit.encoded(kit.pixels(5)) + b"\0" * 777
    (photos / "a" / "dead.jpg").write_bytes(deadly)
    source = photos
    if kind == "webdataset":
        source = tmp_path / "tars"
        files = sorted(photos.rglob("*.jpg"))
        kit.write_tar(source / "0.tar", [(path.name, path.read_bytes()) for path in files])
    (tmp_path / "run.py").write_text(DYING)
    command = [sys.executable, str(tmp_path / "run.py"), str(source), str(tmp_path / "data"), str(len(deadly)), kind]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert told.stdout.split() == ["11"]
    done = kit.opened(place_at(tmp_path / "data" / "train"))
    name = "a/dead.jpg" if kind == "folder" else "0.tar:dead"
    assert done.reasons == [("crashed", name)]
    assert done.quarantine[0]["detail"] == "the process that worked on it died 2 times, by SIGSEGV"
    assert len(done.records) == 10
