"""Draw `data-flow.svg` and `layers.svg` from `dvc.yaml` and from the import contracts of `pyproject.toml`.

Run `python docs/figures/architecture.py` after a change of either file. A test compares the committed pictures with
what this command writes.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

INK, GREY, LINE = "#1f2933", "#52606d", "#9aa5b1"
STAGE_FILL, STAGE_LINE = "#e3f2fd", "#1565c0"
FILE_FILL, FILE_LINE = "#ffffff", "#9aa5b1"
GIT_FILL, GIT_LINE = "#f1f8e9", "#558b2f"
TOOL = "#b23c17"
MARGIN = 24
ROW = 36  # height of a layer
COLUMNS = 3  # of the smaller stacks


@dataclass(frozen=True)
class Node:
    """One column of the data flow: the raw data or a stage.

    Attributes:
        name: of the stage, or of the folder that a `.dvc` file tracks.
        text: what it does, from `desc`.
        deps: paths it reads, code included.
        outs: paths it writes into DVC's cache.
        kept: paths it writes that git keeps, such as metrics.
        always: whether it runs every time.
    """

    name: str
    text: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    kept: tuple[str, ...]
    always: bool = False


class Canvas:
    """An SVG picture that grows by shapes; coordinates are pixels from the top left."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size = width, height
        self._title = title
        self._shapes: list[str] = []

    def box(self, corner: tuple[float, float], size: tuple[float, float], fill: str, line: str, dash: bool) -> None:
        """Add a rounded rectangle."""
        dashed = ' stroke-dasharray="5 3"' if dash else ""
        self._shapes.append(
            f'<rect x="{corner[0]:g}" y="{corner[1]:g}" width="{size[0]:g}" height="{size[1]:g}" rx="5" '
            f'fill="{fill}" stroke="{line}"{dashed}/>'
        )

    def text(self, at: tuple[float, float], words: str, style: str = "", anchor: str = "middle") -> None:
        """Add one line of text whose baseline is at `at`; `style` names classes of the sheet below."""
        self._shapes.append(
            f'<text x="{at[0]:g}" y="{at[1]:g}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """Add a line through the points with an arrowhead at the last."""
        path = " L ".join(f"{x:g} {y:g}" for x, y in points)
        self._shapes.append(f'<path d="M {path}" fill="none" stroke="{LINE}" marker-end="url(#head)"/>')

    def line(self, *points: tuple[float, float]) -> None:
        """Add a line through the points."""
        path = " L ".join(f"{x:g} {y:g}" for x, y in points)
        self._shapes.append(f'<path d="M {path}" fill="none" stroke="{LINE}"/>')

    def svg(self) -> str:
        """Return the file's text."""
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="11" fill="{INK}">\n'
            f"<title>{escape(self._title)}</title>\n"
            f"<style>.name {{ font-size: 14px; font-weight: bold }} .small {{ font-size: 10px; fill: {GREY} }}"
            f" .tool {{ font-size: 9px; fill: {TOOL} }} .tiny {{ font-size: 9.5px }}</style>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="{LINE}"/></marker></defs>\n'
            f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>\n'
        )
        return head + "\n".join(self._shapes) + "\n</svg>\n"


def read_nodes(root: Path) -> list[Node]:
    """Return the raw data and the stages in the order of `dvc.yaml`."""
    yaml = YAML(typ="safe")
    tracked = [
        Node(Path(out["path"]).name, f"Raw images, tracked by {pointer.name}", (), (out["path"],), ())
        for pointer in sorted(root.glob("[!.]*.dvc"))
        for out in yaml.load(pointer)["outs"]
    ]
    stages = yaml.load(root / "dvc.yaml")["stages"]
    return tracked + [_stage(name, stage) for name, stage in stages.items()]


def _stage(name: str, stage: Mapping[str, Any]) -> Node:
    outs, kept = [], []
    for entry in (*stage.get("outs", ()), *stage.get("metrics", ())):
        path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        (kept if options.get("cache") is False else outs).append(path)
    text = stage.get("desc", "").replace("`", "")
    return Node(name, text, tuple(stage["deps"]), tuple(outs), tuple(kept), bool(stage.get("always_changed")))


def passed(giver: Node, taker: Node) -> list[str]:
    """Return the paths that one node reads of what another wrote."""
    given = (*giver.outs, *giver.kept)
    return [dep for dep in taker.deps if any(f"{dep}/".startswith(f"{out}/") for out in given)]


def data_flow(nodes: Sequence[Node]) -> str:
    """Draw an N-squared chart: nodes on the diagonal, what node i hands to node j in row i of column j."""
    cell, box, step = (164.0, 100.0), (140.0, 76.0), 14.0
    width, height = MARGIN * 2 + cell[0] * (len(nodes) + 1), MARGIN * 2 + cell[1] * len(nodes)
    canvas = Canvas(width, height, "The data flow: what each stage of dvc.yaml reads and writes")

    def middle(row: int, column: int) -> tuple[float, float]:
        return MARGIN + cell[0] * (column + 0.5), MARGIN + cell[1] * (row + 0.5)

    edges = {(i, j): paths for i, one in enumerate(nodes) for j, two in enumerate(nodes) if (paths := passed(one, two))}
    for i, node in enumerate(nodes):
        columns = [j for row, j in edges if row == i] + ([len(nodes)] if node.kept else [])
        if columns:
            canvas.line(middle(i, i), middle(i, max(columns)))
        rows = [row for row, j in edges if j == i]
        if rows:
            x, y = middle(i, i)
            canvas.arrow(middle(min(rows), i), (x, y - box[1] / 2 - 1))
    for i, node in enumerate(nodes):
        _draw_node(canvas, middle(i, i), box, node)
        if node.kept:
            _draw_paths(canvas, middle(i, len(nodes)), node.kept, step, (GIT_FILL, GIT_LINE))
    for (i, j), paths in edges.items():
        _draw_paths(canvas, middle(i, j), [path.removeprefix("artifacts/") for path in paths], step)
    legend = (
        "A row is what a stage writes, a column what it reads. Nothing lies below the diagonal: data never flow back.",
        "White: files in DVC's cache (artifacts/...). Green: files that git keeps. Dashed: runs every time.",
    )
    for number, line in enumerate(legend):
        canvas.text((MARGIN, height - MARGIN + 8 - 16 * (len(legend) - 1 - number)), line, "small", "start")
    return canvas.svg()


