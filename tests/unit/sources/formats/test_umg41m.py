"""UMG-41M as it is delivered: archives of JSON, and images in tars and folders that are found by name."""

import gzip
import json
import random
import warnings
import zipfile

import pytest

from umgclip.errors import DataError, InputError
from umgclip.params import ImportParams

HERE = "images joined with a JSON file in {}"
LEFT = "JSON files in {} without an image here"
ALONE = "images without a JSON file in the archives"


def about(caption, **more):
    regions = [{"bbox": [1, 2, 20, 25], "caption": f"part of {caption}", "tag": "thing"}]
    return json.dumps({"umg_caption": caption, "regions": regions, **more}).encode()


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def photo_bytes(kit, seed):
    return kit.encoded(kit.pixels(seed))


def write_img2dataset(kit, path, seeds, **more):
    """A tar as img2dataset writes it: image, alt text and its own JSON."""
    members = []
    for seed in seeds:
        key = f"{seed:09d}"
        metadata = json.dumps({"caption": f"alt {seed}", "key": key, "url": f"http://x/{seed}", **more})
        members += [(f"{key}.jpg", photo_bytes(kit, seed)), (f"{key}.txt", f"alt {seed}".encode())]
        members.append((f"{key}.json", metadata.encode()))
    kit.write_tar(path, members)


def texts(record):
    return [(text.text, text.source) for text in record.captions or []]


@pytest.fixture
def delivered(kit, tmp_path):
    """Two archives, tars of both sets with the same numbers, and image files."""
    source = tmp_path / "in"
    for name, folder in (("CC12M", "cc12m"), ("YFCC15M", "yfcc15m")):
        first = 0 if name == "CC12M" else 50
        files = {f"{name}/{n:09d}.json": about(f"{name} {n}") for n in range(first, first + 4)}
        if name == "CC12M":
            write_zip(source / "CC12M.zip", {f"{name}/": b"", f"{name}/README.txt": b"hello", **files})
        else:
            kit.write_tar(source / "YFCC15M.tar.gz", files.items(), mode="w:gz")
        write_img2dataset(kit, source / folder / "00000.tar", range(first, first + 2))
    kit.photo(source / "cc12m" / "more" / "000000003.jpg", 3)
    kit.photo(source / "cc12m" / "more" / "000000077.png", 77)
    return source


def test_archives_are_joined_with_tars_and_folders(kit, delivered, tmp_path):
    done = kit.bring("umg41m", delivered, tmp_path / "data")
    assert {name: texts(record) for name, record in done.records.items()} == {
        "cc12m/00000.tar:000000000": [("alt 0", "alt"), ("CC12M 0", "umg41m")],
        "cc12m/00000.tar:000000001": [("alt 1", "alt"), ("CC12M 1", "umg41m")],
        "yfcc15m/00000.tar:000000050": [("alt 50", "alt"), ("YFCC15M 50", "umg41m")],
        "yfcc15m/00000.tar:000000051": [("alt 51", "alt"), ("YFCC15M 51", "umg41m")],
        "cc12m/more/000000003.jpg": [("CC12M 3", "umg41m")],
        "cc12m/more/000000077.png": [],
    }
    (region,) = done.records["cc12m/00000.tar:000000000"].regions
    assert (region.box_xyxy, region.captions[0].text) == ((1, 2, 20, 25), "part of CC12M 0")
    assert done.statistics["told"] == {
        HERE.format("CC12M.zip"): 3, LEFT.format("CC12M.zip"): 1, ALONE: 1,
        HERE.format("YFCC15M.tar.gz"): 2, LEFT.format("YFCC15M.tar.gz"): 2,
        "files in CC12M.zip that are no JSON: .txt": 1,
    }  # fmt: skip
    assert done.reasons == []


def test_the_number_of_processes_and_a_second_run_change_nothing(kit, delivered, tmp_path):
    one = kit.bring("umg41m", delivered, tmp_path / "one")
    kit.bring("umg41m", delivered, tmp_path / "two", params=ImportParams(workers=2, shard_samples=4))
    assert kit.tree(tmp_path / "one") == kit.tree(tmp_path / "two")
    assert one.manifest.samples == 6


