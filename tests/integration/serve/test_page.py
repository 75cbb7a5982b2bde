"""The page at `/` in headless Chromium: what a visitor does, and what they then see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from umgclip.io.images import encode_png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(start):
    return start()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, :45], pixels[:, 45:] = (200, 40, 40), (40, 40, 200)
    path = tmp_path / "red and blue.png"
    path.write_bytes(encode_png(pixels))
    return path


def answered(browser) -> bool:
    return "answered in" in browser.text("#status")


def test_a_visitor_asks_about_an_image_and_a_box(browser, served, image):
    browser.open(f"{served.url}/")
    browser.wait(lambda: "version 1 (champion)" in browser.text("#model"), "the model's name")
    browser.type("#labels", "dog, cat\nblue sky")
    browser.choose("#file", image)
    browser.wait(lambda: answered(browser), "an answer")

    assert browser.js("document.querySelectorAll('#scores tr').length") == 3 + 4  # labels, tags of the vocabulary
    assert "blue sky" in browser.text("#scores")
    assert browser.js("document.querySelector('#canvas').getAttribute('aria-label')") == (
        "red and blue.png, 90 by 60 pixels"
    )
    bare = browser.js("document.querySelector('#overlay').value = 'none'; document.querySelector('#overlay')"
                      ".dispatchEvent(new Event('input')); document.querySelector('#canvas').toDataURL()")  # fmt: skip
    for look in ("segments", "label 1"):
        assert bare != browser.js(f"document.querySelector('#overlay').value = {look!r}; document.querySelector("
                                  "'#overlay').dispatchEvent(new Event('input')); document.querySelector('#canvas')"
                                  ".toDataURL()")  # fmt: skip

    browser.js("document.querySelector('#status').textContent = ''")
    browser.drag("#canvas", (0.5, 0.0), (0.99, 0.99))
    browser.wait(lambda: answered(browser), "an answer about the box")

    sides = browser.js("[...document.querySelectorAll('#boxes input')].map((input) => input.valueAsNumber)")
    np.testing.assert_allclose(sides, [45, 0, 89, 59], atol=2)
    assert "Box 1" in browser.text("#scores")
    assert browser.complaints() == []
    assert browser.asked() == {served.url}


def test_errors_are_shown(browser, served, image, tmp_path):
    browser.open(f"{served.url}/")
    browser.click("#ask")
    assert "Expected an image" in browser.text("#problem")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    browser.choose("#file", tmp_path / "broken.png")
    browser.wait(lambda: "is not an image that this browser can read" in browser.text("#problem"), "an error")
    browser.choose("#file", image)
    browser.wait(lambda: not browser.js("document.querySelector('#canvas').hidden"), "the image")
    browser.click("#ask")
    assert "Expected at least one label" in browser.text("#problem")
    browser.type("#labels", "x" * 400)
    browser.click("#ask")
    browser.wait(lambda: "expected at most 300 characters, got 400" in browser.text("#problem"), "the server's error")
    assert browser.js("document.querySelector('#problem').getAttribute('role')") == "alert"


def test_a_page_behind_a_key_asks_for_it(browser, start, image):
    served = start(UMGCLIP_API_KEY="open sesame")
    browser.open(f"{served.url}/")
    browser.type("#labels", "dog, cat")
    browser.choose("#file", image)
    browser.wait(lambda: "expected a key of this server" in browser.text("#problem"), "the refusal")
    browser.type("#key", "open sesame")
    browser.click("#ask")
    browser.wait(lambda: answered(browser), "an answer")
    assert "expected a key" not in browser.text("#problem")
    assert all(label in browser.text("#scores") for label in ("dog", "cat"))


def test_it_fits_a_phone_and_the_keyboard(browser, served, image):
    browser.resize(360, 740, mobile=True)
    browser.open(f"{served.url}/")
    browser.type("#labels", "dog, " + "a label that is rather long " * 4)
    browser.choose("#file", image)
    browser.wait(lambda: answered(browser), "an answer")
    browser.click("#add")  # a box without a pointer
    browser.wait(lambda: "Box 1" in browser.text("#scores"), "an answer about the box")
    assert browser.js("document.activeElement.getAttribute('aria-label')") == "box 1, left"
    assert browser.js("document.documentElement.scrollWidth") <= 360
    unnamed = browser.js(
        "[...document.querySelectorAll('input,select,textarea,button')].filter((node) => "
        "!(node.labels?.length || node.getAttribute('aria-label') || node.textContent.trim())).map((node) => node.id)"
    )
    assert unnamed == []


def test_the_description_is_drawn(browser, served):
    browser.open(f"{served.url}/docs")
    browser.wait(lambda: "PredictRequest" in browser.text("#description"), "the description")
    shown = browser.text("#description")
    assert "POST /predict" in shown
    assert "similarity_map" in shown
    assert browser.js("document.querySelectorAll('details pre').length") == 5
    assert browser.complaints() == []
    assert browser.asked() == {served.url}
