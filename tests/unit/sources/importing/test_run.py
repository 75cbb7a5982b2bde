"""Properties of all imports: same bytes every time, resumed, appended to, in S3; duplicates merged."""

import fcntl
import fnmatch
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest
from umgclip.io.places import place_at
from umgclip.params import ImportParams
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.importing import parts, run
from umgclip.sources.importing.parts import split_parts
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request


def test_the_same_images_give_the_same_bytes_whatever_works_on_them(kit, photos, tmp_path):
    (photos / "b" / "again.png").write_bytes((photos / "a" / "0.jpg").read_bytes())  # mislabelled
    (photos / "z.jpg").write_bytes((photos / "a" / "2.jpg").read_bytes())  # a duplicate
    once = kit.bring("folder", photos, tmp_path / "one")
    for number, workers in enumerate((2, 3)):
        out = tmp_path / f"more{number}"
        kit.bring("folder", photos, out, params=kit.PARAMS.model_copy(update={"workers": workers}))
        assert kit.tree(out) == kit.tree(tmp_path / "one")
    assert kit.bring("folder", photos, tmp_path / "one").manifest == once.manifest
    assert len(once.manifest.shards) == 3
    assert [path.name for path in tmp_path.glob("one/.*")] == []


def test_shards_end_at_their_number_of_samples_or_their_size(kit, tmp_path):
    for number in range(6):
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (400, 500, 3), dtype=np.uint8)
        path.write_bytes(kit.encoded(noise, "PNG"))  # 0.6 MB
    params = kit.PARAMS.model_copy(update={"shard_samples": 6, "shard_mb": 1})
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data", params=params)
    assert [shard.samples for shard in done.manifest.shards] == [2, 2, 2]


@pytest.mark.parametrize(("images", "parts", "largest"), [(20, 1, 20), (900, 16, 57), (40_000, 40, 1000)])
def test_small_sets_are_cut_into_shards_for_many_workers(images, parts, largest, tmp_path):
    with ImportPlan(tmp_path / "plan.sqlite", fresh=True) as plan:
        plan.add_items((number, f"{number}.jpg", {}) for number in range(images))
        split = split_parts(plan, Request("folder", "photos", "train", name="test"), ImportParams())
    assert len(split) == parts
    assert max(last - first for first, last in (part.span for part in split)) == largest


def test_an_image_found_again_adds_what_is_said_of_it(kit, photos, tmp_path):
    for name, text in (("a/copy.jpg", "photo number 0"), ("z.jpg", "something new"), ("z2.jpg", "newer still")):
        (photos / name).write_bytes((photos / "a" / "0.jpg").read_bytes())
        (photos / name).with_suffix(".txt").write_text(text)
    done = kit.bring("folder", photos, tmp_path / "data")
    assert len(done.records) == 10
    captions = [text.text for text in done.records["a/0.jpg"].captions]
    assert captions == ["photo number 0", "something new", "newer still"]
    assert done.reasons == [("duplicate", "a/copy.jpg"), ("duplicate", "z.jpg"), ("duplicate", "z2.jpg")]
    folder = place_at(tmp_path / "data" / "train")
    rows = kit.table(folder, "images")
    assert sorted(row["name"] for row in rows) == sorted(done.records)
    shards = {shard.path: shard.samples for shard in done.manifest.shards}
    assert {name: sum(row["shard"] == name for row in rows) for name in shards} == shards
    assert {row["n_captions"] for row in rows if row["name"] == "a/0.jpg"} == {3}


def test_a_shard_of_nothing_but_duplicates_is_none(kit, photos, tmp_path):
    for path in list(photos.rglob("*.jpg"))[:4]:
        (photos / f"z{path.name}").write_bytes(path.read_bytes())
    done = kit.bring("folder", photos, tmp_path / "data")
    assert [shard.samples for shard in done.manifest.shards] == [4, 4, 2]


def test_the_same_object_in_two_classes_keeps_the_first(kit, tmp_path):
    data = kit.photo(tmp_path / "in" / "cat" / "1.jpg")
    for name in ("dog", "cat"):
        (tmp_path / "in" / name).mkdir(exist_ok=True)
        (tmp_path / "in" / name / "2.jpg").write_bytes(data)
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data", "benchmark", labels="folders")
    assert done.reasons == [("conflicting_class", "dog/2.jpg"), ("duplicate", "cat/2.jpg")]
    assert [tag.text for tag in done.records["cat/1.jpg"].tags] == ["cat"]


def test_importing_again_with_append_adds_only_what_is_new(kit, photos, tmp_path):
    first = kit.bring("folder", photos, tmp_path / "data")
    kit.photo(photos / "new.jpg", 77)
    (photos / "a" / "0.txt").write_text("another caption")
    second = kit.bring("folder", photos, tmp_path / "data", append=True)
    assert set(second.records) == {*first.records, "new.jpg"}
    captions = [text.text for text in second.records["a/0.jpg"].captions]
    assert captions == ["photo number 0", "another caption"]
    assert [reason for reason, _ in second.reasons] == ["duplicate"] * 10
    unchanged = {shard.path for shard in first.manifest.shards} & {shard.path for shard in second.manifest.shards}
    assert len(unchanged) == 2
    assert second.manifest.made_by.input_sha256 == first.manifest.digest()
    assert read_manifest(tmp_path / "data" / "train") == second.manifest


