"""The page that `evaluate` writes, in headless Chromium."""

from __future__ import annotations

import pytest

from umgclip.evaluate.stage import EvaluateInputs, run
from umgclip.params import EvaluateParams

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(write_evaluation, tmp_path_factory) -> str:
    """The page of a tiny demo, read by tiny random weights; the truth stands for the annotator's regions."""
    root = tmp_path_factory.mktemp("evaluation")
    write_evaluation(root, 8, 6)
    inputs = EvaluateInputs(
        root / "base", root / "train", root / "data" / "benchmark", root / "annotations", root / "proposals",
        root / "evaluate.json",
    )  # fmt: skip
    run(EvaluateParams(pictures=3), inputs, root / "out")
    assert (root / "out" / "report.html").stat().st_size < 1_000_000
    return (root / "out" / "report.html").as_uri()


def test_it_shows_tables_curves_and_cases_and_asks_for_nothing(browser, page):
    browser.open(page)
    sections = browser.js("[...document.querySelectorAll('h2')].map((head) => head.id)")
    assert {"summary", "region", "classes", "confusion", "cases-1", "cases-2", "protocol"} <= set(sections)
    assert browser.js("document.querySelectorAll('svg.chart path.line').length") >= 8
    assert browser.js("document.querySelectorAll('.case').length") > 6
    decoded = (
        "(async () => { for (const image of document.querySelectorAll('.case image')) { const copy = new Image(); "
        "copy.src = image.getAttribute('href'); await copy.decode() } return true })()"
    )
    assert browser.js(decoded)
    assert browser.complaints() == []
    assert all(url.startswith("file:") for url in browser.asked())


def test_classes_are_sorted_and_filtered(browser, page):
    browser.open(page)
    table = "table[aria-label=classes]"
    names = f"[...document.querySelectorAll('{table} tbody tr:not([hidden]) th')].map((cell) => cell.textContent)"
    regions = f"[...document.querySelectorAll('{table} tbody tr td:nth-child(2)')].map((cell) => +cell.textContent)"
    browser.click(f"{table} thead th:nth-child(2) button")
    found = browser.js(regions)
    assert found == sorted(found, reverse=True)
    browser.click(f"{table} thead th:nth-child(2) button")
    assert browser.js(regions) == sorted(found)
    assert browser.js(f"document.querySelector('{table} thead th:nth-child(2)').ariaSort") == "ascending"
    wanted = browser.js(names)[0].strip().split(" held")[0]
    browser.type("input[aria-label='filter classes']", wanted)
    assert all(wanted in name for name in browser.js(names))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(browser, page, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page)
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (browser.contrast(ground, "rgb(255, 255, 255)") > 10) == (scheme == "dark")
    for selector, property_ in ((".note", "color"), ("nav a", "color"), ("thead th", "color"), (".tick", "fill"),
                                (".held", "color")):  # fmt: skip
        colour = browser.js(f"getComputedStyle(document.querySelector({selector!r})).{property_}")
        assert browser.contrast(colour, ground) >= 4.5, (selector, colour, ground)
    for selector in ("path.line.m0", "path.line.m1"):  # graphics need 3 to 1
        colour = browser.js(f"getComputedStyle(document.querySelector({selector!r})).stroke")
        assert browser.contrast(colour, ground) >= 3, (selector, colour, ground)


def test_it_fits_a_phone_and_names_its_controls(browser, page):
    browser.resize(360, 740, mobile=True)
    browser.open(page)
    assert browser.js("document.documentElement.scrollWidth") <= 360
    unnamed = browser.js(
        "[...document.querySelectorAll('input,button,svg,table')].filter((node) => !(node.labels?.length || "
        "node.getAttribute('aria-label') || node.textContent.trim())).map((node) => node.outerHTML)"
    )
    assert unnamed == []