def test_archives_may_be_named(kit, delivered, tmp_path):
    apart = tmp_path / "archives"
    apart.mkdir()
    for name in ("CC12M.zip", "YFCC15M.tar.gz"):
        (delivered / name).rename(apart / name)
    done = kit.bring("umg41m", delivered, tmp_path / "data", annotations=(str(apart),))
    assert done.statistics["told"][HERE.format("YFCC15M.tar.gz")] == 2
    one = kit.bring("umg41m", delivered, tmp_path / "other", annotations=(str(apart / "CC12M.zip"),))
    assert one.statistics["told"][ALONE] == 3
    with pytest.raises(InputError, match=r"expected .zip, .tar.gz or a folder of them, got 000000003.jpg"):
        wrong = str(delivered / "cc12m" / "more" / "000000003.jpg")
        kit.bring("umg41m", delivered, tmp_path / "no", annotations=(wrong,))
    with pytest.raises(DataError, match="expected .zip or .tar.gz files in it, found none"):
        kit.bring("umg41m", delivered, tmp_path / "no", annotations=(str(delivered / "cc12m"),))


def test_names_that_several_sets_have_are_told_apart_by_folders_or_not_at_all(kit, tmp_path):
    source = tmp_path / "in"
    write_zip(source / "CC3M.zip", {"0.json": about("cc3m"), "a/1.json": about("a"), "b/1.json": about("b")})
    write_zip(source / "SBU.zip", {"SBU/0.json": about("sbu")})
    for seed, name in enumerate(["CC3M/0.jpg", "images/sbu/x/0.png", "else/0.webp", "b/1.jpg", "SBU/1.png"]):
        kit.photo(source / name, seed)
    done = kit.bring("umg41m", source, tmp_path / "data")
    captions = {name: texts(record) for name, record in done.records.items()}
    assert captions == {
        "CC3M/0.jpg": [("cc3m", "umg41m")], "images/sbu/x/0.png": [("sbu", "umg41m")], "else/0.webp": [],
        "b/1.jpg": [("b", "umg41m")], "SBU/1.png": [],
    }  # fmt: skip
    assert done.reasons == [("ambiguous_name", "else/0.webp")]
    assert done.statistics["told"][ALONE] == 1  # SBU/1.png is no image of CC3M


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_one_name_twice_in_an_archive_counts_only_if_both_are_the_same(kit, tmp_path, kind):
    source = tmp_path / "in"
    members = [
        ("0.json", about("same")),
        ("1.json", about("first")),
        ("0.json", about("same")),
        ("1.json", about("last")),
    ]
    if kind == "zip":
        source.mkdir()
        with zipfile.ZipFile(source / "a.zip", "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for name, data in members:
                archive.writestr(name, data)
    else:
        kit.write_tar(source / "a.tar.gz", members, mode="w:gz")
    for number in range(2):
        kit.photo(source / f"{number}.jpg", number)
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert {name: texts(record) for name, record in done.records.items()} == {
        "0.jpg": [("same", "umg41m")],
        "1.jpg": [],
    }
    assert done.reasons == [("ambiguous_name", "1.jpg")]


def test_numbers_of_another_download_are_not_joined(kit, tmp_path):
    source = tmp_path / "in"
    write_img2dataset(kit, source / "00000.tar", range(2))
    files = {"000000000.json": about("right", url="http://x/0"), "000000001.json": about("wrong", url="http://y/9")}
    write_zip(source / "a.zip", files)
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert texts(done.records["00000.tar:000000000"]) == [("alt 0", "alt"), ("right", "umg41m")]
    assert texts(done.records["00000.tar:000000001"]) == [("alt 1", "alt")]
    assert done.reasons == [("other_image", "00000.tar:000000001")]


def test_damaged_json_costs_itself(kit, tmp_path):
    source = tmp_path / "in"
    names = ["a", "b", "c", "d"]
    for seed, name in enumerate(names):
        kit.photo(source / f"{name}.jpg", seed)
    marked = {"a.json": b'{"caption": "first"}', "b.json": b'{"caption": ', "c.json": about("c"), "d.json": b"{}"}
    path = source / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that it can be damaged
        for name, data in marked.items():
            archive.writestr(name, data)
    path.write_bytes(path.read_bytes().replace(b"first", b"thirs"))
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert len(done.records) == 4
    assert texts(done.records["c.jpg"]) == [("c", "umg41m")]
    assert done.reasons == [("bad_text", "a.jpg"), ("bad_text", "b.jpg")]
    details = sorted(row["detail"] for row in done.quarantine)
    assert "a.zip:a.json: its checksum is another" in details[0]
    assert LEFT.format("a.zip") not in done.statistics["told"]


def test_archives_that_are_cut_off(kit, tmp_path):
    source = tmp_path / "in"
    kit.photo(source / "a.jpg", 0)
    whole = write_zip(source / "a.zip", {"a.json": about("a")})
    whole.write_bytes(whole.read_bytes()[:-25])
    with pytest.raises(DataError, match=r"a\.zip: expected a zip of JSON files: .* cut off"):
        kit.bring("umg41m", source, tmp_path / "data")
    whole.unlink()
    noise = {f"{n}.json": about(f"{n}", more=[random.Random(n).random() for _ in range(40)]) for n in range(60)}
    kit.write_tar(source / "b.tar.gz", {"a.json": about("a"), **noise}.items(), mode="w:gz")
    path = source / "b.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert texts(done.records["a.jpg"]) == [("a", "umg41m")]
    assert done.reasons == [("truncated_tar", "b.tar.gz")]


def test_names_that_climb_out_and_bombs_do_no_harm(kit, tmp_path):
    source = tmp_path / "in"
    kit.photo(source / "sub" / "a.jpg", 0)
    kit.photo(source / "b.jpg", 1)
    files = [("../../../sub/a.json", about("up")), ("/etc/b.json", about("root")), ("x\\..\\c.json", about("c"))]
    kit.write_tar(source / "t.tgz", files, mode="w:gz")
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert [texts(done.records[name]) for name in ("sub/a.jpg", "b.jpg")] == [[("up", "umg41m")], [("root", "umg41m")]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "in"]
    (source / "t.tgz").unlink()
    write_zip(source / "z.zip", {"a.json": b" " * (70 << 20), "b.json": about("b")})
    done = kit.bring("umg41m", source, tmp_path / "again")
    assert done.reasons == [("bad_text", "sub/a.jpg")]
    assert texts(done.records["b.jpg"]) == [("b", "umg41m")]


def test_an_archive_without_json_is_none(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 0)
    with gzip.open(tmp_path / "in" / "a.tar.gz", "wb") as file:
        file.write(b"no tar")
    with pytest.raises(DataError, match=r"a\.tar\.gz: expected an archive of JSON files, found none in it"):
        kit.bring("umg41m", tmp_path / "in", tmp_path / "data")
    (tmp_path / "in" / "a.tar.gz").unlink()
    (tmp_path / "in" / "a.jpg").unlink()
    write_zip(tmp_path / "in" / "b.zip", {"a.json": about("a")})
    with pytest.raises(DataError, match="expected images for umg41m"):
        kit.bring("umg41m", tmp_path / "in", tmp_path / "data")


def test_json_beside_images_is_read_too(kit, tmp_path):
    source = tmp_path / "in"
    kit.photo(source / "a.jpg", 0)
    (source / "a.json").write_bytes(about("beside"))
    write_zip(source / "x.zip", {"a.jpg.json": about("inside")})
    done = kit.bring("umg41m", source, tmp_path / "data")
    assert texts(done.records["a.jpg"]) == [("beside", "umg41m"), ("inside", "umg41m")]
    assert len(done.records["a.jpg"].regions) == 2
