"""The gallery of `umgclip data browse` in headless Chromium, from the disk and from its own server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.settings import Selection
from umgclip.geometry import masks
from umgclip.io import tables
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import place_at
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

pytestmark = pytest.mark.slow
EVIL = '</script><script>globalThis.owned = 1</script><img src=x onerror="globalThis.owned = 2">'
WIDTH, HEIGHT = 80, 60


def texts(text: str, score: float = 1.0, source: str = "teacher") -> list[Text]:
    return [Text(text=text, score=score, source=source)]


def record(number: int) -> ImageRecord:
    """A dog on even images, a cat on odd ones, surer from image to image; the first comes from a bad place."""
    name, score = ("dog", "cat")[number % 2], round(number / 100, 2)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[10:40, 20:60] = True
    thing = Region(id="0", box_xyxy=(20, 10, 60, 40), mask=masks.encode(inside), score=score, tags=texts(name, score))
    meadow = texts("meadow", 0.5, "alt")
    box = (0, 0, WIDTH, HEIGHT)
    ground = Region(id="1", box_xyxy=box, mask=masks.encode(~inside), is_stuff=True, score=0.5, tags=meadow)
    said = {"captions": texts(f"a {name} number {number}", source="alt"), "tags": texts(name, score)}
    source = Source(dataset="test", url=f"https://example.org/{number}")
    if number == 0:
        evil = texts(EVIL, 0.5, EVIL)
        source = Source(dataset=EVIL, url="javascript:globalThis.owned=3", license=EVIL)
        thing = thing.model_copy(update={"id": EVIL, "tags": evil, "captions": evil, "negatives": evil})
        said = {"captions": evil, "tags": evil}
    return ImageRecord(
        key=f"k{number:03d}", width=WIDTH, height=HEIGHT, sha256="", source=source, regions=[thing, ground], **said
    )


def row(key: str, reason: str, region: str | None = None, detail: str = "") -> dict[str, str | None]:
    return {"key": key, "shard": None, "region_id": region, "stage": "validate", "reason": reason, "detail": detail}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """80 images, one of them broken; `validate` refuses an image and a region."""
    folder = tmp_path_factory.mktemp("annotate") / "annotate" / "train"
    folder.mkdir(parents=True)
    writer = ShardWriter(folder / "a.tar")
    for number in range(80):
        pixels = np.full((HEIGHT, WIDTH, 3), 3 * number, np.uint8)
        image = b"" if number == 9 else encode_jpeg(pixels)
        writer.write(RawSample(f"k{number:03d}", image, "jpg", record(number).to_json()))
    writer.close()
    made_by = MadeBy(stage="annotate", params_sha256="", code_version="0")
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "a.tar", 80)]))
    refused = {**dict.fromkeys(tables.REJECTED.names), "stage": "annotate", "role": "detector", "reason": "too_small"}
    refused |= {"x0": 1.0, "y0": 1.0, "x1": 3.0, "y1": 3.0, "score": 0.5, "detail": EVIL}
    rows = [{**refused, "key": key, "text": EVIL, "source": EVIL} for key in ("k000", "k011")]
    tables.write_table(folder / "rejected.parquet", rows, tables.REJECTED)
    (folder.parents[1] / "validate").mkdir()
    rows = [row("k004", "image_caption_clean", detail=EVIL), row("k005", "region_box_left", "0"), row(EVIL, EVIL)]
    tables.write_table(folder.parents[1] / "validate" / "quarantine.parquet", rows, tables.QUARANTINE)
    return folder


@pytest.fixture(scope="module")
def gallery(dataset, tmp_path_factory) -> str:
    """Its page as a file."""
    out = tmp_path_factory.mktemp("out") / "gallery"
    quarantine = str(dataset.parents[1] / "validate" / "quarantine.parquet")
    inputs = Inputs(place_at(dataset), read_manifest(dataset), [quarantine])
    write_gallery(Selection(), inputs, out, lambda _: None)
    return (out / "index.html").as_uri()


def cards(browser) -> int:
    return browser.js("document.querySelectorAll('.card').length")


def enter(browser, selector: str, value: str) -> None:
    browser.js(
        f"document.querySelector({selector!r}).value = {value!r}; document.querySelector({selector!r})"
        ".dispatchEvent(new Event('input', {bubbles: true}))"
    )


def press(browser, key: str) -> None:
    said = {"text": "\r"} if key == "Enter" else {}
    codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
    about = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)} | said
    browser.call("Input.dispatchKeyEvent", type="keyDown", **about)
    browser.call("Input.dispatchKeyEvent", type="keyUp", **about)


def test_images_are_drawn_with_what_is_said_of_them(browser, gallery):
    browser.open(gallery)
    assert browser.text("#found") == "81 of 81 images"
    assert cards(browser) == 60
    browser.click("#more")
    assert cards(browser) == 81
    enter(browser, "#text", "k010")
    assert cards(browser) == 1
    browser.wait(lambda: browser.js("(async () => { const image = new Image(); image.src = document.querySelector("
                 "'.card image').getAttribute('href'); await image.decode(); return image.naturalWidth })()") == 80,
                 "the picture")  # fmt: skip
    assert browser.js("document.querySelectorAll('.card rect').length") == 2
    assert browser.js("document.querySelectorAll('.card path').length") == 2
    assert browser.js("document.querySelector('.card .thing text').textContent") == "dog 0.10"
    for layer, tag in (("boxes", "rect"), ("masks", "path"), ("labels", "text")):
        browser.click(f"#{layer}")
        assert browser.js(f"getComputedStyle(document.querySelector('.card g {tag}')).display") == "none"
    assert browser.complaints() == []
    assert all(url.startswith("file:") for url in browser.asked())


def test_filters_by_state_reason_tag_source_and_score(browser, gallery):
    browser.open(gallery)
    for selector, value, count in (
        ("#state", "quarantined", 2), ("#state", "partly", 1), ("#state", "unreadable", 1), ("#state", "accepted", 77),
        ("#reason", "region_box_left", 1), ("#reason", "too_small", 2), ("#tag", "CAT", 40), ("#tag", "meadow", 80),
        ("#text", "number 33", 1),
        ("#has", "masks", 80), ("#has", "nothing", 1), ("#by", "teacher", 79), ("#low", "0.7", 10),
        ("#high", "0.05", 6),
    ):  # fmt: skip
        browser.js("document.querySelector('#filters').reset()")
        browser.wait(lambda: browser.text("#found") == "81 of 81 images", "all")
        enter(browser, selector, value)
        assert browser.text("#found") == f"{count} of 81 images", (selector, value)
    enter(browser, "#of", "caption")
    assert browser.text("#found") == "0 of 81 images"  # captions are the alt texts, of score 1
    address = browser.js("location.href")
    assert "high=0.05" in address
    browser.open("about:blank")
    browser.open(address)  # the same filters again
    assert browser.text("#found") == "0 of 81 images"


def test_what_rules_refused_is_drawn_on_request(browser, gallery):
    def is_drawn() -> bool:
        return browser.js("getComputedStyle(document.querySelector('.card .rejected')).display") != "none"

    browser.open(gallery)
    enter(browser, "#text", "k011")
    assert not is_drawn()
    browser.click("#rejected")
    assert is_drawn()
    browser.click("#rejected")
    enter(browser, "#reason", "too_small")  # who asks for a reason wants to see it
    assert is_drawn()
    browser.click(".card")
    assert "Refused by rules (1)" in browser.text("#said")


def test_order_by_score(browser, gallery):
    browser.open(gallery)
    enter(browser, "#tag", "cat")
    for order, first in (("low", "a cat number 1"), ("high", "a cat number 79")):
        enter(browser, "#order", order)
        assert browser.text(".card .line").startswith(first)


def test_an_image_in_full_by_keyboard(browser, gallery):
    browser.open(gallery)
    enter(browser, "#text", "dog number")
    browser.js("document.querySelector('.card').focus()")
    press(browser, "ArrowRight")
    press(browser, "ArrowRight")
    press(browser, "ArrowLeft")
    assert browser.js("document.activeElement.dataset.index") == "1"
    press(browser, "ArrowDown")
    assert int(browser.js("document.activeElement.dataset.index")) > 1
    press(browser, "ArrowUp")
    press(browser, "Enter")
    first = browser.text("#detail-title")
    said = browser.text("#said")
    for part in ("a dog number", "alt", "Regions (2)", "mask of 1200 px", "https://example.org/"):
        assert part in said
    press(browser, "ArrowRight")
    assert browser.text("#detail-title") != first
    browser.js("document.querySelectorAll('.region')[1].focus()")
    assert browser.js("document.querySelector('#large g.chosen').dataset.region") == "1"
    press(browser, "Escape")
    browser.wait(lambda: browser.js("document.activeElement.dataset.index") == "2", "the card of the image last seen")
    assert not browser.js("document.querySelector('#detail').open")
    browser.js("document.activeElement.blur()")
    press(browser, "/")
    assert browser.js("document.activeElement.id") == "text"
    assert browser.complaints() == []


def test_words_from_the_web_stay_words(browser, gallery):
    browser.open(gallery)
    seen = 0
    browser.click("#more")
    for index in range(cards(browser)):
        browser.js(f"document.querySelectorAll('.card')[{index}].click()")
        seen += browser.text("#detail").count(EVIL)
        assert browser.js("document.querySelectorAll('#detail img, #detail script, #detail iframe').length") == 0
        assert browser.js("document.querySelectorAll('#detail a:not([href^=\"https://\"])').length") == 0
    assert seen > 8  # captions, tags, sources, negatives, reasons, keys
    assert browser.js("globalThis.owned") is None
    assert browser.js("document.scripts.length") == 5
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(browser, gallery, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(gallery)
    browser.click("#more")
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (browser.contrast(ground, "rgb(255, 255, 255)") > 10) == (scheme == "dark")
    for selector, behind in (("body", "body"), ("#about", "body"), (".card .line", ".card"), (".card .small", ".card"),
                             (".quarantined .state", ".card"), (".partly .state", ".card")):  # fmt: skip
        colour = browser.js(f"getComputedStyle(document.querySelector({selector!r})).color")
        ground = browser.js(f"getComputedStyle(document.querySelector({behind!r})).backgroundColor")
        assert browser.contrast(colour, ground) >= 4.5, (selector, colour, ground)


def test_it_fits_a_phone_and_names_its_controls(browser, gallery):
    browser.resize(360, 740, mobile=True)
    browser.open(gallery)
    assert browser.js("document.documentElement.scrollWidth") <= 360
    browser.js("document.querySelector('.card').click()")
    assert browser.js("document.documentElement.scrollWidth") <= 360
    unnamed = browser.js(
        "[...document.querySelectorAll('input,select,button,svg')].filter((node) => !(node.labels?.length || "
        "node.getAttribute('aria-label') || node.textContent.trim())).map((node) => node.outerHTML)"
    )
    assert unnamed == []


def test_the_command_writes_serves_and_ends(browser, dataset, tmp_path):
    command = [sys.executable, "-m", "umgclip", "data", "browse", str(dataset), "--out", "g", "-n", "20", "--serve"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("http://127.0.0.1:"):
                break
        assert any("rows in quarantine" in line for line in lines)  # validate's was found beside the dataset
        url = lines[-1].split()[0]
        browser.open(url)
        browser.wait(lambda: cards(browser) >= 20, "the cards")
        assert browser.complaints() == []
        assert browser.asked() == {url.rstrip("/")}
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
