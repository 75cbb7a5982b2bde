"""The page of a search: a folder with pictures that shows results with their boxes, without a server or network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from umgclip.io.atomic import SEARCH_PAGE, replaced_folder, write_json
from umgclip.pages.style import style_sheet
from umgclip.search.hits import Hit
from umgclip.search.pictures import CROP_PX, ImageId, crop, jpeg, read_images
from umgclip.search.state import IndexState, nothing_found
from umgclip.stage import Summary

STATIC = Path(__file__).with_name("static")
PAGE, CSS, RESULTS, PICTURES = "index.html", "results.css", "results.json", "images"
_CAPTION_CHARS, _TAGS = 160, 6


def write_page(
    out: Path, query: str, hits: Sequence[Hit], state: IndexState, parts: Mapping[str, str], what: str = "regions"
) -> Summary:
    """Write results as a folder with `index.html`, `results.json` and `images/`; an older page there is replaced.

    Args:
        out: folder to write.
        query: the query in words.
        hits: results, best first.
        state: of the index.
        parts: place of each part of the dataset; see `umgclip.search.pictures.parts_of`.
        what: what was looked for: `regions`, `images` or `both`.

    Raises:
        InputError: `out` holds something else.
        OutputError: it cannot be written.
    """
    with replaced_folder(out, SEARCH_PAGE) as folder:
        files, problems = _write_pictures(folder / PICTURES, hits, parts)
        (folder / CSS).write_text(style_sheet(STATIC / CSS), encoding="utf-8")
        items = [item(hit, _picture(hit, number, files, problems)) for number, hit in enumerate(hits)]
        template = Template((STATIC / "results.html").read_text(encoding="utf-8"))
        page = template.substitute(
            title=escape(query),
            about=escape(f"{counted(hits)} of {state.dataset}, embedded by {state.model.source}"),
            results="\n".join(items) or nothing_item(state, what),
        )
        (folder / PAGE).write_text(page, encoding="utf-8")
        content = {"query": query, "dataset": state.dataset, "model": state.model.source}
        write_json(folder / RESULTS, {**content, "results": [hit.as_json() for hit in hits]})
    rows = [("page", str(out / PAGE)), ("results", str(len(hits)))]
    if problems:
        rows.append(("pictures that cannot be shown", f"{len(problems)}: {next(iter(problems.values()))}"))
    return Summary(f"search: {query}", tuple(rows))


def nothing_item(state: IndexState, what: str) -> str:
    """Return a list item of HTML that says why a search of `regions`, `images` or `both` found nothing."""
    return f"<li>{escape(nothing_found(state, what))}.</li>"


@dataclass(frozen=True)
class Picture:
    """Addresses of the pictures of a result, or the reason why there are none.

    Attributes:
        image: of the whole image; None if it cannot be shown.
        crop: of the region alone; None for an image.
        problem: why the image cannot be shown.
    """

    image: str | None
    crop: str | None = None
    problem: str = ""


def _picture(hit: Hit, number: int, files: Mapping[ImageId, str], problems: Mapping[ImageId, str]) -> Picture:
    if hit.image not in files:
        return Picture(None, problem=problems.get(hit.image, ""))
    return Picture(files[hit.image], f"{PICTURES}/crop-{number:04d}.jpg" if hit.kind == "region" else None)


def counted(hits: Sequence[Hit]) -> str:
    """Return the numbers of regions and images in words."""
    regions = sum(hit.kind == "region" for hit in hits)
    parts = [f"{regions} regions"] if regions else []
    return " and ".join([*parts, *([f"{len(hits) - regions} images"] if len(hits) > regions else [])]) or "Nothing"


def _write_pictures(
    folder: Path, hits: Sequence[Hit], parts: Mapping[str, str]
) -> tuple[dict[ImageId, str], dict[ImageId, str]]:
    """Write each image once and a crop of each region; return files and problems by image."""
    folder.mkdir()
    files: dict[ImageId, str] = {}
    problems: dict[ImageId, str] = {}
    for pictured in read_images(hits, parts):
        if pictured.pixels is None:
            problems[pictured.image] = pictured.problem or "cannot be read"
            continue
        files[pictured.image] = f"{PICTURES}/{len(files):04d}.jpg"
        (folder / Path(files[pictured.image]).name).write_bytes(jpeg(pictured.pixels))
        for number, hit in enumerate(hits):
            if hit.image == pictured.image and hit.kind == "region":
                (folder / f"crop-{number:04d}.jpg").write_bytes(jpeg(crop(pictured.pixels, hit.box_xyxy), CROP_PX))
    return files, problems


def item(hit: Hit, picture: Picture, more: str = "") -> str:
    """Return one result as a list item of HTML.

    Args:
        hit: the result.
        picture: addresses of its pictures.
        more: HTML that follows its facts.
    """
    name = hit.name or ("image" if hit.kind == "image" else "region without a label")
    title = f"<h2><bdi>{escape(_cut(name))}</bdi> <span class='score'>{hit.similarity:.3f}</span></h2>"
    return f"<li>{_drawn(hit, name, picture)}<div>{title}{_facts(hit)}{more}</div></li>"


def _drawn(hit: Hit, name: str, picture: Picture) -> str:
    if picture.image is None:
        return f"<p class='problem'>No picture: <bdi>{escape(_cut(picture.problem))}</bdi></p>"
    file, alt = escape(picture.image), escape(f"{_cut(name)}, in image {_cut(hit.image_name)}", quote=True)
    if hit.kind == "image":
        return f"<div class='pictures'><a href='{file}'><img src='{file}' alt=\"{alt}\"></a></div>"
    x0, y0, x1, y1 = hit.box_xyxy
    box = f"x='{x0:.1f}' y='{y0:.1f}' width='{x1 - x0:.1f}' height='{y1 - y0:.1f}'"
    drawn = (
        f"<svg viewBox='0 0 {hit.width} {hit.height}' role='img' aria-label=\"{alt}\">"
        f"<image href='{file}' width='{hit.width}' height='{hit.height}'/>"
        f"<rect class='under' {box}/><rect class='box' {box}/></svg>"
    )
    thumbnail = "" if picture.crop is None else f"<img class='crop' src='{escape(picture.crop)}' alt=''>"
    return f"<div class='pictures'><a href='{file}'>{drawn}</a>{thumbnail}</div>"


def _facts(hit: Hit) -> str:
    lines: list[tuple[str, str]] = []
    if hit.captions:
        lines.append(("caption", f"<bdi>{escape(_cut(hit.captions[0]))}</bdi>"))
    if len(hit.tags) > 1:
        lines.append(("tags", ", ".join(f"<bdi>{escape(_cut(tag))}</bdi>" for tag in hit.tags[:_TAGS])))
    lines.append(("image", f"<bdi>{escape(hit.image_name)}</bdi>, {hit.width} × {hit.height} px"))
    if hit.kind == "region":
        sides = ", ".join(f"{side:.0f}" for side in hit.box_xyxy)
        lines.append(("region", f"<bdi>{escape(hit.region_id or '')}</bdi> [{sides}], score {hit.score:.2f}"))
    lines.append(("place", f"<bdi>{escape(hit.split)}: {escape(hit.shard)}, {escape(hit.key)}</bdi>"))
    if hit.url is not None and hit.url.lower().startswith(("http://", "https://")):
        address = escape(hit.url, quote=True)
        lines.append(("source", f'<a href="{address}" rel="noopener noreferrer">{escape(_cut(hit.url))}</a>'))
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in lines) + "</dl>"


def _cut(text: Any) -> str:  # noqa: ANN401 - texts of a record
    return text if len(text) <= _CAPTION_CHARS else f"{text[:_CAPTION_CHARS]}…"
