"""From a dataset and its quarantines to a folder."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.settings import Selection
from umgclip.errors import DataError, InputError
from umgclip.io import tables
from umgclip.io.manifest import read_manifest
from umgclip.io.places import place_at
from umgclip.records import Text


def by_key(content):
    return {card["key"]: card for card in content["cards"]}


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


@pytest.fixture
def folder(kit, tmp_path):
    """Write 40 images in four shards; one of them is broken, and two source files were never imported."""
    samples = [kit.sample(f"k{n}", n) for n in range(40)]
    samples[7] = kit.sample("k7", image=b"")
    imported = [
        kit.row(None, "truncated", shard="photos/x.jpg", stage="import", detail="cut"),
        kit.row("k1", "outside", "9", stage="import"),
    ]
    return kit.dataset(tmp_path / "d", [samples[n : n + 10] for n in range(0, 40, 10)], imported)


def test_every_image_says_what_became_of_it(kit, folder, quarantine, tmp_path):
    later = quarantine(kit.row("k2", "caption_clean"), kit.row("k3", "box_order", "0"), kit.row("gone", "unreadable"))
    content = kit.browse(folder, tmp_path / "out", [later])
    cards = by_key(content)
    states = {key: card["state"] for key, card in cards.items() if card["state"] != "accepted"}
    assert states == {
        "photos/x.jpg": "quarantined",  # never was in the dataset
        "k1": "partly",  # the import left a region out
        "k2": "quarantined",  # validate takes the image out
        "k3": "partly",
        "gone": "quarantined",
        "k7": "unreadable",
    }
    assert content["about"]["states"] == {"accepted": 36, "partly": 2, "quarantined": 3, "unreadable": 1}
    assert cards["k3"]["faults"] == [{"region": "0", "stage": "validate", "reason": "box_order", "detail": ""}]
    assert "could not be imported" in cards["photos/x.jpg"]["notes"][0]
    assert dict(content["about"]["reasons"])["truncated"] == 1
    for card in cards.values():
        assert ("file" in card) == (card["state"] != "unreadable" and card["shard"] is not None)


def test_the_folder_is_self_contained_and_its_bytes_repeat(kit, folder, tmp_path):
    kit.browse(folder, tmp_path / "a", count=12)
    kit.browse(folder, tmp_path / "b", count=12)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert {"index.html", "page.js", "page.css", "data.js", "gallery.json"} <= tree(tmp_path / "a").keys()
    written = [path.read_text(encoding="utf-8") for path in (tmp_path / "a").glob("*.*")]
    assert not any("//cdn" in text or '<script src="http' in text for text in written)


def test_a_draw_takes_so_many_and_quarantined_ones_besides(kit, folder, quarantine, tmp_path):
    later = quarantine(*[kit.row(f"k{n}", "blurred") for n in range(40)])
    content = kit.browse(folder, tmp_path / "out", [later], count=5, quarantined=4, shards=1)
    drawn = [card for card in content["cards"] if card["drawn"]]
    assert len(drawn) == 5
    assert 5 <= len(content["cards"]) <= 9
    assert len(content["about"]["shards_read"]) <= 2
    unread = [card for card in content["cards"] if not card["drawn"] and "file" not in card]
    assert all("--shards" in card["notes"][0] or "photos" in card["key"] for card in unread)


def test_without_a_table_images_are_looked_for_in_what_is_read(kit, folder, quarantine, tmp_path):
    (folder / "images.parquet").unlink()
    content = kit.browse(folder, tmp_path / "out", [quarantine(kit.row("k25", "blurred"))], count=4)
    assert "images.parquet" in content["about"]["notes"][0]
    card = by_key(content)["k25"]
    assert ("file" in card) or card["notes"] == ["not in the shards that were read"]


def test_what_rules_of_annotate_refused_is_shown_beside_what_they_kept(kit, folder, tmp_path):
    empty = dict.fromkeys(tables.REJECTED.names)
    location = {"x0": 1.0, "y0": 2.0, "x1": 30.123, "y1": 40.0}
    about = {"stage": "annotate", "detail": "0.12 < 0.2", "source": "florence", "score": 0.12345}
    rows = [
        {**empty, **about, **location, "key": "k3", "role": "detector", "reason": "too_small", "text": None},
        {**empty, **about, "key": "k3", "role": "captioner", "reason": "loop", "text": "a a a a"},
        *({**empty, "key": f"elsewhere {n}", "role": "tagger", "reason": "loop"} for n in range(5)),
    ]
    tables.write_table(folder / "rejected.parquet", rows, tables.REJECTED)
    content = kit.browse(folder, tmp_path / "out")
    card = by_key(content)["k3"]
    assert card["state"] == "accepted"
    assert card["rejected"][0]["box"] == [1.0, 2.0, 30.12, 40.0]
    answers = [(one["role"], one["reason"], one["text"], one["score"], one["source"]) for one in card["rejected"]]
    assert answers == [
        ("detector", "too_small", None, 0.1235, "florence"),
        ("captioner", "loop", "a a a a", 0.1235, "florence"),
    ]
    assert content["about"]["rejected"] == [["loop", 6], ["too_small", 1]]


def test_keys_that_come_twice_are_two_cards(kit, tmp_path):
    folder = kit.dataset(tmp_path / "d", [[kit.sample("k", 1)], [kit.sample("k", 2)]])
    cards = kit.browse(folder, tmp_path / "out")["cards"]
    assert sorted(card["file"] for card in cards) == ["images/000000.jpg", "images/000001.jpg"]


def test_texts_cannot_end_the_script(kit, tmp_path):
    evil = "</script><script>alert(1)</script>\u2028\N{GRINNING FACE}<!--"
    folder = kit.dataset(tmp_path / "d", [[kit.sample("k", captions=[Text(text=evil, source=evil)])]])
    content = kit.browse(folder, tmp_path / "out")
    script = (tmp_path / "out" / "data.js").read_text(encoding="ascii")
    assert "<" not in script
    assert content["cards"][0]["captions"][0][0] == evil


def test_a_damaged_shard_does_not_hide_the_others(kit, folder, tmp_path):
    whole = (folder / "002.tar").read_bytes()
    (folder / "002.tar").write_bytes(b"\1" * len(whole))
    content = kit.browse(folder, tmp_path / "out")
    assert len(content["about"]["problems"]) == 1
    assert "002.tar: not a complete tar" in content["about"]["problems"][0]
    assert len([card for card in content["cards"] if card["shard"]]) == 30
    for path in folder.glob("*.tar"):
        path.write_bytes(b"\1" * path.stat().st_size)
    with pytest.raises(DataError, match="no shard could be read"):
        kit.browse(folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_only_a_gallery_is_replaced(kit, folder, tmp_path):
    kit.browse(folder, tmp_path / "out", count=2)
    kit.browse(folder, tmp_path / "out", count=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        InputError, match="mine: expected a new or empty folder, or one that umgclip made .* found thesis.tex"
    ):
        kit.browse(folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").is_file()


def test_a_dataset_in_s3(kit, folder, tmp_path, s3):
    location = place_at("s3://bucket/d")
    for path in folder.iterdir():
        location.put(path, path.name)
    manifest = read_manifest(folder)
    write_gallery(Selection(count=15), Inputs(location, manifest), tmp_path / "remote", lambda _: None)
    local = kit.browse(folder, tmp_path / "local", count=15)
    remote = kit.content(tmp_path / "remote")
    assert remote["cards"] == local["cards"]
    assert remote["about"]["dataset"] == "s3://bucket/d"


def test_memory_does_not_grow_with_the_dataset(kit, tmp_path):
    def peak(name, shards):
        image = kit.sample("k").image
        samples = [[kit.sample(f"{n}x{m}", image=image, tags=[]) for m in range(50)] for n in range(shards)]
        folder = kit.dataset(tmp_path / name, samples)
        rows = [kit.row(f"{n}x{m}", "blurred") for n in range(shards) for m in range(50)]
        tables.write_table(folder / "quarantine.parquet", rows, tables.QUARANTINE)
        del samples, rows
        tracemalloc.start()
        kit.browse(folder, tmp_path / f"{name} out", count=10, quarantined=5, shards=4)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak("warm", 6)
    assert peak("large", 60) < 1.5 * peak("small", 6) + (1 << 20)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count: expected at least 1, got 0"),
        ({"quarantined": 10**6}, "expected at most 20000, got 1000000"),
    ],
)
def test_selections_have_limits(values, message):
    with pytest.raises(InputError, match=message):
        Selection(**values)