def _draw_node(canvas: Canvas, centre: tuple[float, float], size: tuple[float, float], node: Node) -> None:
    x, y = centre
    canvas.box((x - size[0] / 2, y - size[1] / 2), size, STAGE_FILL, STAGE_LINE, node.always)
    lines = textwrap.wrap(node.text, 27)
    lines = [*lines[:3], f"{lines[3]} ..."] if len(lines) > 4 else lines
    top = y - 5 * len(lines) - 1
    canvas.text((x, top), node.name, "name")
    for number, line in enumerate(lines):
        canvas.text((x, top + 14 + 11.5 * number), line, "small")


def _draw_paths(
    canvas: Canvas,
    centre: tuple[float, float],
    paths: Sequence[str],
    step: float,
    colours: tuple[str, str] = (FILE_FILL, FILE_LINE),
) -> None:
    x, y = centre
    wide, high = 12 + 5.6 * max(map(len, paths)), 8 + step * len(paths)
    canvas.box((x - wide / 2, y - high / 2), (wide, high), *colours, dash=False)
    for number, path in enumerate(paths):
        canvas.text((x, y - high / 2 + step * (number + 1)), path)


def read_contracts(root: Path) -> list[dict[str, Any]]:
    """Return the contracts of import-linter as `pyproject.toml` holds them."""
    contracts: list[dict[str, Any]] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    return contracts


def tools_of(contracts: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the packages that only some modules may import, by the sub-package that may."""
    found: dict[str, list[str]] = {}
    for contract in contracts:
        for allowed in contract.get("ignore_imports", ()) if contract["type"] == "forbidden" else ():
            module, tool = (part.strip() for part in allowed.split("->"))
            names = found.setdefault(module.split(".")[1], [])
            if tool not in names and tool != "botocore":
                names.append(tool)
    return found


def layers(contracts: Sequence[Mapping[str, Any]]) -> str:
    """Draw every contract of layers as a stack: a module may import what lies below it, never what lies above."""
    first, *others = (contract for contract in contracts if contract["type"] == "layers")
    tools = tools_of(contracts)
    wide, gap = 1120.0, 28.0
    each = (wide - gap * (COLUMNS - 1)) / COLUMNS
    ends = [MARGIN + _height(first)] * COLUMNS  # where the next stack of each column begins
    places = []
    for stack in others:
        column = ends.index(min(ends))
        places.append((MARGIN + (each + gap) * column, ends[column]))
        ends[column] += _height(stack)
    height = max(ends) + MARGIN
    canvas = Canvas(wide + MARGIN * 2, height, "The layers: what may import what, by the import contracts")
    _draw_stack(canvas, (MARGIN, MARGIN), wide, first, tools)
    for place, stack in zip(places, others, strict=True):
        _draw_stack(canvas, place, each, stack, {})
    legend = "A module imports from layers below its own; modules side by side import nothing of each other."
    if any(":" in layer for stack in (first, *others) for layer in stack["layers"]):
        legend += " Dashed: they may."
    note = " In red: packages that only this one may import." if tools else ""
    canvas.text((MARGIN, height - MARGIN + 8), legend + note, "small", "start")
    return canvas.svg()


def _height(stack: Mapping[str, Any]) -> float:
    """Return the height of a stack with its name and the space below it."""
    return ROW * len(stack["layers"]) + 52.0


def _draw_stack(
    canvas: Canvas, corner: tuple[float, float], width: float, stack: Mapping[str, Any], tools: Mapping[str, list[str]]
) -> None:
    left, top = corner
    canvas.text((left, top + 14), stack["containers"][0], "name", "start")
    for number, layer in enumerate(stack["layers"]):
        names = [name.strip(" ()") for name in layer.replace(":", "|").split("|")]
        y, each = top + 24 + ROW * number, width / len(names)
        for column, name in enumerate(names):
            x = left + each * column
            canvas.box((x + 2, y + 2), (each - 4, ROW - 4), STAGE_FILL, STAGE_LINE, dash=":" in layer)
            marks = tools.get(name, [])
            canvas.text((x + each / 2, y + (16 if marks else 22)), name, "tiny" if len(names) > 3 else "")
            if marks:
                canvas.text((x + each / 2, y + 28), ", ".join(marks), "tool")


def draw(root: Path) -> dict[str, str]:
    """Return the text of each picture by its file's name.

    Args:
        root: the folder with `dvc.yaml` and `pyproject.toml`.
    """
    return {"data-flow.svg": data_flow(read_nodes(root)), "layers.svg": layers(read_contracts(root))}


if __name__ == "__main__":
    here = Path(__file__).parent
    for name, text in draw(here.parents[1]).items():
        (here / name).write_text(text, encoding="utf-8")
