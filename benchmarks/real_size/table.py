"""The figures of `benchmarks/roles.py`: stored as JSON by device, and rendered as a Markdown table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORED = Path(__file__).parents[1] / "roles.json"
_WIDTH = 98  # characters of a line of Markdown
BEGIN, END = "<!-- roles -->", "<!-- /roles -->"


def store(measured: Mapping[str, Any], path: Path = STORED) -> None:
    """Put the figures of a device beside those of the other one; kinds that were not measured now keep theirs."""
    stored = stored_figures(path)
    for device, figures in measured.items():
        kinds = {one["kind"]: one for one in stored.get(device, {}).get("kinds", [])}
        kinds.update({one["kind"]: one for one in figures["kinds"]})
        stored[device] = {"device": figures["device"], "kinds": [kinds[name] for name in sorted(kinds)]}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def stored_figures(path: Path = STORED) -> dict[str, Any]:
    """Return the stored figures by device, `cpu` or `cuda`."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write(document: Path, path: Path = STORED) -> None:
    """Replace the text between the markers of a document by the table of the stored figures.

    Raises:
        SystemExit: there are no such markers.
    """
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{document}: expected {BEGIN} and {END}, found no such markers; add them")
    document.write_text(f"{before}{BEGIN}\n{rendered(stored_figures(path))}\n{END}{after}", encoding="utf-8")


def rendered(figures: Mapping[str, Any]) -> str:
    """Return the figures of all devices as one table, with what was measured on, and what was skipped."""
    lines = [_measured_on(device, figures.get(device)) for device in ("cpu", "cuda")]
    lines += ["", "| kind and role | model | weights | CPU, core-s/image | GB | GPU, images/s | GB | batch |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    about: dict[str, Mapping[str, Any]] = {}
    skipped: dict[tuple[str, str], list[str]] = {}
    for device, of_device in figures.items():
        for one in of_device["kinds"]:
            if "rows" not in one:
                skipped.setdefault((one["kind"], one["skipped"]), []).append("CPU" if device == "cpu" else "GPU")
                continue
            about[one["kind"]] = one
            for row in one["rows"]:
                rows.setdefault((row["kind"], row["role"]), {})[device] = row
    for (kind, role), by_device in rows.items():
        first = next(other for other, _ in rows if other == kind) and role == next(r for k, r in rows if k == kind)
        name = f"{about[kind]['model']} | {about[kind]['parameters'] / 1e6:,.0f} M" if first else " | "
        lines.append(f"| `{kind}` {role} | {name} | {_cpu(by_device.get('cpu'))} | {_gpu(by_device.get('cuda'))} |")
    if skipped:
        lines += ["", "Not measured:", ""]
        for (kind, reason), devices in skipped.items():
            text = f"* `{kind}` ({' and '.join(devices)}): {reason}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)


def progress(one: Mapping[str, Any]) -> str:
    """Return a line about a kind that has just been measured."""
    if "rows" not in one:
        return f"{one['kind']}: skipped, {one['skipped']}"
    return "\n".join(
        f"{row['kind']} {row['role']}: {row['seconds_per_image']:.3g} s per image, {row['memory_gb']:.1f} GB, "
        f"{row['dtype']}"
        for row in one["rows"]
    )


def _measured_on(device: str, figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "GPU: **not measured**." if device == "cuda" else "CPU: not measured."
    about = figures["device"]
    threads = f", {about['threads']} thread{'s' * (about['threads'] > 1)}" if about["threads"] else ""
    name = f"CPU ({about['name']}{threads})" if device == "cpu" else f"GPU ({about['name']})"
    return f"{name}: torch {about['torch']}, transformers {about['transformers']}, random weights."


def _cpu(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return " | "
    half = "" if row["dtype"] == "float32" else f" ({row['dtype']})"
    return f"{row['seconds_per_image']:.3g}{half} | {row['memory_gb']:.1f}"


def _gpu(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return " | | "
    batch = f"{row['batch']}, halved" if row["halved"] else f"{row['batch']}"
    return f"{row['images_per_s']:.3g} | {row['memory_gb']:.1f} | {batch}"
