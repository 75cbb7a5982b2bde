"""The gallery with an evaluation's predictions, and the report beside it, in headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest

from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.server import address, open_server
from umgclip.browse.settings import Selection
from umgclip.evaluate.stage import EvaluateInputs, run
from umgclip.io.manifest import read_manifest
from umgclip.io.places import place_at
from umgclip.params import EvaluateParams

pytestmark = pytest.mark.slow
AXE = "axe-core-4.11.0.tgz"


@pytest.fixture(scope="module")
def gallery(write_evaluation, tmp_path_factory) -> Path:
    """The folder of a gallery of a tiny demo, named by tiny random weights and by an adapter of them."""
    root = tmp_path_factory.mktemp("predictions")
    write_evaluation(root, 8, 6)
    inputs = EvaluateInputs(
        root / "base", root / "train", root / "data" / "benchmark", root / "annotations", root / "proposals",
        root / "evaluate.json",
    )  # fmt: skip
    run(EvaluateParams(pictures=2, resamples=10), inputs, root / "evaluate")
    benchmark = root / "data" / "benchmark"
    shown = Inputs(place_at(benchmark), read_manifest(benchmark), (), place_at(root / "evaluate"))
    write_gallery(Selection(), shown, root / "gallery", lambda _: None)
    return root / "gallery"


def choose(browser, verdict: str) -> int:
    """Filter by predictions; gives the number of images."""
    browser.js(f"at('verdict').value = {verdict!r}; at('verdict').dispatchEvent(new Event('input', {{bubbles: true}}))")
    return int(browser.text("#found").split()[0])


def test_truth_base_and_tuned_stand_side_by_side(browser, gallery):
    browser.open((gallery / "index.html").as_uri())
    offered = browser.js("[...at('verdict').options].map((option) => option.value)")
    assert {"", "differ", "wrong", "any", "report"} <= set(offered)
    assert choose(browser, "any") == 14
    count = choose(browser, "differ")
    assert count == browser.js(
        "cards.filter((card) => card.guesses?.some((guess) => guess.by[0][0] !== guess.by[1][0])).length"
    )
    assert count
    assert "≠ differ on" in browser.text(".card")
    browser.js("document.querySelector('.card').click()")
    assert browser.js("[...document.querySelectorAll('.panels figcaption b')].map((name) => name.textContent)") == [
        "truth", "base", "tuned",
    ]  # fmt: skip
    heads = browser.js("[...document.querySelectorAll('.verdicts thead th')].map((head) => head.textContent)")
    assert heads == ["truth", "base", "tuned"]
    rows = browser.js("[...document.querySelectorAll('.verdicts tbody tr')].map((row) => row.innerText)")
    assert any("≠" in row for row in rows)
    assert all("✓" in row or "✗" in row for row in rows)
    assert "verdict=differ" in browser.js("location.hash")
    assert browser.complaints() == []


def test_a_region_is_shown_in_every_picture_at_once(browser, gallery):
    browser.open((gallery / "index.html").as_uri())
    key = browser.js("cards.find((card) => card.guesses?.some((guess) => guess.region === 0)).key")
    browser.js(f"location.hash = 'image={key}'")
    browser.wait(lambda: browser.js("document.querySelector('#detail').open"), "the image")
    browser.js("document.querySelector('.region').focus()")
    assert browser.js("document.querySelectorAll('#large g.chosen').length") == 3
    drawn = browser.js("[...document.querySelectorAll('.panels g.wrong text')].map((node) => node.textContent[0])")
    assert set(drawn) <= {"✗"}
    if drawn:
        dashes = browser.js("getComputedStyle(document.querySelector('.panels g.wrong rect')).strokeDasharray")
        assert dashes != "none"  # not by its colour alone


@pytest.mark.parametrize("served", [False, True], ids=["disk", "server"])
def test_links_lead_from_the_report_to_the_same_image_and_back(browser, gallery, served):
    server = open_server(gallery, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        start = address(server) if served else f"{gallery.as_uri()}/"
        browser.open(f"{start}report.html")
        assert browser.js("document.querySelectorAll('.to-gallery').length") > 4
        assert browser.js("getComputedStyle(document.querySelector('.case a.to-gallery')).display") != "none"
        assert browser.js("getComputedStyle(document.querySelector('.without-gallery')).display") == "none"
        assert browser.js("document.querySelectorAll('th button').length") > 0  # its script runs
        key = unquote(browser.js("document.querySelector('.case').id").removeprefix("image-"))
        browser.js("document.querySelector('.case a.to-gallery').click()")
        browser.wait(lambda: browser.js("document.querySelector('#detail')?.open"), "the image in the gallery")
        assert browser.js("matching[open].key") == key
        browser.js("document.querySelector('#said a[href^=\"report.html#\"]').click()")
        browser.wait(lambda: browser.js("document.querySelector('.case:target') !== null"), "the image in the report")
        assert browser.js("document.querySelector('.case:target').id") == f"image-{key}"
        assert browser.complaints() == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_report_alone_has_no_links_to_a_gallery(browser, gallery):
    browser.open((gallery.parent / "evaluate" / "report.html").as_uri())
    assert browser.js("getComputedStyle(document.querySelector('.case a.to-gallery')).display") == "none"
    assert "--predictions" in browser.text(".without-gallery")


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, from npm's registry."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("no npm here")
    done = subprocess.run(
        [npm, "pack", "axe-core@4.11.0", "--silent"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        pytest.skip(f"axe-core cannot be fetched: {done.stderr.strip()[-200:]}")
    with tarfile.open(folder / AXE) as packed:
        member = packed.extractfile("package/axe.min.js")
        return member.read().decode()


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_have_no_violation_that_axe_finds(browser, gallery, axe, scheme, width):
    browser.call("Page.setBypassCSP", enabled=True)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.resize(width, 844, mobile=width < 500)
    key = "cards.find((card) => card.guesses && card.cases).key"
    for page, prepare in (
        ("index.html", "0"), ("index.html", f"location.hash = 'image=' + {key}"), ("report.html", "0"),
    ):  # fmt: skip
        browser.open(f"{(gallery / page).as_uri()}")
        browser.js(prepare)
        browser.wait(lambda: browser.js("document.readyState") == "complete", page)
        browser.js(f"{axe};0")
        found = "axe.run().then((result) => result.violations.map((one) => [one.id, one.nodes[0].html]))"
        assert browser.js(found) == [], (page, scheme, width)
        assert browser.js("document.documentElement.scrollWidth") <= width
