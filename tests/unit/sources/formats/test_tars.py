"""WebDataset tars: of img2dataset, of this package, with dotted names, with classes, and broken ones."""

import io
import json
import tarfile

import pytest

from umgclip.errors import DataError


def as_img2dataset(kit, number, **more):
    """Return the members of one sample as img2dataset writes them."""
    key = f"{number:09d}"
    about = {
        "caption": f"caption {number}", "url": f"http://images/{number}.jpg", "key": key, "status": "success",
        "error_message": None, "width": 40, "height": 30, "original_width": 400, "original_height": 300, "exif": "{}",
        "sha256": "00", "similarity": 0.3, **more,
    }  # fmt: skip
    image = kit.encoded(kit.pixels(number))
    texts = f"caption {number}".encode(), json.dumps(about).encode()
    return [(f"{key}.jpg", image), (f"{key}.txt", texts[0]), (f"{key}.json", texts[1])]


def test_tars_of_img2dataset(kit, tmp_path):
    for shard in range(2):
        members = [member for n in range(3) for member in as_img2dataset(kit, 10 * shard + n)]
        kit.write_tar(tmp_path / "in" / f"{shard:05d}.tar", members)
        (tmp_path / "in" / f"{shard:05d}_stats.json").write_text("{}")
        (tmp_path / "in" / f"{shard:05d}.parquet").write_bytes(b"")
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert len(done.records) == 6
    record = done.records["00001.tar:000000011"]
    assert [(text.text, text.source) for text in record.captions] == [("caption 11", "alt")]
    assert record.source.url == "http://images/11.jpg"
    assert done.statistics["not_understood"] == {"similarity": 6}
    assert [shard.samples for shard in done.manifest.shards] == [3, 3]
    assert done.quarantine == []


def test_grit_rows_that_img2dataset_kept_become_regions(kit, tmp_path):
    caption = "a wire hanger with a paper cover"
    rows = {"caption": caption, "noun_chunks": [[19, 32, 0.1, 0.2, 0.9, 0.8, 0.7], [0, 13, 0.0, 0.0, 0.5, 1.0, 0.66]],
            "ref_exps": [[0, 32, 0.0, 0.0, 0.5, 1.0, 0.66], [1, 2]]}  # fmt: skip
    kit.write_tar(tmp_path / "in" / "0.tar", as_img2dataset(kit, 1, **rows))
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data", annotator="grit")
    (record,) = done.records.values()
    cover, hanger = record.regions
    assert (cover.box_xyxy, cover.score, cover.tags[0].text) == ((4, 6, 36, 24), 0.7, "a paper cover")
    assert (hanger.tags[0].text, hanger.captions[0].text, hanger.tags[0].source) == ("a wire hanger", caption, "grit")
    assert done.reasons == [("bad_region", "0.tar:000000001")]


@pytest.mark.parametrize("compressed", [False, True])
def test_names_with_dots_folders_and_other_letters(kit, tmp_path, compressed):
    def jpeg(number):
        return kit.encoded(kit.pixels(number))

    members = [
        ("a/22.05.jpg", jpeg(1)), ("a/22.05.txt", b"first"), ("a/22.06.jpg", jpeg(2)), ("a/22.06.txt", b"second"),
        ("b/x.jpg", jpeg(3)), ("b/x.seg.png", b"no image of its own"), ("b/x.txt", b"third"),
        ("été.JPG", jpeg(4)), ("été.txt", b"fourth"), ("._x.jpg", b"of a Mac"), ("only.txt", b"no image"),
    ]  # fmt: skip
    name = "0.tar.gz" if compressed else "0.tar"
    kit.write_tar(tmp_path / "in" / name, members, mode="w:gz" if compressed else "w")
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    captions = {key.partition(":")[2]: record.captions[0].text for key, record in done.records.items()}
    assert captions == {"a/22.05": "first", "a/22.06": "second", "b/x": "third", "été": "fourth"}
    assert done.statistics["not_understood"] == {".seg.png": 1}
    assert done.reasons == [("no_image", f"{name}:only")]


@pytest.mark.parametrize("where", ["inside a file", "between files", "at once"])
def test_a_tar_that_breaks_off_gives_what_it_holds(kit, tmp_path, where):
    path = tmp_path / "in" / "0.tar"
    kit.write_tar(path, [member for n in range(4) for member in as_img2dataset(kit, n)])
    kit.write_tar(tmp_path / "in" / "1.tar", as_img2dataset(kit, 9))
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        third = tar.getmember("000000002.jpg")
    path.write_bytes(
        data[: {"inside a file": third.offset_data + 100, "between files": third.offset, "at once": 5}[where]]
    )
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    held = 0 if where == "at once" else 2
    assert len(done.records) == held + 1
    assert ("truncated_tar", "0.tar:(end)") in done.reasons


def images_of(done):
    return {
        key.partition(":")[2]: [text.text for text in record.captions or []] for key, record in done.records.items()
    }


