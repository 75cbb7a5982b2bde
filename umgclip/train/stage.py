"""Stage `train`: tune the base on validated annotations; writes the adapter and what it belongs to."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from umgclip import __version__
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import fresh_folder, sha256_file, sha256_json, write_bytes, write_json
from umgclip.manifest import read_manifest
from umgclip.model import files
from umgclip.model.adapters import ADAPTER, adapt
from umgclip.model.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.summary import Summary
from umgclip.train.checkpoint import Checkpoints
from umgclip.train.loop import Dropped, Feed, train


@dataclass(frozen=True)
class TrainInputs:
    """Paths read: annotated shards, validation's quarantine, the base.

    Written beside the output: `work` holds the checkpoint, `metrics` the last losses, `plots` the curves.
    """

    annotations: Path
    quarantine: Path
    base: Path
    work: Path
    metrics: Path
    plots: Path


def total_steps(params: TrainParams) -> int:
    """Steps that `run` will report, for a progress bar."""
    return params.steps


def run(
    params: TrainParams,
    inputs: TrainInputs,
    out: Path,
    *,
    report: Callable[[int, dict[str, float]], None] = lambda _step, _values: None,
) -> Summary:
    """Tune; a run that was killed goes on from its last checkpoint and ends with the same weights.

    Raises:
        DataError: inputs are missing or damaged.
        UmgclipError: the loss is no longer a number.
        OutputError: `out` cannot be written.
    """
    manifest = read_manifest(inputs.annotations)
    dropped = read_dropped(inputs.quarantine)
    base_sha256 = sha256_file(inputs.base / files.WEIGHTS) if (inputs.base / files.WEIGHTS).is_file() else ""
    clip, _ = files.load(inputs.base)
    torch.manual_seed(params.seed)
    adapted = adapt(clip, params)
    tower = DenseClip(adapted.clip)
    belongs_to = {
        "params": sha256_json(params.model_dump(exclude={"checkpoint_every"})),
        "data": manifest.digest(),
        "quarantine": sha256_file(inputs.quarantine),
        "base": base_sha256,
        "code": __version__,
    }
    curves = _Curves(inputs.work / "curves.csv", belongs_to)
    checkpoints = Checkpoints(inputs.work / "checkpoint.pt", belongs_to)

    def both(step: int, values: dict[str, float]) -> None:
        curves.add(step, values)
        report(step, values)

    last = train(tower, Feed(params, inputs.annotations, dropped, tower), params, checkpoints, both)
    with fresh_folder(out) as folder:
        adapter_sha256 = adapted.save(folder / ADAPTER)
        write_json(
            folder / "train.json",
            {
                "base_sha256": base_sha256,
                "adapter_sha256": adapter_sha256,
                "data_digest": manifest.digest(),
                "params": params.model_dump(),
                "steps": params.steps,
            },
        )
    write_bytes(inputs.plots, curves.text().encode())
    write_json(inputs.metrics, {name: round(value, 6) for name, value in last.items()})
    checkpoints.remove()
    curves.remove()
    return Summary("train", _rows(params, last, manifest.samples, dropped, adapted.counts()))


def _rows(
    params: TrainParams, last: dict[str, float], samples: int, dropped: Dropped, size: tuple[int, int]
) -> tuple[tuple[str, str], ...]:
    return (
        ("steps, batch", f"{params.steps}, {params.batch}"),
        ("images (left out)", f"{samples} ({len(dropped.images)})"),
        ("parameters trained", f"{size[0]:,} of {size[1]:,}"),
        *((f"last {name}", f"{value:.3f}") for name, value in last.items()),
    )


def read_dropped(path: Path) -> Dropped:
    """Validation's quarantine as sets; a row without region stands for its whole image.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected validation's quarantine, found none; `umgclip validate` writes it")
    table = tables.read_columns(path, ["key", "region_id"]).to_pylist()
    images = frozenset(row["key"] for row in table if row["key"] is not None and row["region_id"] is None)
    regions: dict[str, set[str]] = defaultdict(set)
    for row in table:
        if row["key"] is not None and row["region_id"] is not None:
            regions[row["key"]].add(row["region_id"])
    return Dropped(images, {key: frozenset(ids) for key, ids in regions.items()})


class _Curves:
    """Losses per step on disk as they come, so that a resumed run has the curve of all its steps."""

    def __init__(self, path: Path, belongs_to: dict[str, str]) -> None:
        self._path = path
        self._rows: dict[int, dict[str, float]] = {}
        header = f"# {sha256_json(belongs_to)}"
        if path.is_file() and path.read_text(encoding="utf-8").startswith(header):
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            for row in csv.DictReader(line for line in lines if line.count(",") == lines[0].count(",")):
                self._rows[int(row["step"])] = {k: float(v) for k, v in row.items() if k != "step"}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._file.write(header + "\n")
        self._columns: list[str] = []
        kept, self._rows = self._rows, {}
        for step, values in kept.items():
            self.add(step, values)

    def add(self, step: int, values: dict[str, float]) -> None:
        if not self._columns:
            self._columns = ["step", *(name for name in values if name != "images_per_s")]
            self._file.write(",".join(self._columns) + "\n")
        self._rows[step] = values
        self._file.write(",".join([str(step), *(f"{values[c]:.6g}" for c in self._columns[1:])]) + "\n")
        self._file.flush()

    def text(self) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for step in sorted(self._rows):
            rounded = {name: f"{value:.6g}" for name, value in self._rows[step].items()}
            writer.writerow({"step": step, **rounded})
        return buffer.getvalue()

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
