"""The page at `/` in headless Chromium: what a visitor does, and what they then see."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect

from umgclip.io.images import encode_png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian's package `chromium`)"),
]


class Browser:
    """One tab of a headless Chromium, spoken to by its debugging protocol."""

    def __init__(self, profile: Path, size: tuple[int, int] = (1100, 900)) -> None:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        self._process = subprocess.Popen(
            [str(CHROMIUM), *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        told = profile / "DevToolsActivePort"
        self.wait(lambda: told.is_file() and told.read_text(encoding="ascii").count("\n") >= 1, "Chromium")
        port, path = told.read_text(encoding="ascii").split("\n")[:2]
        self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=1 << 26)
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(*size)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(lambda: self.js("document.readyState") == "complete", url)

    def js(self, code: str) -> Any:
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({selector!r}).innerText")

    def wait(self, condition: Any, what: str, timeout_s: float = 60) -> None:
        until = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until, f"waited for {what}"
            time.sleep(0.05)

    def choose(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def type(self, selector: str, text: str) -> None:
        self.js(f"document.querySelector({selector!r}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({selector!r}).click()")

    def drag(self, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, between two places given as shares of an element."""
        frame = self.js(f"JSON.stringify(document.querySelector({selector!r}).getBoundingClientRect())")
        box = json.loads(frame)
        for kind, (x, y), buttons in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            at = {"x": box["left"] + x * box["width"], "y": box["top"] + y * box["height"]}
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=buttons, clickCount=1, **at)

    def screenshot(self, path: Path, **options: Any) -> None:
        data = self.call("Page.captureScreenshot", **options)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """What the console says: errors of scripts, of policies, of files that are missing."""
        self.js("0")  # events that have arrived are read with the next answer
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]))
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
        return found

    def asked(self) -> set[str]:
        """Servers that the page spoke to."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return {re.match(r"\w+:/*[^/]*", url)[0] for url in urls if not url.startswith(("data:", "blob:", "about:"))}

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self._socket.close()
        self._process.wait(30)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


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


def answered(browser: Browser) -> bool:
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
    browser.wait(lambda: "is no image that this browser can read" in browser.text("#problem"), "an error")
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
