"""The tab "Search" of a served gallery: pages without a script, pictures of results alone, and strict requests."""

from __future__ import annotations

import http.client
import re
import threading
from urllib.parse import quote

import pytest

from umgclip.browse.server import open_server
from umgclip.errors import InputError
from umgclip.search import RegionIndex
from umgclip.search.answering import SearchTab

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def tab(demo_index, model):
    return SearchTab(RegionIndex.open(demo_index, model), "")


def page(tab, path):
    answer = tab.answer(path)
    return answer.status, answer.body.decode()


def test_a_text_gives_regions_with_boxes_and_their_pictures(tab):
    status, html = page(tab, "/search?text=a+red+apple&what=regions")
    assert status == 200
    assert html.count("<rect class='box'") == 24
    assert 'value="a red apple"' in html
    assert "<script" not in html
    assert "24 regions, best first" in html
    for kind in ("image", "crop"):
        first = re.search(rf"/search/{kind}\?id=[0-9a-f]+", html)[0]
        picture = tab.answer(first)
        assert (picture.status, picture.type, picture.body[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")
        assert tab.answer(first).body == picture.body


def test_similar_regions_begin_with_the_region(tab):
    _, html = page(tab, "/search?text=grass&single=on&label=&what=both")
    link = re.search(r"/search\?similar=([0-9a-f]+)&amp;what=regions", html)
    _, similar = page(tab, link[0].replace("&amp;", "&"))
    assert link[1] in re.search(r"id=([0-9a-f]+)", similar)[0]
    assert ">1.000</span>" in similar


def test_conditions_and_nothing_asked(tab):
    assert "Nothing in the index fulfils the conditions" in page(tab, "/search?text=dog&label=unicorn")[1]
    status, html = page(tab, "/search")
    assert status == 200
    assert 'id="results" tabindex="-1" aria-label="Results" hidden' in html
    assert tab.answer("/index.html") is None
    assert tab.answer("/search/results.css").type.startswith("text/css")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("text=" + "a" * 501, "text: expected at most 500 characters, got 501"),
        ("text=dog&where=1", "Expected the fields text, similar, what, label, single, got"),
        ("text=dog&text=cat", "has a field twice"),
        ("text=%ff", "not UTF-8"),
        ("text=dog&what=boxes", "what: expected one of regions, images, both"),
        ("similar=0123", "no longer remembered"),
        ("text=a&what=both&label=b&single=1&similar=&more=1", "too many fields"),
    ],
)
def test_other_requests_are_refused(tab, query, message):
    status, html = page(tab, f"/search?{query}")
    assert (status, message in html) == (400, True)


def test_texts_are_shown_as_texts(tab):
    html = page(tab, "/search?text=" + quote("<script>alert(1)</script>\"'"))[1]
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;" in html


@pytest.mark.parametrize("path", ["/search/image?id=../../etc/passwd", "/search/crop?id=", "/search/image"])
def test_pictures_are_those_of_results(tab, path):
    assert tab.answer(path).status == 404


def test_two_searches_at_once_and_no_more(tab, monkeypatch):
    assert all(tab._free.acquire(blocking=False) for _ in range(2))
    try:
        status, html = page(tab, "/search?text=dog")
    finally:
        tab._free.release()
        tab._free.release()
    assert (status, "Other searches are under way; try again." in html) == (503, True)


def test_without_an_index_it_says_how_to_make_one():
    status, html = page(SearchTab(None, "make one with umgclip index data/train"), "/search?text=dog")
    assert status == 200
    assert "make one with umgclip index data/train" in html
    assert html.count("disabled") == 5


def test_the_gallery_gets_a_tab_when_it_is_served(tab, tmp_path):
    (tmp_path / "index.html").write_text("<body><header>the gallery</header>")

    def get(path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())

    with open_server(tmp_path, 0, tab) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert get("/")[1].startswith('<body><nav class="tabs"')
            status, html, headers = get("/search?text=dog")
            assert (status, "best first" in html) == (200, True)
            assert "form-action 'self'" in headers["Content-Security-Policy"]
            assert get("/search?text=dog", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
            assert get("/search?text=dog", Host="evil.example")[0] == 403
            assert get("/search?text=" + "a" * 5000)[0] == 414
            assert get("/nothing")[0] == 404
        finally:
            server.shutdown()
            thread.join()


def test_the_index_of_a_dataset_is_found_or_refused(demo, demo_index, tmp_path, monkeypatch):
    from umgclip.cli.searching import search_tab

    monkeypatch.chdir(tmp_path)
    how = search_tab(str(demo / "train"), None).answer("/search").body.decode()
    assert f"make one with umgclip index {demo / 'train'}" in how
    with pytest.raises(InputError, match="expected an index of .*train at .*index, it is of .*data"):
        search_tab(str(demo / "train"), str(demo_index))
    tab = search_tab(str(demo / "benchmark"), str(demo_index))
    assert 'name="text" type="search" maxlength="500" required value="" >' in tab.answer("/search").body.decode()
    with pytest.raises(InputError, match="expected an index of .*, found none"):
        search_tab(str(demo / "train"), str(tmp_path / "none"))
