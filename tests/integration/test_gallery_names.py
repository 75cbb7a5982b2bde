"""The gallery's regions without a label, stuff, names of files and addresses of images, in headless Chromium."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import pytest

from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.settings import Selection
from umgclip.geometry import masks
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import place_at
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

pytestmark = pytest.mark.slow
WIDTH, HEIGHT = 80, 60
FAMILY = "\U0001f468‍\U0001f469‍\U0001f467‍\U0001f466"  # one character to its reader
NAMES = {
    "short": "short.jpg",
    "german": "Urlaub/Ligurien 2024/IMG_20240713_184502_Größe_original_bearbeitet_final (Kopie 3).jpg",
    "family": f"{FAMILY * 40} end.jpg",
    "turned key": "a\u202egpj.exe and then so many more letters that no card has room.jpg",
}


def regions() -> list[Region]:
    """A dog on a meadow, and something beside it that nobody named."""
    dog, other = np.zeros((2, HEIGHT, WIDTH), bool)
    dog[10:40, 10:40], other[10:40, 50:70] = True, True
    text = {"dog": [Text(text="dog", source="human")], "meadow": [Text(text="meadow", source="human")]}
    return [
        Region(id="d", box_xyxy=(10, 10, 40, 40), mask=masks.encode(dog), tags=text["dog"]),
        Region(id="m", box_xyxy=(0, 0, 80, 60), mask=masks.encode(~(dog | other)), is_stuff=True, tags=text["meadow"]),
        Region(id="o", box_xyxy=(50, 10, 70, 40), mask=masks.encode(other), tags=[]),
    ]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> str:
    """The page of one image for each name."""
    root = tmp_path_factory.mktemp("names")
    (root / "data").mkdir()
    writer = ShardWriter(root / "data" / "a.tar")
    for number, (key, name) in enumerate(NAMES.items()):
        source = Source(dataset="photographs", name=name)
        about = ImageRecord(key=key, width=WIDTH, height=HEIGHT, sha256="", source=source, regions=regions())
        writer.write(RawSample(key, encode_jpeg(np.full((HEIGHT, WIDTH, 3), number, np.uint8)), "jpg", about.to_json()))
    writer.close()
    made_by = MadeBy(stage="test", params_sha256="", code_version="0")
    shard = describe_shard(root / "data" / "a.tar", len(NAMES))
    write_manifest(root / "data", Manifest(made_by=made_by, shards=[shard]))
    inputs = Inputs(place_at(root / "data"), read_manifest(root / "data"))
    write_gallery(Selection(), inputs, root / "gallery", lambda _: None)
    return (root / "gallery" / "index.html").as_uri()


def style(browser, selector: str, name: str) -> str:
    return browser.js(f"getComputedStyle(document.querySelector({selector!r})).{name}")


def test_what_has_no_label_is_quieter_than_what_has_one_and_stuff_is_pale(browser, gallery):
    browser.open(gallery)
    for kind, label in (("thing", "dog"), ("stuff", "meadow"), ("unlabelled", None)):
        texts = browser.js(f"[...document.querySelectorAll('.card .{kind} text')].map((node) => node.textContent)")
        assert set(texts) == ({label} if label else set())
    widths = {kind: float(style(browser, f".card .{kind} rect", "strokeWidth").rstrip("px"))
              for kind in ("thing", "unlabelled")}  # fmt: skip
    assert widths["unlabelled"] < widths["thing"] / 2
    assert style(browser, ".card .thing rect", "strokeDasharray") == "none"
    assert style(browser, ".card .unlabelled path", "strokeDasharray") != "none"  # not by its colour alone
    assert style(browser, ".card .unlabelled path", "fill") == "none"
    assert style(browser, ".card .stuff path", "stroke") == "none"
    fills = [float(style(browser, f".card .{kind} path", "fillOpacity")) for kind in ("stuff", "thing")]
    assert fills[0] < fills[1] / 2
    order = browser.js("[...document.querySelector('.card svg').querySelectorAll('g')].map((g) => g.classList[0])")
    assert order == ["stuff", "unlabelled", "thing"]  # the strongest over the others
    assert style(browser, ".card .stuff rect", "stroke") == "none"
    browser.click("#masks")
    assert style(browser, ".card .stuff rect", "stroke") != "none"  # without masks only the box says where it is
    legend = browser.js("[...document.querySelectorAll('#legend li:not([hidden])')].map((entry) => entry.className)")
    assert legend == ["thing", "stuff", "unlabelled"]  # what does not occur is not explained


def test_names_of_files_are_cut_in_the_middle_and_shown_whole_on_focus(browser, gallery):
    browser.open(gallery)
    for name in NAMES.values():
        browser.js(f"document.querySelector('#text').value = {name[-22:]!r}.trim(); look()")
        assert browser.text("#found") == "1 of 4 images", name
        line = browser.text(".card .name")
        if name == "short.jpg":
            assert line == name
            continue
        start, end = line.split("…")
        assert len(line) < len(name)
        assert end == name[-len(end) :]
        assert "\u202e" not in line  # it would turn the writing around
        assert line.replace(FAMILY, "").count("\u200d") == 0  # no emoji is torn apart
        before = browser.js("document.querySelector('.card').getBoundingClientRect().height")
        assert style(browser, ".card .full", "opacity") == "0"
        browser.js("document.querySelector('.card').focus({focusVisible: true})")
        assert style(browser, ".card .full", "opacity") == "1"
        assert browser.text(".card .full") == name.replace("\u202e", "\ufffd")
        assert browser.js("document.querySelector('.card').getBoundingClientRect().height") == before
    assert browser.complaints() == []


def test_a_name_is_copied_whole(browser, gallery):
    browser.open(gallery)
    for key in ("german", "turned key"):
        browser.js(
            "globalThis.copied = null; navigator.clipboard.writeText = async (text) => { globalThis.copied = text }"
        )
        browser.js(f"location.hash = 'image={quote(key)}'")
        browser.wait(lambda: browser.js("document.querySelector('.copy') !== null"), "the image")
        browser.wait(lambda key=key: browser.js(f"matching[open].key === {key!r}"), "the image")  # fmt: skip
        browser.click(".copy")
        assert browser.js("globalThis.copied") == NAMES[key]


def test_an_image_has_an_address(browser, gallery):
    browser.open(f"{gallery}#image=turned+key&state=quarantined")  # the filter would hide it
    assert browser.js("document.querySelector('#detail').open")
    assert browser.js("matching[open].key") == "turned key"
    assert browser.js("location.hash") == "#image=turned+key"
    browser.js("document.querySelector('#next').click(); document.querySelector('#previous').click()")
    browser.click("#close")
    browser.wait(lambda: "image" not in browser.js("location.hash"), "an address without an image")
    browser.js("location.hash = 'image=nowhere'")
    browser.wait(lambda: "nowhere" in browser.text("#absent"), "word of the absence")
    assert not browser.js("document.querySelector('#detail').open")
    assert browser.complaints() == []
