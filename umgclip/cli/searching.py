"""Commands `umgclip index` and `umgclip search`: find regions and images of a dataset by text or picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umgclip.cli.habits import completion, output
from umgclip.cli.options import ARTIFACTS, local_or_s3
from umgclip.errors import InputError, UmgclipError
from umgclip.suggestions import did_you_mean

if TYPE_CHECKING:
    from umgclip.search import Hit, RegionIndex
    from umgclip.search.answering import SearchTab
else:  # at run time these are imported by the commands that use them
    Hit = RegionIndex = SearchTab = Any

INDEX = ARTIFACTS / "index"
_MODEL = "folder or models:/NAME@ALIAS, as for umgclip.load"
_LABEL_CHARS = 60
Place = Annotated[
    Any, typer.Option("--index", parser=local_or_s3, metavar="PATH", help="index: a folder or s3://BUCKET/PREFIX")
]

Output = Annotated[
    Any, typer.Option("--out", parser=local_or_s3, metavar="PATH", help="index to make or renew, local or s3://")
]


def index(
    where: Annotated[
        str,
        typer.Argument(
            help="dataset or folder of datasets: a path or s3://BUCKET/PREFIX",
            metavar="DATASET",
            autocompletion=completion.datasets,
        ),
    ],
    model: Annotated[str, typer.Option("--model", help=_MODEL)] = str(ARTIFACTS),
    out: Output = INDEX,
    device: Annotated[str | None, typer.Option(help="torch device; default: a GPU if there is one")] = None,
) -> None:
    r"""Embed the images and regions of a dataset, so that `umgclip search` finds them by text or picture.

    Run it again after the dataset changed: what is new or changed is embedded,
    what is gone leaves the index. A killed run continues where it was. Searches
    see the result of the last run that came to its end.

    Needs LanceDB: pip install "umgclip\[search]".

    Example: umgclip index artifacts/annotate/train
    """
    from umgclip.search.store import require_lancedb

    require_lancedb()
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.search.building import DatasetParts, build_index
    from umgclip.search.writing import only_writer

    opened_parts = datasets.opened(where)
    base = where.rstrip("/") if where.startswith("s3://") else str(Path(where).resolve())
    names = {name: (name if name.startswith("s3://") else str(Path(name).resolve())) for name in opened_parts}
    names = {name: full.rstrip("/").rpartition("/")[2] for name, full in names.items()}
    places = {names[name]: _absolute(place, manifest) for name, (place, manifest) in opened_parts.items()}
    dataset = DatasetParts(base, places)
    import umgclip

    with only_writer(out), session.untracked("index") as opened:
        loaded = umgclip.load(model, device=device)
        summary = build_index(dataset, loaded, model, out, opened.counter(dataset.samples))
    session.show(summary, out=Path(out) if not str(out).startswith("s3://") else None)


def _absolute(place: Any, manifest: Any) -> Any:  # noqa: ANN401 - types of modules that are imported late
    from umgclip.io.places import Folder

    return (Folder(place.path.resolve()) if isinstance(place, Folder) else place), manifest


def search(
    text: Annotated[str | None, typer.Argument(help="what to look for, such as 'a red mug on a table'")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="look for what this picture shows")] = None,
    box: Annotated[
        str | None, typer.Option("--box", help="part of --image: x0,y0,x1,y1 in pixels of the upright picture")
    ] = None,
    where: Place = INDEX,
    top: Annotated[int, typer.Option("--top", "-n", min=1, max=10_000, help="most results")] = 20,
    what: Annotated[str, typer.Option("--what", help="regions, images or both")] = "regions",
    one_per_image: Annotated[bool, typer.Option("--one-per-image", help="only the best result of each image")] = False,
    dataset: Annotated[str | None, typer.Option("--dataset", help="only this source dataset")] = None,
    split: Annotated[str | None, typer.Option("--split", help="only this part, such as train")] = None,
    label: Annotated[str | None, typer.Option("--label", help="only what has this tag, in any case")] = None,
    min_size: Annotated[
        float | None, typer.Option("--min-size", min=0, help="least shorter side of the box in pixels")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", min=0, max=1, help="least score of the region")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="compare all vectors, also in a large index")] = False,
    model: Annotated[
        str | None, typer.Option("--model", help=f"{_MODEL}; default: the one that the index names")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="with --out: where the dataset lies now, if it was moved")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for a page with pictures; an older one is replaced")
    ] = None,
) -> None:
    """Find regions and images in an index by text or by picture.

    Prints a table of results, best first, with the cosine of each. --out
    writes a page that shows them with their boxes. Make the index first:
    umgclip index DATASET.

    Example: umgclip search "a red mug on a table" --out found

    Example: umgclip search --image photo.jpg --box 40,20,200,180 --label mug
    """
    from umgclip.search.store import require_lancedb

    require_lancedb()
    from umgclip.cli import session
    from umgclip.io.atomic import SEARCH_PAGE, is_kind
    from umgclip.search import RegionIndex, SearchFilter
    from umgclip.search.state import nothing_found

    if (text is None) == (image is None):
        problem = "" if text is None else f", got both, {text!r} and {image}"
        raise InputError(
            'expected a text or --image, as in umgclip search "a red mug" or umgclip search --image mug.jpg' + problem
        )
    if box is not None and image is None:
        raise InputError("--box: expected with --image, got it alone")
    sides = None if box is None else read_box(box)
    if out is not None:
        session.check_output(out, () if image is None else (image,), is_kind(SEARCH_PAGE))
    only = SearchFilter(
        what=what,
        dataset=dataset,
        split=split,
        label=label,
        min_size_px=min_size,
        min_score=min_score,
        one_per_image=one_per_image,
        exact=exact,
    )
    opened = RegionIndex.open(where, model)
    if split is not None and split not in opened.state.parts:
        known = opened.state.parts
        raise InputError(f"--split: expected one of {', '.join(known)}, got {split!r}{did_you_mean(split, known)}")
    vector = opened.vector_of(text, image=image, box_xyxy=sides)
    hits = opened.search(vector=vector, top=top, only=only)
    query = text if text is not None else f"{image}" if box is None else f"{image} [{box}]"
    document = {"query": query, "index": str(where), "results": [hit.as_json() for hit in hits]}
    nothing = nothing_found(opened.state, what)
    if out is None:
        _show(hits, query, document, nothing)
        return
    from umgclip.search.page import write_page
    from umgclip.search.pictures import parts_of

    with session.only_writer(out):
        summary = write_page(out, query, hits, opened.state, parts_of(opened.state, data), what)
    _show(hits, query, {**document, "out": str(out), **dict(summary.rows)}, nothing)
    if not output.current().as_json:
        session.show(summary)


def read_box(text: str) -> tuple[float, ...]:
    """Read `--box`: four numbers separated by commas.

    Raises:
        InputError: it is something else.
    """
    try:
        sides = tuple(float(part) for part in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) != 4:
        raise InputError(f"--box: expected x0,y0,x1,y1, got {text!r}")
    return sides


def _show(hits: list[Hit], query: str, document: dict[str, Any], nothing: str) -> None:
    from umgclip.cli import terminal
    from umgclip.cli.terminal import Sheet

    sheet = Sheet("cosine", "what", "image", "region", "box", title=f"search: {query}")
    for hit in hits:
        sides = "" if hit.kind == "image" else ", ".join(f"{side:.0f}" for side in hit.box_xyxy)
        name = hit.name if len(hit.name) <= _LABEL_CHARS else f"{hit.name[:_LABEL_CHARS]}…"
        sheet.add_row(f"{hit.similarity:.3f}", name or "-", hit.image_name, hit.region_id or "-", sides)
    if hits:
        terminal.show(sheet, least_width=100, document=document)
    else:
        terminal.write(f"{nothing[0].lower()}{nothing[1:]}", document)


def search_tab(dataset: str, where: str | None) -> SearchTab:
    """Return the tab "Search" of a gallery of a dataset.

    Args:
        dataset: path or URL.
        where: of its index; None: the default one, if it is of this dataset.

    Raises:
        InputError: there is no index at the place that was given, or it is of another dataset.
    """
    from umgclip.search.answering import SearchTab

    make = f"No index of this dataset: make one with umgclip index {dataset}, then serve the gallery again."
    try:
        opened = _index_of(dataset, where)
    except UmgclipError as error:
        if where is not None:
            raise
        return SearchTab(None, f"The index cannot be used: {error}")
    return SearchTab(opened, make)


def _index_of(dataset: str, where: str | None) -> RegionIndex | None:
    """Open the index that was given, or the default one if it is of a dataset; None: there is no such index."""
    from umgclip.search import RegionIndex
    from umgclip.search.state import read_state

    place = INDEX if where is None else local_or_s3(where)
    state = read_state(place)
    full = dataset.rstrip("/") if dataset.startswith("s3://") else str(Path(dataset).resolve())
    if state is None or full not in (state.dataset, *state.parts.values()):
        if where is None:
            return None
        problem = "found none" if state is None else f"it is of {state.dataset}"
        raise InputError(f"--index: expected an index of {dataset} at {where}, {problem}")
    return RegionIndex.open(place)
