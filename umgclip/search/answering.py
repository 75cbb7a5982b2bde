"""The tab "Search" of a served gallery: a form, results with their boxes, and similar regions, without a script."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from html import escape
from http import HTTPStatus
from string import Template
from threading import BoundedSemaphore, Lock
from urllib.parse import parse_qsl, quote, urlsplit

from umgclip.browse.routes import PageAnswer
from umgclip.errors import UmgclipError
from umgclip.pages.style import style_sheet
from umgclip.search.filters import WHAT, SearchFilter
from umgclip.search.hits import Hit
from umgclip.search.page import CSS, STATIC, Picture, counted, item, nothing_item
from umgclip.search.pictures import CROP_PX, crop, jpeg, parts_of, read_images
from umgclip.search.region_index import RegionIndex

TOP = 24
_TEXT_CHARS, _LABEL_CHARS = 500, 100
_FIELDS = ("text", "similar", "what", "label", "single")
_HITS, _PICTURES = 20_000, 512  # results and pictures that are remembered
_AT_ONCE = 2  # searches; others are told to wait
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY}


class SearchTab:
    """Pages of the tab: `/search` with the form and results, and the pictures of results.

    Pictures are given of results of this server alone, by an identifier that says nothing of paths.
    """

    tabs = (
        '<nav class="tabs" aria-label="Views"><a href="/" aria-current="page">Gallery</a> '
        '<a href="/search">Search</a></nav>\n'
    )

    def __init__(self, index: RegionIndex | None, how: str, dataset: str | None = None) -> None:
        """Serve an index.

        Args:
            index: None if there is none.
            how: how to make one, or why it cannot be used, for the page.
            dataset: where the dataset lies now, if it was moved.
        """
        self._index, self._how = index, how
        self._parts = {} if index is None else parts_of(index.state, dataset)
        self._hits: OrderedDict[str, Hit] = OrderedDict()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._lock, self._free = Lock(), BoundedSemaphore(_AT_ONCE)

    def answer(self, path: str) -> PageAnswer | None:
        """PageAnswer a request for a path with its query; None: the address is not of this tab."""
        parts = urlsplit(path)
        if parts.path == f"/search/{CSS}":
            return PageAnswer(style_sheet(STATIC / CSS).encode(), "text/css; charset=utf-8")
        pages: dict[str, Callable[[Mapping[str, str]], PageAnswer]] = {
            "/search": self._search,
            "/search/image": self._picture,
            "/search/crop": self._crop,
        }
        if parts.path not in pages:
            return None
        try:
            pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=len(_FIELDS), errors="strict")
        except ValueError:
            return self._page({}, problem="The address has too many fields, or text that is not UTF-8.")
        fields = dict(pairs)
        if len(fields) < len(pairs):
            return self._page({}, problem="The address has a field twice.")
        return pages[parts.path](fields)

    def _search(self, fields: Mapping[str, str]) -> PageAnswer:
        """Return the page with the form, and results if something was asked."""
        problem = _problem(fields)
        if self._index is None or problem or not (fields.get("text", "").strip() or fields.get("similar")):
            return self._page(fields, problem=problem)
        asked = self._known(fields["similar"]) if fields.get("similar") else None
        if fields.get("similar") and asked is None:
            return self._page(fields, problem="This region is no longer remembered; search for it again.")
        if not self._free.acquire(blocking=False):
            return self._page(fields, problem="Other searches are under way; try again.", status=_BUSY)
        try:
            hits = self._results(self._index, fields, asked)
        except UmgclipError as error:
            return self._page(fields, problem=str(error))
        finally:
            self._free.release()
        return self._page(fields, hits, asked)

    def _results(self, index: RegionIndex, fields: Mapping[str, str], asked: Hit | None) -> list[Hit]:
        label = fields.get("label", "").strip() or None
        only = SearchFilter(what=fields.get("what", "regions"), label=label, one_per_image="single" in fields)
        if asked is not None:
            return index.similar_to(asked, TOP, only)
        return index.search(fields["text"].strip(), top=TOP, only=only)

    def _page(
        self,
        fields: Mapping[str, str],
        hits: Sequence[Hit] | None = None,
        asked: Hit | None = None,
        *,
        problem: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> PageAnswer:
        title, results = "Search", ""
        if hits is not None and self._index is not None:
            title = f"Similar to {asked.name or asked.image_name}" if asked is not None else fields.get("text", "")
            results = "\n".join(map(self._item, hits)) or nothing_item(self._index.state, fields.get("what", "regions"))
        message = problem or ("" if hits is None else f"{counted(hits)}, best first")
        if self._index is None:
            message = self._how
        template = Template((STATIC / "search.html").read_text(encoding="utf-8"))
        page = template.substitute(
            title=escape(title),
            text=escape(fields.get("text", ""), quote=True),
            label=escape(fields.get("label", ""), quote=True),
            what="".join(_option(what, fields.get("what", "regions")) for what in WHAT),
            single="checked" if "single" in fields else "",
            disabled="disabled" if self._index is None else "",
            message=escape(message),
            kind="problem" if problem or self._index is None else "message",
            results=results,
            hidden="" if hits is not None else "hidden",
        )
        bad = HTTPStatus.BAD_REQUEST if problem and status == HTTPStatus.OK else status
        return PageAnswer(page.encode("utf-8", "replace"), status=bad, headers=_HEADERS)

    def _item(self, hit: Hit) -> str:
        token = _token(hit)
        with self._lock:
            self._hits[token] = hit
            self._hits.move_to_end(token)
            while len(self._hits) > _HITS:
                self._hits.popitem(last=False)
        name = escape(hit.name or hit.image_name)
        what = "regions" if hit.kind == "region" else "images"
        similar = (
            f"<p><a href='/search?similar={token}&amp;what={what}'>Similar {what}"
            f"<span class='unseen'> to {name}</span></a></p>"
        )
        cut = f"/search/crop?id={token}" if hit.kind == "region" else None
        return item(hit, Picture(f"/search/image?id={quote(token)}", cut), similar)

    def _known(self, token: str) -> Hit | None:
        with self._lock:
            return self._hits.get(token)

    def _picture(self, fields: Mapping[str, str]) -> PageAnswer:
        return self._jpeg(fields, whole=True)

    def _crop(self, fields: Mapping[str, str]) -> PageAnswer:
        return self._jpeg(fields, whole=False)

    def _jpeg(self, fields: Mapping[str, str], *, whole: bool) -> PageAnswer:
        """Return the picture of a result, from memory or from its shard."""
        hit = self._known(fields.get("id", ""))
        if hit is None:
            return PageAnswer(b"not a result of this server", "text/plain", HTTPStatus.NOT_FOUND)
        name = f"{hit.image}" if whole else _token(hit)
        with self._lock:
            data = self._pictures.get(name)
        if data is None:
            for pictured in read_images([hit], self._parts):
                if pictured.pixels is None:
                    text = (pictured.problem or "").encode("utf-8", "replace")
                    return PageAnswer(text, "text/plain; charset=utf-8", HTTPStatus.NOT_FOUND)
                data = jpeg(pictured.pixels) if whole else jpeg(crop(pictured.pixels, hit.box_xyxy), CROP_PX)
        if data is None:
            return PageAnswer(b"the image is not there", "text/plain", HTTPStatus.NOT_FOUND)
        with self._lock:
            self._pictures[name] = data
            while len(self._pictures) > _PICTURES:
                self._pictures.popitem(last=False)
        return PageAnswer(data, "image/jpeg")


_BUSY = HTTPStatus.SERVICE_UNAVAILABLE


def _problem(fields: Mapping[str, str]) -> str:
    """Return what is wrong with the fields of a request; an empty text if they are good."""
    if unknown := set(fields) - set(_FIELDS):
        return f"Expected the fields {', '.join(_FIELDS)}, got {sorted(unknown)[0][:40]!r}."
    for name, most in (("text", _TEXT_CHARS), ("label", _LABEL_CHARS), ("similar", _LABEL_CHARS)):
        if len(fields.get(name, "")) > most:
            return f"{name}: expected at most {most} characters, got {len(fields[name])}."
    if fields.get("what", "regions") not in WHAT:
        return f"what: expected one of {', '.join(WHAT)}."
    return ""


def _token(hit: Hit) -> str:
    text = "\0".join(map(str, (*hit.image, hit.key, hit.region_id)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _option(name: str, chosen: str) -> str:
    return f"<option value='{name}'{' selected' if name == chosen else ''}>{name}</option>"
