"""The answer cache: stored answers first, then the model, whose failures affect only the image that caused them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.cache.fallback import guarded
from umgclip.annotate.cache.files import AnswerFile, AnswerKey, file_name
from umgclip.annotate.cache.inputs import input_digest
from umgclip.annotate.cache.lazy_model import LazyModel
from umgclip.annotate.cache.role_calls import ROLE_CALLS, RoleCall
from umgclip.annotate.progress import Tally
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.io.places import Place


@dataclass(frozen=True)
class ImageId:
    """The identity of one image of the current batch: its key, and the SHA-256 of its file."""

    key: str
    sha256: str


class AnswerCache:
    """Answers of the roles for one shard after the other, from files where they are stored.

    Call `open` once for each shard, `begin` once for each batch, and `write` at the end of the shard.
    """

    def __init__(self, store: Place | None = None, identities: Mapping[str, str] | None = None) -> None:
        """Prepare a cache without a shard.

        Args:
            store: where answers are stored; None: nowhere, so that models are called each time.
            identities: digests of what decides the answers, by `ROLE.MODEL`.
        """
        self._store, self._identities = store, identities or {}
        self._shard = ("", "")
        self._files: dict[tuple[str, str], AnswerFile] = {}
        self._ids: dict[int, ImageId] = {}
        self._images: list[Pixels] = []
        self._tally = Tally()

    def open(self, shard_sha256: str, view: str) -> None:
        """Begin a shard; answers of the previous shard that were not written are dropped.

        Args:
            shard_sha256: SHA-256 of its tar.
            view: the job's `view`, a word for what is hidden of the shard.
        """
        self._shard, self._files = (shard_sha256, view), {}

    def begin(self, images: Sequence[Pixels], ids: Sequence[ImageId]) -> None:
        """Begin a batch of these images, whose files the ids identify."""
        self._images = list(images)
        self._ids = {id(pixels): one for pixels, one in zip(images, ids, strict=True)}

    def write(self) -> None:
        """Write the new answers about the shard to the store."""
        for file in self._files.values():
            file.write()

    def drain(self) -> Tally:
        """Return the counts of rows that models answered since the last call, and reset them."""
        tally, self._tally = self._tally, Tally()
        return tally

    def ask(self, role: str, model: LazyModel, *columns: Sequence[Any]) -> list[Any]:
        """Answer a role for every row, from the store where the inputs match: one answer or `Failure` a row.

        Args:
            role: one of `ROLE_CALLS`.
            model: the model that fills the role.
            columns: the arguments of the role's method.

        Raises:
            NotAnsweredError: no answer is stored for some row, and the model may not be loaded here.
        """
        call = ROLE_CALLS[role]
        if role == "proposer":  # the first role that sees all images of the batch that no policy refused
            self._images = list(columns[0])
        started = time.perf_counter()
        regions: Sequence[list[Proposal]] = columns[-1] if call.has_proposals else [[] for _ in columns[0]]
        file = self._file(role, model)
        rows = self._rows(call, model, columns) if file is not None else []
        stored = file.find(rows) if file is not None else None
        if stored is not None:
            answers = [unpack(role, packed, proposals) for packed, proposals in zip(stored, regions, strict=True)]
        else:
            answers = self._compute(call, model, columns)
            if file is not None:
                for row, answer, proposals in zip(rows, answers, regions, strict=True):
                    if not isinstance(answer, Failure):
                        file.put(row, pack(role, answer, proposals))
            self._tally.asked[role] += len(answers)
            self._tally.seconds[role] += time.perf_counter() - started
            counted = answers if role == "proposer" else regions
            self._tally.regions[role] += sum(len(one) for one in counted if not isinstance(one, Failure))
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

    def _rows(self, call: RoleCall, model: LazyModel, columns: Sequence[Sequence[Any]]) -> list[AnswerKey]:
        """Return the key and the input digest of every row.

        Images of the batch are identified by their key, crops by the digest of their pixels and their row.
        """
        rows = []
        first = next(iter(self._ids.values()), ImageId("", "")).key
        for number, row in enumerate(zip(*columns, strict=True)):
            image = self._ids.get(id(row[0])) or ImageId(f"{first}/part", _pixels_digest(row[0]))
            key = f"{image.key}#{number}" if call.role == "filter" else image.key
            rows.append(AnswerKey(key, input_digest(call, model.kind, image.sha256, row)))
        return rows


def _pixels_digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
