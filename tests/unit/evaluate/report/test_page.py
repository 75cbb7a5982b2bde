"""The page of the coloured squares: one model that is always right beside one that sees nothing."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from umgclip.evaluate.examples import batched, read_examples
from umgclip.evaluate.report.cases import Cases
from umgclip.evaluate.report.page import write
from umgclip.evaluate.suite import Suite
from umgclip.io import tables

VOID = {"meta", "br", "input", "link", "img", "hr"}
EVIL = '</script><img src=x onerror="1">'


class Tags(HTMLParser):
    """Checks that elements are closed, and collects their ids and the places that links lead to."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.of_gallery, self.count = [], [], [], [], 0

    def handle_starttag(self, tag, attributes):
        self.count += 1
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        # links to the gallery are hidden but in the copy that a gallery has beside it
        of_gallery = found.get("href", "").startswith("index.html")
        self.links += [found["href"]] if "href" in found and not of_gallery else []
        self.of_gallery += [found["href"]] if of_gallery else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(kit, read_with, toy, tmp_path):
    """Write the page and give its text; `caption` is put in place of each example's own."""

    def make(caption=None, intervals=None, blind="base"):
        readers = [read_with(kit.RandomTower() if name == blind else kit.ColourTower()) for name in ("base", "tuned")]
        suites = [Suite(name, reader, {}) for name, reader in zip(("base", "tuned"), readers, strict=True)]
        cases = Cases(readers, ["base", "tuned"], {}, 2)
        for batch in batched(read_examples(toy, kit.CLASSES), 5):
            said = [dataclasses.replace(example, captions=(caption,)) for example in batch] if caption else batch
            cases.add(said, [suite.add(said) for suite in suites])
        metrics = {suite.name: suite.results() for suite in suites} | {"annotator": {"recall": 0.5}}
        protocol = {"benchmark": {"sha256": "0" * 64, "scenes": 27}, "settings": {"resize": "squash"}}
        extra = {} if intervals is None else {"intervals": intervals}
        write(tmp_path / "page.html", {**metrics, "protocol": protocol, **extra}, suites, cases)
        return (tmp_path / "page.html").read_text(encoding="utf-8"), cases

    return make


def test_it_is_whole_html_and_needs_nothing_beside_it(page):
    text, _ = page()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    for link in tags.links:
        assert link.startswith("data:") or link[1:] in tags.ids
    assert "http" not in re.sub(r"base64,[^\"]*", "", text).replace("http-equiv", "")


def test_each_image_has_an_address_and_a_link_to_the_gallery(page):
    text, cases = page()
    tags = Tags()
    tags.feed(text)
    shown = [case.key for gallery in (cases.scenes, cases.singles) for _, kind in gallery.shown() for case in kind]
    assert {name for name in tags.ids if name.startswith("image-")} == {f"image-{key}" for key in shown}
    assert tags.of_gallery == ["index.html", *(f"index.html#image={key}" for key in shown)]
    assert '<html lang="en">' in text  # what a gallery's copy is marked at


def test_every_prediction_is_a_row_of_a_table_beside_it(page, tmp_path):
    _, cases = page()
    rows = tables.read_columns(tmp_path / "predictions.parquet", tables.PREDICTIONS.names).to_pylist()
    assert {row["model"] for row in rows} == {"base", "tuned"}
    tuned = [row for row in rows if row["model"] == "tuned"]
    assert all(row["label"] == row["truth"] and row["score"] == row["truth_score"] for row in tuned)
    assert any(row["region_id"] is None for row in rows)
    keys = json.loads((tmp_path / "cases.json").read_text())
    assert keys["scenes"]["best"] == [case.key for case in dict(cases.scenes.shown())["best"]]
    first = dict(cases.scenes.shown())["best"][0]
    of_first = [row for row in rows if row["key"] == first.key and row["model"] == "base"]
    for row, region in zip(of_first, first.regions, strict=True):
        assert (row["label"], row["truth"]) == (region.guesses[0].name, region.name)
        assert row["score"] == round(region.guesses[0].probability, 4)


def test_every_benchmark_has_a_section_and_held_out_classes_a_mark(page):
    text, _ = page()
    for name in ("classification", "retrieval", "tagging", "region", "semantic", "panoptic", "classes", "annotator",
                 "protocol"):  # fmt: skip
        assert f'<h2 id="{name}">' in text
    assert re.search(r">egg <span class=\"held\">held out", text)
    assert not re.search(r">cat <span class=\"held\"", text)
    assert "&#34;resize&#34;: &#34;squash&#34;" in text


def test_confusions_are_those_of_the_tuned_model(page):
    assert '<h2 id="confusion">' not in page()[0]
    text, _ = page(blind="tuned")
    assert '<h2 id="confusion">' in text
    pairs = re.findall(
        r"<tr><th scope=\"row\">(\w+)</th><td class=\"name\">(\w+)</td><td>(\d+)</td><td>(\d+)</td>", text
    )
    assert pairs
    assert all(actual != guess and int(base) == 0 < int(tuned) for actual, guess, base, tuned in pairs)


def test_words_of_the_data_stay_words(page):
    text, _ = page(EVIL)
    assert EVIL not in text
    assert "&lt;/script&gt;&lt;img src=x" in text


def test_intervals_stand_beside_their_values(page):
    ends = {"region": {"mask_top1": {"low": 0.91, "high": 0.99}}}
    text, _ = page(intervals={"tuned": ends, "change": ends})
    assert "0.910 to 0.990" in text
    assert "+0.910 to +0.990" in text


def test_cases_are_those_of_the_surest_and_the_least_sure(page):
    _, cases = page()
    for gallery, size in ((cases.scenes, 2), (cases.singles, 2)):
        shown = dict(gallery.shown())
        assert len(shown["best"]) == size
        assert shown["best"][0].probabilities[1] > 0.99
        gains = [case.probabilities[1] - case.probabilities[0] for case in shown["gained"]]
        assert gains == sorted(gains, reverse=True)
    region = shown_region(cases)
    assert region.guesses[1].right
    assert region.path.startswith("M")
    assert all(0 < side < 1 for side in cases.sides)


def shown_region(cases):
    """The first region of the best scene."""
    return dict(cases.scenes.shown())["best"][0].regions[0]
