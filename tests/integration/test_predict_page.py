"""The page of `umgclip predict --out FOLDER` in headless Chromium, opened from the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from umgclip.inference.detecting.detector import Detector, DetectSettings, ModelParts
from umgclip.model.clip.reader import Scoring
from umgclip.predictions.inputs import input_images
from umgclip.predictions.run import FolderRequest, predict_folder

pytestmark = pytest.mark.slow
EVIL = '</script><script>globalThis.owned = 1</script><img src=x onerror="globalThis.owned = 2">'
NAMES = ["a.jpg", "in/ä 鳥#%?.png", "flat.png", "torn.jpg"]


def corner(images):
    """Return dense maps of which the upper left quarter shows the second label."""
    dense = torch.zeros(len(images), 4, 8, 8)
    dense[:, 3] = 1
    dense[:, :, :4, :4] = torch.tensor([0.0, 1, 0, 0])[None, :, None, None]
    return list(dense)


@pytest.fixture
def page(tmp_path) -> str:
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60), (number, 90, 90)).save(path)
    (tmp_path / "photos" / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    model = ModelParts(corner, lambda names: torch.eye(4)[: len(names)], Scoring(20.0), 0.7)
    texts = torch.eye(4)[:2], torch.eye(4)[2:3]
    detector = Detector(model, (EVIL, "dog"), texts, lambda _: [], DetectSettings(background=["thing"]))
    photos = tmp_path / "photos"
    images = input_images([photos], sorted(path for path in photos.rglob("*.*") if path.is_file()), tmp_path / "out")
    boxes = {name: [[0, 0, 40, 30]] for name in NAMES[:2]}
    request = FolderRequest(images, boxes, tmp_path / "out", f"models:/{EVIL}")
    result = predict_folder(request, detector, nn.Linear(1, 1), lambda _: None)
    assert (result.failed, result.summary.facts["detections"]) == (1, 2)
    return (tmp_path / "out" / "index.html").as_uri()


def enter(browser, selector: str, value: str) -> None:
    browser.js(
        f"document.querySelector({selector!r}).value = {value!r}; document.querySelector({selector!r})"
        ".dispatchEvent(new Event('input', {bubbles: true}))"
    )


def names(browser) -> list[str]:
    return browser.js("[...document.querySelectorAll('.card h2')].map((title) => title.textContent)")


def test_images_are_shown_and_filtered(browser, page):
    browser.open(page)
    assert browser.text("#count") == "4 of 4 images, 2 detections"
    assert sorted(names(browser)) == sorted(NAMES)
    assert browser.js("document.querySelectorAll('.card rect').length") == 2
    for number in range(3):
        address = f"document.querySelectorAll('.card image')[{number}].getAttribute('href')"
        code = f"const image = new Image(); image.src = {address}; await image.decode(); return image.naturalWidth"
        assert browser.js(f"(async () => {{ {code} }})()") == 80
    enter(browser, "#label", "1")
    assert names(browser) == NAMES[:2]
    enter(browser, "#name", "鳥")
    assert names(browser) == [NAMES[1]]
    enter(browser, "#name", "")
    enter(browser, "#score", "1.01")
    assert names(browser) == []
    enter(browser, "#label", "none")
    assert sorted(names(browser)) == sorted(NAMES[:3])
    enter(browser, "#label", "failed")
    assert "not a readable image" in browser.text(".card.failed .error")
    assert browser.complaints() == []
    assert all(url.startswith(("file:", "data:")) for url in browser.asked())


def test_texts_run_nothing_and_the_page_fits_a_phone_in_both_themes(browser, page):
    browser.resize(390, 800, mobile=True)
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(page)
        assert browser.js("globalThis.owned") is None
        assert browser.js("document.documentElement.scrollWidth") <= 390
        colours = browser.js(
            "['header p', '.card h2', '.score', '.error'].map((s) => getComputedStyle(document.querySelector(s)).color)"
        )
        raised = browser.js("getComputedStyle(document.querySelector('.card')).backgroundColor")
        assert all(browser.contrast(colour, raised) >= 4.5 for colour in colours)
    assert browser.complaints() == []


def test_links_lead_to_pictures(page):
    out = Path(page.removeprefix("file://")).parent
    drawn = np.asarray(Image.open(out / "pictures" / NAMES[1]))
    assert (drawn != np.asarray(Image.open(out.parent / "photos" / NAMES[1]))).any()
    assert not (out / "pictures" / "torn.jpg").exists()
