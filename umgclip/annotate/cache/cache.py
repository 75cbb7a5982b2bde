"""Where roles are asked: stored answers first, then the model, whose failures stay with the image that caused them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.cache.fallback import guarded
from umgclip.annotate.cache.files import Row, Shelf, shelf_name
from umgclip.annotate.cache.inputs import input_digest
from umgclip.annotate.cache.lazy_model import Model
from umgclip.annotate.cache.role_calls import QUESTIONS, Question
from umgclip.annotate.progress import Tally
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.io.places import Place


@dataclass(frozen=True)
class Shown:
    """One image of the batch in work: its key, and the SHA-256 of its file."""

    key: str
    sha256: str


class Desk:
    """Asks the roles about one shard after the other."""

    def __init__(self, store: Place | None = None, identities: Mapping[str, str] | None = None) -> None:
        """No shard yet.

        Args:
            store: where answers are kept; None: nowhere.
            identities: what decides the answers, by `ROLE.MODEL`.
        """
        self._store, self._identities = store, identities or {}
        self._shard = ("", "")
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._shown: dict[int, Shown] = {}
        self._images: list[Pixels] = []
        self._tally = Tally()

    def open(self, shard_sha256: str, view: str) -> None:
        """Begin a shard; what was not written of the one before is forgotten.

        Args:
            shard_sha256: of its tar.
            view: a word for what is hidden of it.
        """
        self._shard, self._shelves = (shard_sha256, view), {}

    def begin(self, images: Sequence[Pixels], shown: Sequence[Shown]) -> None:
        """Begin a batch."""
        self._images = list(images)
        self._shown = {id(pixels): one for pixels, one in zip(images, shown, strict=True)}

    def write(self) -> None:
        """Store what was answered about the shard."""
        for shelf in self._shelves.values():
            shelf.write()

    def drain(self) -> Tally:
        """What was asked since the last call."""
        tally, self._tally = self._tally, Tally()
        return tally

    def ask(self, role: str, model: Model, *columns: Sequence[Any]) -> list[Any]:
        """Return one answer or `Failure` a row.

        Args:
            role: one of `QUESTIONS`.
            model: who fills it.
            columns: as the role's method takes them.

        Raises:
            NotAnsweredError: no answer is stored for some row, and the model may not be loaded here.
        """
        question = QUESTIONS[role]
        if role == "proposer":  # the first that sees all images, but for those that a policy refused
            self._images = list(columns[0])
        started = time.perf_counter()
        regions: Sequence[list[Proposal]] = columns[-1] if question.has_proposals else [[] for _ in columns[0]]
        shelf = self._shelf(role, model)
        rows = self._rows(question, model, columns) if shelf is not None else []
        found = shelf.find(rows) if shelf is not None else None
        if found is not None:
            answers = [unpack(role, packed, own) for packed, own in zip(found, regions, strict=True)]
        else:
            answers = self._compute(question, model, columns)
            if shelf is not None:
                for row, answer, own in zip(rows, answers, regions, strict=True):
                    if not isinstance(answer, Failure):
                        shelf.put(row, pack(role, answer, own))
            self._tally.asked[role] += len(answers)
            self._tally.seconds[role] += time.perf_counter() - started
            seen = answers if role == "proposer" else regions
            self._tally.regions[role] += sum(len(one) for one in seen if not isinstance(one, Failure))
        return answers

    def _compute(self, question: Question, model: Model, columns: Sequence[Sequence[Any]]) -> list[Any]:
        loaded = model.load(question.role)
        method, count = getattr(loaded, question.method), len(columns[0])

        def compute(rows: range) -> list[Any]:
            part = [column[rows.start : rows.stop] for column in columns]
            if hasattr(loaded, "begin_batch"):
                loaded.begin_batch(self._images if len(rows) == count else part[0])
            return list(method(*part))

        return guarded(compute, range(count))

    def _shelf(self, role: str, model: Model) -> Shelf | None:
        identity = self._identities.get(f"{role}.{model.name}")
        if self._store is None or identity is None:
            return None
        return self._shelves.setdefault(
            (role, model.name), Shelf(self._store, shelf_name(*self._shard, role, model.name, identity))
        )

    def _rows(self, question: Question, model: Model, columns: Sequence[Sequence[Any]]) -> list[Row]:
        """Images of the batch are known by their key; parts of them by their pixels and their place in the batch."""
        rows = []
        first = next(iter(self._shown.values()), Shown("", "")).key
        for number, row in enumerate(zip(*columns, strict=True)):
            shown = self._shown.get(id(row[0])) or Shown(f"{first}/part", _pixels_digest(row[0]))
            key = f"{shown.key}#{number}" if question.role == "filter" else shown.key
            rows.append(Row(key, input_digest(question, model.kind, shown.sha256, row)))
        return rows


def _pixels_digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
