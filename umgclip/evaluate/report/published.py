"""Published marks beside ours: in one table only where both were measured by the same protocol.

The marks are in `published.yaml`. A mark is comparable if our protocol block has every field that its protocol names,
with the same value; otherwise the first field that differs says why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from umgclip.errors import DataError

_FILE = "published.yaml"


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedProtocol(_Closed):
    """The way in which a mark was measured; see the head of `published.yaml`.

    Without `same`, nothing here measures it.
    """

    words: str
    benchmark: str
    metric: str | None = None
    same: dict[str, str | int] = Field(default={})
    note: str | None = None


class PublishedModel(_Closed):
    """The marks of a model in one source, in percent, by protocol."""

    model: str
    source: str
    values: dict[str, float]


class Marks(_Closed):
    """All protocols and marks in `published.yaml`."""

    protocols: dict[str, PublishedProtocol]
    marks: list[PublishedModel]


class Mark(NamedTuple):
    """One published value, a share of 1."""

    model: str
    value: float
    source: str


class Standing(NamedTuple):
    """The marks of one protocol, and ours if it is the same; else `differs` says in what.

    Attributes:
        name: key of the protocol in `published.yaml`.
        protocol: the protocol.
        marks: the published values, best first.
        ours: values of `base` and `tuned` by the same protocol; empty if it differs.
        differs: what makes ours incomparable; None if nothing does.
    """

    name: str
    protocol: PublishedProtocol
    marks: tuple[Mark, ...]
    ours: Mapping[str, float]
    differs: str | None

    def as_json(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        rest = {"ours": dict(self.ours)} if self.differs is None else {"differs": self.differs}
        words = {"protocol": self.name, "words": self.protocol.words, "note": self.protocol.note}
        metric = f"{self.protocol.benchmark}.{self.protocol.metric}" if self.protocol.metric else None
        return {**words, "metric": metric, "published": [mark._asdict() for mark in self.marks], **rest}


def read_marks() -> Marks:
    """Read the marks that come with the package.

    Raises:
        DataError: the file is damaged; names the first field that is wrong.
    """
    content = YAML(typ="safe").load(files("umgclip.evaluate.report").joinpath(_FILE).read_text(encoding="utf-8"))
    try:
        marks = Marks.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{_FILE}: {field}: {first['msg']}; install umgclip again") from error
    for one in marks.marks:
        if unknown := set(one.values) - set(marks.protocols):
            known = ", ".join(marks.protocols)
            raise DataError(f"{_FILE}: {one.model}: expected a protocol among {known}, got {min(unknown)}")
    return marks


def standings(metrics: Mapping[str, Any], marks: Marks) -> Iterator[Standing]:
    """Yield the marks of each protocol with ours, if an evaluation measured the same.

    Args:
        metrics: content of the metrics file of `evaluate`.
        marks: the published marks.
    """
    for name, protocol in marks.protocols.items():
        values = [Mark(m.model, m.values[name] / 100, m.source) for m in marks.marks if name in m.values]
        differs = _difference(metrics, protocol)
        models = () if differs else ("base", "tuned")
        ours = {model: metrics[model][protocol.benchmark][protocol.metric] for model in models}
        yield Standing(name, protocol, _best_first(values), ours, differs)


def _best_first(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    return tuple(sorted(marks, key=lambda mark: -mark.value))


def _difference(metrics: Mapping[str, Any], protocol: PublishedProtocol) -> str | None:
    """Return the first difference between ours and a published protocol; None if they are the same."""
    if not protocol.same or protocol.metric is None:
        return "nothing here is known to measure the same"
    benchmark, block = protocol.benchmark, metrics.get("protocols", {}).get(protocol.benchmark)
    if block is None:
        return f"{benchmark}: not measured"
    for field, value in protocol.same.items():
        if block.get(field) != value:
            return f"{benchmark}.{field}: {value} there, {block.get(field, 'not given')} here"
    if any(protocol.metric not in metrics[model].get(benchmark, {}) for model in ("base", "tuned")):
        return f"{benchmark}.{protocol.metric}: not measured"
    return None
