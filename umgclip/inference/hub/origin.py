"""The origin of a model: base, training, data and results, as its files say; its card is written from it.

An exported folder carries it as `umgclip_origin.json`, so that a model which was loaded from a folder or from the hub
can be passed on with the same card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from umgclip.data.image_sources import data_sources
from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.io.json_file import read_object, read_report
from umgclip.model.clip.layout import BASE_REPORT, TRAIN_REPORT, TRAINED_ON

ORIGIN = "umgclip_origin.json"
PARTS = ("train", "benchmark")
DRAWN = "demo/"  # source datasets whose images were drawn, by `umgclip data demo`
_PATH = re.compile(r"(/|~|\.{1,2}/|[A-Za-z]:[\\/]|(?!https?:)\w+://)\S")


@dataclass(frozen=True)
class ModelOrigin:
    """Everything that is known about the making of a model; all of it may be empty.

    Attributes:
        base: `model`, `pretrained` and `weights_sha256` of the base.
        training: the parameters of the training and what came of it, as in `train.json`.
        data: the data that it was trained on: for each dataset `dataset`, `license` and `part`.
        tuned: metrics of the model by dotted name, shares of 1, from the evaluation's own file.
        untuned: the same of its base.
        protocols: how each benchmark was measured, by field, as the evaluation recorded it.
        in_words: how each benchmark is measured, in words.
    """

    base: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: list[dict[str, Any]] = field(default_factory=list)
    tuned: dict[str, float] = field(default_factory=dict)
    untuned: dict[str, float] = field(default_factory=dict)
    protocols: dict[str, Any] = field(default_factory=dict)
    in_words: dict[str, str] = field(default_factory=dict)

    @property
    def trained_on(self) -> list[str]:
        """The source datasets of the images that the model was trained on, as far as its files name them."""
        named = [*self.base.get(TRAINED_ON, ()), *self.training.get(TRAINED_ON, ())]
        named += [one["dataset"] for one in self.data if one.get("part") == PARTS[0]]
        return sorted({str(name) for name in named})

    @property
    def knows_drawings_alone(self) -> bool:
        """True if base and training saw drawn images alone, so that photographs are strange to the model."""
        known = TRAINED_ON in self.base and (TRAINED_ON in self.training or not self.training)
        return known and all(name.startswith(DRAWN) for name in self.trained_on)


def read_origin(folder: Path, adapter: Path | None) -> ModelOrigin:
    """Read what the files beside a model say.

    Args:
        folder: of the base, or of an export.
        adapter: of an adapter, beside a `train.json`.

    Raises:
        DataError: a file is not as expected; names it.
    """
    path = folder / ORIGIN
    if path.is_file():
        return _parsed(path)
    origin = ModelOrigin()
    if (folder / BASE_REPORT).is_file():
        report = read_report(folder / BASE_REPORT)
        origin = replace(origin, base={key: report[key] for key in sorted(report)})
    if adapter is not None and (adapter.parent / TRAIN_REPORT).is_file():
        origin = replace(origin, training=dict(read_report(adapter.parent / TRAIN_REPORT)))
    return origin


def write_origin(folder: Path, origin: ModelOrigin) -> None:
    """Write what is known of a model beside it; of paths on this machine or in a store only the last part."""
    write_json(folder / ORIGIN, without_paths(asdict(origin)))


def without_paths(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value in which paths are cut to their last part: the rest is of the maker's machine."""
    if isinstance(value, Mapping):
        return {name: without_paths(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(one) for one in value]
    if isinstance(value, str) and _PATH.match(value):
        return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return value


def with_data(origin: ModelOrigin, folder: Path) -> ModelOrigin:
    """Add the sources of the datasets `train` and `benchmark` of a folder, where it has them.

    Raises:
        DataError: a dataset is damaged, or the folder has neither.
    """
    parts = [part for part in PARTS if (folder / part).is_dir()] or PARTS[:1]
    sources = {part: data_sources(folder / part) for part in parts}
    return replace(
        origin,
        data=[
            {"part": part, "dataset": dataset, "license": licence, "images": each.images}
            for part, each in sources.items()
            for dataset, licence in sorted(each.counts)
        ],
    )


def with_results(
    origin: ModelOrigin, metrics: Mapping[str, Any], path: Path, in_words: Mapping[str, str] | None = None
) -> ModelOrigin:
    """Add the results of an evaluation, if they are of this model.

    Args:
        origin: what is known of the model.
        metrics: content of the file that `umgclip evaluate` wrote.
        path: what to call it in an error.
        in_words: how each benchmark is measured, as `protocol.json` of the evaluation says.

    Raises:
        DataError: it is another file, or the results are of other weights.
    """
    for part in ("base", "tuned", "protocol"):
        if not isinstance(metrics.get(part), Mapping):
            raise DataError(
                f"{path}: expected an object {part!r} as `umgclip evaluate` writes it, got {sorted(metrics)}"
            )
    measured = metrics["protocol"].get("inputs") or {}
    for field_name in ("adapter_sha256", "base_sha256"):
        actual, wanted = measured.get(field_name), origin.training.get(field_name)
        if actual is None or actual != wanted:
            raise DataError(
                f"{path}: protocol.inputs.{field_name}: expected {wanted} of the model, got {actual}; run evaluate "
                "again, or leave the results out"
            )
    protocols = metrics.get("protocols")
    return replace(
        origin,
        tuned=flat(metrics["tuned"]),
        untuned=flat(metrics["base"]),
        protocols=dict(protocols) if isinstance(protocols, Mapping) else {},
        in_words=dict(in_words or {}),
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten the numbers of nested metrics to dotted names."""
    named: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            named |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            named[f"{prefix}{name}"] = float(value)
    return named


def _parsed(path: Path) -> ModelOrigin:
    content = read_object(path)
    values: dict[str, Any] = {}
    empty = ModelOrigin()
    for one in fields(ModelOrigin):
        value = content.get(one.name, getattr(empty, one.name))
        wanted = list if one.name == "data" else dict
        if not isinstance(value, wanted):
            raise DataError(f"{path}: {one.name}: expected a {wanted.__name__}, got {str(value)[:80]!r}")
        values[one.name] = value
    for name in ("tuned", "untuned"):
        if bad := [key for key, value in values[name].items() if not isinstance(value, int | float)]:
            raise DataError(f"{path}: {name}.{bad[0]}: expected a number, got {str(values[name][bad[0]])[:80]!r}")
    return ModelOrigin(**values)