def test_a_dataset_of_another_origin_can_be_added_to(kit, photos, tmp_path):
    from umgclip.params import DataParams

    write_demo(DataParams(train_scenes=6, benchmark_scenes=2, benchmark_singles=2, shard_samples=4), tmp_path / "data")
    done = kit.bring("folder", photos, tmp_path / "data", append=True)
    assert len(done.records) == 16
    assert [shard.path for shard in done.manifest.shards[:2]] == ["train-000000.tar", "train-000001.tar"]
    assert done.statistics["datasets"] == {"demo/train": 6, "test/train": 10}


def test_without_append_the_old_dataset_is_replaced(kit, photos, tmp_path):
    kit.bring("folder", photos, tmp_path / "data")
    kit.bring("folder", photos, tmp_path / "data", "benchmark")
    kit.photo(tmp_path / "other" / "x.jpg", 99)
    done = kit.bring("folder", tmp_path / "other", tmp_path / "data")
    assert list(done.records) == ["x.jpg"]
    assert read_manifest(tmp_path / "data" / "benchmark").samples == 10


def test_other_files_are_never_replaced(kit, photos, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="expected a new folder or an existing dataset"):
        kit.bring("folder", photos, tmp_path / "data")
    assert (tmp_path / "data" / "train" / "thesis.tex").read_text() == "x"


def test_two_imports_do_not_write_the_same_dataset(kit, photos, tmp_path):
    busy = tmp_path / "data" / ".train.import.partial"
    busy.mkdir(parents=True)
    handle = os.open(busy, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(InputError, match="another import is writing"):
            kit.bring("folder", photos, tmp_path / "data")
    finally:
        os.close(handle)
    assert len(kit.bring("folder", photos, tmp_path / "data").records) == 10


@pytest.mark.parametrize("there", [None, "notes.txt"])
def test_a_failed_import_with_nothing_to_resume_leaves_no_folders(kit, tmp_path, there):
    (tmp_path / "there").mkdir()
    if there is not None:
        (tmp_path / "there" / there).write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="expected a folder, found none"):
        kit.bring("folder", tmp_path / "none", tmp_path / "there" / "new" / "data")
    assert sorted(tmp_path.rglob("*")) == before


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stop_after(monkeypatch, count):
    do, done = parts.do_part, []

    def stopping(work, part, advance, deaths):
        if len(done) == count:
            raise StoppedError
        do(work, part, advance, deaths)
        done.append(part.number)

    monkeypatch.setattr(parts, "do_part", stopping)
    return done


