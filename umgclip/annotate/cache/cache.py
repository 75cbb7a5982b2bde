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
from umgclip.annotate.cache.files import AnswerFile, Row, file_name
from umgclip.annotate.cache.inputs import input_digest
from umgclip.annotate.cache.lazy_model import LazyModel
from umgclip.annotate.cache.role_calls import ROLE_CALLS, RoleCall
from umgclip.annotate.progress import Tally
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.io.places import Place


@dataclass(frozen=True)
class ImageId:
    """One image of the batch in work: its key, and the SHA-256 of its file."""

    key: str
    sha256: str


class AnswerCache:
    """Asks the roles about one shard after the other."""

    def __init__(self, store: Place | None = None, identities: Mapping[str, str] | None = None) -> None:
        """No shard yet.

        Args:
            store: where answers are kept; None: nowhere.
            identities: what decides the answers, by `ROLE.MODEL`.
        """
        self._store, self._identities = store, identities or {}
        self._shard = ("", "")
        self._files: dict[tuple[str, str], AnswerFile] = {}
        self._ids: dict[int, ImageId] = {}
        self._images: list[Pixels] = []
        self._tally = Tally()

    def open(self, shard_sha256: str, view: str) -> None:
        """Begin a shard; what was not written of the one before is forgotten.

        Args:
            shard_sha256: of its tar.
            view: a word for what is hidden of it.
        """
        self._shard, self._files = (shard_sha256, view), {}

    def begin(self, images: Sequence[Pixels], ids: Sequence[ImageId]) -> None:
        """Begin a batch."""
        self._images = list(images)
        self._ids = {id(pixels): one for pixels, one in zip(images, ids, strict=True)}

    def write(self) -> None:
        """Store what was answered about the shard."""
        for file in self._files.values():
            file.write()

    def drain(self) -> Tally:
        """What was asked since the last call."""
        tally, self._tally = self._tally, Tally()
        return tally

    def ask(self, role: str, model: LazyModel, *columns: Sequence[Any]) -> list[Any]:
        """Return one answer or `Failure` a row.

        Args:
            role: one of `ROLE_CALLS`.
            model: who fills it.
            columns: as the role's method takes them.

        Raises:
            NotAnsweredError: no answer is stored for some row, and the model may not be loaded here.
        """
        call = ROLE_CALLS[role]
        if role == "proposer":  # the first that sees all images, but for those that a policy refused
            self._images = list(columns[0])
        started = time.perf_counter()
        regions: Sequence[list[Proposal]] = columns[-1] if call.has_proposals else [[] for _ in columns[0]]
        file = self._file(role, model)
        rows = self._rows(call, model, columns) if file is not None else []
        found = file.find(rows) if file is not None else None
        if found is not None:
            answers = [unpack(role, packed, own) for packed, own in zip(found, regions, strict=True)]
        else:
            answers = self._compute(call, model, columns)
            if file is not None:
                for row, answer, own in zip(rows, answers, regions, strict=True):
                    if not isinstance(answer, Failure):
                        file.put(row, pack(role, answer, own))
            self._tally.asked[role] += len(answers)
            self._tally.seconds[role] += time.perf_counter() - started
            seen = answers if role == "proposer" else regions
            self._tally.regions[role] += sum(len(one) for one in seen if not isinstance(one, Failure))
        return answers

    def _compute(self, call: RoleCall, model: LazyModel, columns: Sequence[Sequence[Any]]) -> list[Any]:
        loaded = model.load(call.role)
        method, count = getattr(loaded, call.method), len(columns[0])

        def compute(rows: range) -> list[Any]:
            part = [column[rows.start : rows.stop] for column in columns]
            if hasattr(loaded, "begin_batch"):
                loaded.begin_batch(self._images if len(rows) == count else part[0])
            return list(method(*part))

        return guarded(compute, range(count))

    def _file(self, role: str, model: LazyModel) -> AnswerFile | None:
        identity = self._identities.get(f"{role}.{model.name}")
        if self._store is None or identity is None:
            return None
        return self._files.setdefault(
            (role, model.name), AnswerFile(self._store, file_name(*self._shard, role, model.name, identity))
        )

    def _rows(self, call: RoleCall, model: LazyModel, columns: Sequence[Sequence[Any]]) -> list[Row]:
        """Images of the batch are known by their key; parts of them by their pixels and their place in the batch."""
        rows = []
        first = next(iter(self._ids.values()), ImageId("", "")).key
        for number, row in enumerate(zip(*columns, strict=True)):
            image = self._ids.get(id(row[0])) or ImageId(f"{first}/part", _pixels_digest(row[0]))
            key = f"{image.key}#{number}" if call.role == "filter" else image.key
            rows.append(Row(key, input_digest(call, model.kind, image.sha256, row)))
        return rows


def _pixels_digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