@pytest.mark.parametrize("turned", [False, True])
def test_other_fields_of_a_sample_are_no_images_in_whatever_order_they_stand(kit, tmp_path, turned):
    image, control = kit.encoded(kit.pixels(1)), kit.encoded(kit.pixels(2), "PNG")
    members = [("0.depth.png", control), ("0.canny.jpg", image[:-1]), ("0.jpg", image), ("0.txt", b"a cat")]
    members = members[::-1] if turned else members
    dotted = [("22.05.depth.png", control), ("22.05.jpg", kit.encoded(kit.pixels(3))), ("22.05.txt", b"a dog")]
    members += dotted[::-1] if turned else dotted
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert images_of(done) == {"0": ["a cat"], "22.05": ["a dog"]}
    assert done.images["0.tar:0"] == image
    assert done.statistics["not_understood"] == {".canny.jpg": 1, ".depth.png": 2}


def test_a_sample_whose_image_is_missing_does_not_take_its_depth_map(kit, tmp_path):
    control = [kit.encoded(kit.pixels(n), "PNG") for n in range(4)]
    members = [
        ("0.depth.png", control[0]), ("0.jpg", kit.encoded(kit.pixels(9))), ("1.depth.png", control[1]),
        ("2.depth.png", control[2]), ("2.txt", b"no image"),
    ]  # fmt: skip
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert list(images_of(done)) == ["0"]
    assert done.reasons == [("no_image", "0.tar:1"), ("no_image", "0.tar:2")]


def test_of_two_images_of_a_sample_jpg_counts(kit, tmp_path):
    jpg, png = kit.encoded(kit.pixels(1)), kit.encoded(kit.pixels(2), "PNG")
    kit.write_tar(tmp_path / "in" / "0.tar", [("0.png", png), ("0.jpg", jpg), ("0.txt", b"a cat")])
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert done.images == {"0.tar:0": jpg}
    assert done.statistics["not_understood"] == {".png": 1}


def test_members_that_lie_apart_and_hidden_ones_are_counted(kit, tmp_path):
    members = [
        ("._0.jpg", b"x"), ("0.jpg", kit.encoded(kit.pixels(1))), ("._0.txt", b"x"), ("0.txt", b"a cat"),
        ("1.jpg", kit.encoded(kit.pixels(2))), ("2.jpg", kit.encoded(kit.pixels(3))), ("1.txt", b"a dog"),
        ("a/.DS_Store", b"x"), (".0.swp", b"x"),
    ]  # fmt: skip
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert images_of(done) == {"0": ["a cat"], "1": [], "2": []}
    assert done.reasons == [("no_image", "0.tar:1")]
    assert done.statistics["told"] == {
        "hidden files in tars, left out: .*": 1,
        "hidden files in tars, left out: ._*": 2,
        "hidden files in tars, left out: .DS_Store": 1,
        "samples of which a part stands apart from its image, so that it is not joined to it": 1,
    }


