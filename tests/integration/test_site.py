"""The documentation site in headless Chromium: axe finds nothing on its start page and two paths, in both themes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
PAGES = ("", "docs/photographs/", "docs/compare/")
SCRIPT = """
const puppeteer = require("puppeteer-core"), fs = require("fs");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
(async () => {
  const [chromium, address, ...pages] = process.argv.slice(2);
  const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox"], protocolTimeout: 280000 });
  const seen = [];
  for (const width of [1280, 390]) for (const scheme of ["light", "dark"]) for (const path of pages) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport({ width, height: 1000 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(address + path, { waitUntil: "load" });
    await new Promise((done) => setTimeout(done, 500));
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run());
    seen.push({
      page: `${path || "start"} ${width} ${scheme}`,
      theme: await page.evaluate(() => document.body.dataset.mdColorScheme),
      overflow: await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
      violations: found.violations.map((one) => `${one.id}: ${one.nodes[0].html}`),
    });
    await context.close();
  }
  await browser.close();
  console.log(JSON.stringify(seen));
})();
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Path:
    """A folder with axe and a driver for Chromium; without npm or its registry, the test is skipped."""
    if CHROMIUM is None or shutil.which("npm") is None:
        pytest.skip("needs chromium and npm")
    folder = tmp_path_factory.mktemp("tools")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "axe-core", "puppeteer-core"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install axe-core here: {done.stderr[-200:]}")
    (folder / "run.js").write_text(SCRIPT)
    return folder


def test_the_start_page_and_two_paths_have_no_violations(tools, tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", ROOT / "docs/mkdocs/mkdocs.yml", "-d", site]
    subprocess.run(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        words = ["node", "run.js", CHROMIUM, f"http://127.0.0.1:{server.server_port}/", *PAGES]
        done = subprocess.run(words, cwd=tools, capture_output=True, text=True, timeout=400, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert len(seen) == 4 * len(PAGES)
    assert {one["theme"] for one in seen} == {"default", "slate"}
    assert [one for one in seen if one["violations"] or one["overflow"] > 0] == []
