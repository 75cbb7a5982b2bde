"""Near duplicates of datasets: the table, the quarantine, what is kept of a run that was stopped."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from umgclip.errors import InputError
from umgclip.io.images import decode_image, encode_jpeg
from umgclip.io.manifest import read_manifest
from umgclip.io.places import place_at
from umgclip.sources.near_duplicates import dataset_hashes, search
from umgclip.sources.near_duplicates.perceptual_hash import perceptual_hash
from umgclip.sources.near_duplicates.search import Dataset, Search, find_duplicates

ALONE = Search(workers=1)


def photo(path, seed, size=(160, 120)):
    """Blobs of colours, with more detail than those of the other tests."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC).resize(size).save(path)


@pytest.fixture
def photos(tmp_path):
    """Seven photos in shards of four: the third again at half its size, the fifth again as PNG."""
    folder = tmp_path / "photos"
    for number in range(5):
        photo(folder / f"{number}.jpg", number)
    Image.open(folder / "2.jpg").resize((80, 60)).save(folder / "8.jpg", quality=70)
    Image.open(folder / "4.jpg").save(folder / "9.png")
    return folder


def dataset(kit, source, out, split="train"):
    kit.bring("folder", source, out, split)
    folder = out / split
    names = {row["key"]: row["name"] for row in pq.read_table(folder / "images.parquet").to_pylist()}
    return Dataset(split, place_at(folder), read_manifest(folder)), names


def rows(out, names):
    return [
        (row["group"], row["is_kept"], row["dataset"], names[row["key"]])
        for row in pq.read_table(out / "duplicates.parquet").to_pylist()
    ]


def test_copies_are_found(kit, photos, tmp_path):
    data, names = dataset(kit, photos, tmp_path)
    out, counted, compared = tmp_path / "out", [], []
    report = find_duplicates(data, None, ALONE, out, counted.append, compared.append)
    assert rows(out, names) == [
        (0, True, "train", "2.jpg"), (0, False, "train", "8.jpg"),
        (1, True, "train", "4.jpg"), (1, False, "train", "9.png"),
    ]  # fmt: skip
    assert (report["images"], report["groups"], report["duplicates"], report["largest_group"]) == (7, 2, 2, 2)
    assert report == json.loads((out / "duplicates.json").read_text())
    assert (sum(counted), sum(compared)) == (7, 7), "each image is counted once"
    assert not (out / "quarantine.parquet").exists()


def test_leakage_is_found(kit, photos, tmp_path):
    data, names = dataset(kit, photos, tmp_path)
    test = tmp_path / "test"
    photo(test / "copy.png", 3, size=(90, 67))
    photo(test / "other.jpg", 77)
    benchmark, more = dataset(kit, test, tmp_path, "benchmark")
    report = find_duplicates(
        data, benchmark, Search(workers=1, write_quarantine=True), tmp_path / "out", lambda _: None
    )
    assert rows(tmp_path / "out", names | more) == [(0, True, "benchmark", "copy.png"), (0, False, "train", "3.jpg")]
    assert report["duplicates"] == 1
    (row,) = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert (names[row["key"]], row["reason"], row["region_id"]) == ("3.jpg", "leakage", None)
    assert row["detail"].endswith("of benchmark")


def test_hashes_are_used_again(kit, photos, tmp_path, monkeypatch):
    data, _ = dataset(kit, photos, tmp_path)
    first = find_duplicates(data, None, ALONE, tmp_path / "out", lambda _: None)
    monkeypatch.setattr(dataset_hashes, "perceptual_hash", lambda _: pytest.fail("hashed again"))
    assert find_duplicates(data, None, ALONE, tmp_path / "out", lambda _: None) == first
    next((tmp_path / "out" / "hashes").iterdir()).unlink()
    with pytest.raises(pytest.fail.Exception, match="hashed again"):
        find_duplicates(data, None, Search(workers=1), tmp_path / "out", lambda _: None)


def test_an_image_that_cannot_be_read_is_listed(kit, photos, tmp_path, monkeypatch):
    data, names = dataset(kit, photos, tmp_path)
    sizes = []

    def broken_for_one(image, **about):
        sizes.append(len(image))
        return decode_image(b"" if len(sizes) == 2 else image, **about)

    monkeypatch.setattr(dataset_hashes, "decode_image", broken_for_one)
    report = find_duplicates(data, None, Search(workers=1, write_quarantine=True), tmp_path / "out", lambda _: None)
    assert (report["images"], report["unreadable"]) == (6, 1)
    quarantine = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [row["reason"] for row in quarantine] == ["near_duplicate", "near_duplicate", "unreadable"]
    assert names[quarantine[-1]["key"]] == "1.jpg"


def test_from_the_command_line_in_s3(kit, photos, tmp_path, s3):
    kit.bring("folder", photos, f"{s3}data")
    command = [sys.executable, "-m", "umgclip", "data", "duplicates", f"{s3}data/train", "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2, the largest of 2" in done.stdout
    assert (tmp_path / "artifacts" / "duplicates" / "duplicates.parquet").is_file()


def test_what_something_else_wrote_stays(kit, photos, tmp_path):
    (photos / "no.jpg").write_bytes(b"no image")
    data, names = dataset(kit, photos, tmp_path)
    both, folder = Search(workers=1, write_quarantine=True), tmp_path / "train"
    refused = (folder / "quarantine.parquet").read_bytes()
    with pytest.raises(InputError, match="--out: expected a new folder, or one of an earlier search, found manifest"):
        find_duplicates(data, None, both, folder, lambda _: None)
    assert (folder / "quarantine.parquet").read_bytes() == refused
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "quarantine.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match="found quarantine.parquet in"):
        find_duplicates(data, None, both, mine, lambda _: None)
    assert [path.name for path in mine.iterdir()] == ["quarantine.parquet"]
    (mine / "quarantine.parquet").rename(mine / "notes.parquet")
    for _ in range(2):
        find_duplicates(data, None, both, mine, lambda _: None)
    assert rows(mine, names)[1] == (0, False, "train", "8.jpg")
    assert (mine / "notes.parquet").read_bytes() == b"mine"


def test_two_processes_give_the_same(kit, photos, tmp_path):
    data, _ = dataset(kit, photos, tmp_path)
    tables = []
    for workers in (1, 2):
        find_duplicates(data, None, Search(workers=workers), tmp_path / str(workers), lambda _: None)
        tables.append((tmp_path / str(workers) / search.TABLE).read_bytes())
    assert tables[0] == tables[1]


def test_smaller_copies_look_the_same():
    rng = np.random.default_rng(0)
    pixels, other = (
        np.asarray(Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((1600, 1200)))
        for _ in range(2)
    )
    code = perceptual_hash(pixels)
    small = np.asarray(Image.fromarray(pixels).resize((100, 75)))
    assert (code ^ perceptual_hash(small)).bit_count() <= 4
    assert (code ^ perceptual_hash(other)).bit_count() > 16
    in_part = decode_image(encode_jpeg(pixels), where="", at_least_px=64)
    assert in_part.shape == (150, 200, 3)
    assert (code ^ perceptual_hash(in_part)).bit_count() <= 2