def test_samples_of_one_name_are_all_read_and_told(kit, tmp_path):
    def sample(key, number, text):
        return [(f"{key}.jpg", kit.encoded(kit.pixels(number))), (f"{key}.txt", text)]

    members = [*sample("0", 1, b"first"), *sample("0", 2, b"second"), *sample("1", 3, b"x"), *sample("0", 4, b"third")]
    kit.write_tar(tmp_path / "in" / "0.tar", [*members, ("1.txt", b"apart"), ("2.txt", b"a"), ("2.txt", b"b")])
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert done.statistics["counts"]["images"] == 4
    assert done.statistics["told"] == {
        "samples of a name that another sample of their tar has": 2,
        "samples of which a part stands apart from its image, so that it is not joined to it": 1,
    }
    assert done.reasons == [
        ("duplicate_name", "0.tar:2"), ("no_image", "0.tar:1"), ("no_image", "0.tar:2"),
    ]  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_links_are_read_or_told(kit, tmp_path, packed):
    path = tmp_path / "in" / ("0.tar.gz" if packed else "0.tar")
    path.parent.mkdir()
    with tarfile.open(path, "w:gz" if packed else "w") as tar:
        for name, content in (("0.jpg", kit.encoded(kit.pixels(1))), ("0.txt", b"a cat"), ("1.txt", b"hard")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, kind, target in (
            ("1.jpg", tarfile.LNKTYPE, "0.jpg"), ("2.jpg", tarfile.SYMTYPE, "nowhere.jpg"),
            ("3.jpg", tarfile.SYMTYPE, "3.jpg"), ("4.jpg", tarfile.FIFOTYPE, ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    done = kit.bring("webdataset", path.parent, tmp_path / "data")
    told = {name.partition(":")[2]: reason for reason, name in done.reasons}
    assert told == {"1": "link" if packed else "duplicate", "2": "link", "3": "link", "4": "link"}
    captions = [text.text for record in done.records.values() for text in record.captions]
    assert captions == (["a cat"] if packed else ["a cat", "hard"])


@pytest.mark.parametrize("form", ["gz", "bz2", "xz"])
def test_packed_tars_are_checked_to_their_end(kit, tmp_path, form):
    members = [member for n in range(3) for member in as_img2dataset(kit, n)]
    good = tmp_path / "in" / f"good.tar.{form}"
    kit.write_tar(good, members, mode=f"w:{form}")
    data = bytearray(good.read_bytes())
    data[-6] ^= 0xFF
    (good.parent / f"sum.tar.{form}").write_bytes(bytes(data))
    (good.parent / f"cut.tar.{form}").write_bytes(good.read_bytes()[:-20])
    (good.parent / f"none.tar.{form}").write_bytes(b"no such thing")
    done = kit.bring("webdataset", good.parent, tmp_path / "data")
    assert len(done.records) == 3
    told = [name for reason, name in done.reasons if reason == "truncated_tar"]
    assert told == [f"{name}.tar.{form}:(end)" for name in ("cut", "none", "sum")]


def test_an_archive_behind_the_end_is_told(kit, tmp_path):
    for name, number in (("a", 0), ("b", 1)):
        kit.write_tar(tmp_path / f"{name}.tar", as_img2dataset(kit, number))
    joined = tmp_path / "in" / "0.tar"
    joined.parent.mkdir()
    joined.write_bytes((tmp_path / "a.tar").read_bytes() + (tmp_path / "b.tar").read_bytes())
    done = kit.bring("webdataset", joined.parent, tmp_path / "data")
    assert done.reasons == [("truncated_tar", "0.tar:(end)")]
    assert "behind the end-of-archive mark" in done.quarantine[0]["detail"]


def test_texts_in_another_encoding(kit, tmp_path):
    members = [("0.jpg", kit.encoded(kit.pixels(1))), ("0.txt", "café".encode("latin-1"))]
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    (tmp_path / "in" / "1.tar.zst").write_bytes(b"(")
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert done.reasons == [("bad_text", "0.tar:0")]
    assert done.statistics["other_files"] == {".zst": 1}
    again = kit.bring("webdataset", tmp_path / "in", tmp_path / "more", encoding="cp1252")
    assert images_of(again) == {"0": ["café"]}


def test_large_members_are_not_read(kit, tmp_path):
    members = [("big.jpg", bytes(1_100_000)), *as_img2dataset(kit, 1)]
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    params = kit.PARAMS.model_copy(update={"max_image_mb": 1})
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data", params=params)
    assert done.reasons == [("too_large", "0.tar:big")]


def test_class_numbers_make_a_classification_benchmark(kit, tmp_path):
    members = []
    for number in range(4):
        members += [(f"{number}.jpg", kit.encoded(kit.pixels(number))), (f"{number}.cls", str(number).encode())]
    kit.write_tar(tmp_path / "in" / "0.tar", members)
    (tmp_path / "names.txt").write_text("tench\ngoldfish\ngreat white shark\n")
    done = kit.bring(
        "webdataset", tmp_path / "in", tmp_path / "data", "benchmark", class_names=str(tmp_path / "names.txt")
    )
    assert done.manifest.classes.things == ["tench", "goldfish", "great white shark"]
    assert [tag.text for tag in done.records["0.tar:1"].tags] == ["goldfish"]
    assert done.records["0.tar:1"].source.dataset == "test/singles"
    assert done.reasons == [("no_class", "0.tar:3")]


def test_a_part_of_many_images_has_many_shards_and_little_in_memory(kit, tmp_path):
    members = [member for n in range(11) for member in as_img2dataset(kit, n)]
    kit.write_tar(tmp_path / "in" / "0.tar", [*members, *as_img2dataset(kit, 3)])
    done = kit.bring("webdataset", tmp_path / "in", tmp_path / "data")
    assert [shard.samples for shard in done.manifest.shards] == [4, 4, 3]
    assert [reason for reason, _ in done.reasons] == ["duplicate"]


def test_our_own_datasets_come_back_as_they_were(kit, tmp_path):
    from umgclip.data.stream import read_raw
    from umgclip.io.manifest import read_manifest
    from umgclip.params import DataParams
    from umgclip.records import parse_record
    from umgclip.sources.demo.scenes import write_demo

    write_demo(DataParams(train_scenes=3, benchmark_scenes=5, benchmark_singles=4, shard_samples=4), tmp_path / "demo")
    done = kit.bring("webdataset", tmp_path / "demo" / "benchmark", tmp_path / "data", "benchmark")
    before = [parse_record(raw.json, where=raw.key) for _, raw in read_raw(tmp_path / "demo" / "benchmark")]
    assert list(done.records.values()) == before
    assert done.manifest.classes == read_manifest(tmp_path / "demo" / "benchmark").classes


def test_no_tars_are_said(kit, photos, tmp_path):
    with pytest.raises(DataError, match=r"expected images for webdataset, found 10 \.jpg, 10 \.txt"):
        kit.bring("webdataset", photos, tmp_path / "data")