def test_an_import_goes_on_with_the_parts_that_are_not_done(kit, photos, tmp_path, monkeypatch):
    kit.bring("folder", photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(StoppedError):
            kit.bring("folder", photos, tmp_path / "data")
    assert not (tmp_path / "data" / "train").exists()
    with monkeypatch.context() as patch:
        done = stop_after(patch, 99)
        resumed = kit.bring("folder", photos, tmp_path / "data")
    assert done == [2]
    assert resumed.resumed == 2
    assert kit.tree(tmp_path / "data") == kit.tree(tmp_path / "whole")


@pytest.mark.parametrize("change", ["file", "params", "request"])
def test_parts_of_something_else_are_not_taken(kit, photos, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(StoppedError):
            kit.bring("folder", photos, tmp_path / "data")
    params, options = kit.PARAMS, {}
    if change == "file":
        (photos / "a" / "0.txt").write_text("changed since")
    elif change == "params":
        params = params.model_copy(update={"jpeg_quality": 80})
    else:
        options["license"] = "CC0"
    assert kit.bring("folder", photos, tmp_path / "data", params=params, **options).resumed == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train"]


@pytest.mark.parametrize("moment", ["new", "old"])
def test_a_stop_while_datasets_change_places_loses_none(kit, photos, tmp_path, monkeypatch, moment):
    kit.bring("folder", photos, tmp_path / "data")
    kit.photo(photos / "new.jpg", 88)
    rename = run.Path.rename

    def stopping(path, target):
        if path.name == f".train.{moment}.partial" or (moment == "old" and str(target).endswith(".old.partial")):
            if moment == "old":
                rename(path, target)
            raise StoppedError
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(run.Path, "rename", stopping)
        with pytest.raises(StoppedError):
            kit.bring("folder", photos, tmp_path / "data")
    done = kit.bring("folder", photos, tmp_path / "data", append=True)
    assert len(done.records) == 11
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train"]


KILLED = textwrap.dedent(
    """
    import sys
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import run_import
    from umgclip.sources.request import Request

    if __name__ == "__main__":
        request = Request("folder", sys.argv[1], "train", "test")
        run_import(request, ImportParams(workers=int(sys.argv[3]), shard_samples=10), sys.argv[2])
    """
)


def _finished_parts(working):
    """Count the finished parts; os.walk, unlike glob, lets folders disappear meanwhile."""
    return sum(len(fnmatch.filter(names, "[0-9]*[0-9].json")) for _, _, names in os.walk(working))


@pytest.mark.slow
def test_a_killed_import_goes_on_to_the_same_bytes(kit, tmp_path):
    source = tmp_path / "in"
    for number in range(200):
        kit.photo(source / f"{number % 7}" / f"{number}.png", number, width=500, height=400)
    (tmp_path / "run.py").write_text(KILLED)
    whole = [sys.executable, str(tmp_path / "run.py"), str(source), str(tmp_path / "whole"), "2"]
    subprocess.run(whole, check=True)
    command = [*whole[:3], str(tmp_path / "data"), "2"]
    kills = 0
    working = tmp_path / "data" / ".train.import.partial"
    for wanted in (2, 5, 9, 14):
        running = subprocess.Popen(command, start_new_session=True)
        until = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < until:
            if _finished_parts(working) >= wanted:
                os.killpg(running.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        running.wait()
    assert kills >= 2
    subprocess.run(command, check=True)
    assert kit.tree(tmp_path / "data") == kit.tree(tmp_path / "whole")


def test_from_s3_to_s3_gives_the_same_dataset(kit, photos, tmp_path, s3):
    (photos / "z.jpg").write_bytes((photos / "a" / "0.jpg").read_bytes())
    (photos / "z.txt").write_text("found again")
    (photos / "broken.jpg").write_bytes(b"")
    local = kit.bring("folder", photos, tmp_path / "data")
    folder = place_at("s3://bucket/in")
    for path in photos.rglob("*.*"):
        folder.put(path, str(path.relative_to(photos)))
    done = kit.bring("folder", "s3://bucket/in", "s3://bucket/out")
    assert done.manifest == local.manifest
    assert done.records == local.records
    left = {entry.name for entry in place_at("s3://bucket/out").entries()}
    assert left == {f"train/{name}" for name in kit.tree(tmp_path / "data" / "train")}
    again = kit.bring("folder", photos, "s3://bucket/out", append=True)
    assert again.records == local.records
    assert len(again.quarantine) > len(done.quarantine)
    # and it can be brought here as any delivery can
    from umgclip.io.storage import Storage, locate
    from umgclip.sources.delivery import import_delivery

    assert (
        import_delivery(Storage(), locate("s3://bucket/out/train"), tmp_path / "here").digest == again.manifest.digest()
    )


def test_an_import_into_s3_goes_on_where_it_was(kit, photos, tmp_path, s3, monkeypatch):
    local = kit.bring("folder", photos, tmp_path / "data")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(StoppedError):
            kit.bring("folder", photos, "s3://bucket/out")
    assert not place_at("s3://bucket/out/train").exists("manifest.json")
    done = kit.bring("folder", photos, "s3://bucket/out")
    assert (done.resumed, done.manifest) == (2, local.manifest)
    left = {entry.name for entry in place_at("s3://bucket/out/train").entries()}
    assert left == set(kit.tree(tmp_path / "data" / "train"))


def test_a_source_that_is_gone_ends_the_import(kit, tmp_path, s3):
    with pytest.raises(DataError, match="s3://other/in"):
        kit.bring("folder", "s3://other/in", tmp_path / "data")


def test_progress_is_told(kit, photos, tmp_path):
    from umgclip.params import ImportParams
    from umgclip.sources.request import Request

    for workers in (1, 2):
        totals, counts = [], []
        run.run_import(
            Request("folder", str(photos), "train", "test"),
            ImportParams(workers=workers, shard_samples=3),
            tmp_path / f"data{workers}",
            callbacks=run.ImportCallbacks(totals.append, counts.append),
        )
        assert (totals, sum(counts)) == ([10], 10)
    assert multiprocessing.active_children() == []


def test_shards_name_the_import_that_they_came_with(kit, photos, tmp_path):
    kit.bring("folder", photos, tmp_path / "data", name="first")
    kit.photo(tmp_path / "more" / "0.jpg", 77)
    (tmp_path / "more" / "1.jpg").write_bytes((photos / "a" / "0.jpg").read_bytes())
    (tmp_path / "more" / "1.txt").write_text("a caption that the first import lacks")  # its shard is written anew
    done = kit.bring("folder", tmp_path / "more", tmp_path / "data", append=True, name="second")
    samples = {shard.dataset: 0 for shard in done.manifest.shards}
    for shard in done.manifest.shards:
        samples[shard.dataset] += shard.samples
    assert samples == {"first": len(done.records) - 1, "second": 1}
