"""`RegionIndex`: searches the images and regions of a dataset by text, by picture or by vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from umgclip.errors import DataError, InputError, StorageError
from umgclip.io.pictures import Picture
from umgclip.search import store
from umgclip.search.filters import SearchFilter
from umgclip.search.hits import Hit
from umgclip.search.rows import SHOWN
from umgclip.search.state import IndexState, complete_state, require_same_model
from umgclip.search.store import ROWS, VECTOR
from umgclip.search.vector_index import PROBES, REFINE

if TYPE_CHECKING:
    from umgclip.inference.model import Model

    Vector = Sequence[float] | np.ndarray
    Box = Sequence[float]
else:  # these are checked here, with messages of their own
    Model = Vector = Box = Any

MOST_RESULTS = 10_000
_WIDER = 4  # times as many rows are read where only the best of each image is wanted
_EVERYTHING = SearchFilter()
Place = str | PathLike[str]
_FLOAT_TYPES = "fiu"
_SPARE = 16  # rows beyond those asked for: LanceDB compares in float16, so its order is not exact in the fifth decimal


class RegionIndex:
    """An index of a dataset that `umgclip index` made.

    It can be used from several threads. A run of `umgclip index` at the same time does not disturb it: results are
    those of the last run that came to its end.

    Example:
        >>> from umgclip.search import RegionIndex, SearchFilter
        >>> index = RegionIndex.open("artifacts/index")
        >>> hits = index.search("a red mug on a table", top=5)
        >>> hits[0].key, hits[0].region_id, hits[0].box_xyxy
        ('000000', '0', (12.0, 8.0, 60.0, 52.0))
        >>> hits = index.search(image="crop.jpg", only=SearchFilter(label="mug", one_per_image=True))

    Attributes:
        where: path or URL of the index.
        state: its dataset, model and counts.
    """

    def __init__(self, where: str | Path, state: IndexState, table: Any, model: Model | str | None = None) -> None:  # noqa: ANN401
        """Wrap an open table; `RegionIndex.open` opens one."""
        self.where, self.state, self._table = where, state, table
        self._model, self._lock = model, Lock()
        self._checked: Model | None = None

    @classmethod
    def open(cls, where: Place, model: Model | Place | None = None) -> RegionIndex:
        """Open an index in a folder or under an `s3://` prefix.

        Args:
            where: path or URL.
            model: a loaded model, or what `umgclip.load` takes; None: the one that the index was made with, by the
                name that it had then. It is loaded for the first search by text or picture.

        Raises:
            InputError: there is no index, or its first run has not come to its end.
            DataError: the index is damaged.
            StorageError: S3 does not answer.
        """
        place = str(where) if str(where).startswith("s3://") else Path(where)
        store.require_lancedb()
        state = complete_state(place)
        table = store.open_table(place, ROWS)
        with store.explained(place):
            table.checkout(state.table_version)
        given = str(model) if isinstance(model, PathLike) else model
        return cls(place, state, table, given)

    def __len__(self) -> int:
        """Return the number of images and regions."""
        with store.explained(self.where):
            return int(self._table.count_rows())

    def __repr__(self) -> str:
        return f"RegionIndex({str(self.where)!r}, of {self.state.dataset!r}, {len(self):,} rows)"

    def search(
        self,
        text: str | None = None,
        *,
        image: Picture | None = None,
        vector: Vector | None = None,
        top: int = 20,
        only: SearchFilter = _EVERYTHING,
    ) -> list[Hit]:
        """Return the regions or images that are most similar to a text, a picture or a vector, best first.

        Args:
            text: what to look for, embedded as it is, without a prompt.
            image: a picture of it, whole; `vector_of` embeds a part of one.
            vector: an embedding by the model of the index, shape (d,).
            top: most results.
            only: conditions on results.

        Returns:
            At most `top` results. They are exact up to 100,000 rows or with `only.exact`; beyond that a vector index
            is used, which may miss a few.

        Raises:
            InputError: not exactly one of text, image and vector was given; or see `vector_of`.
            DataError: the index is damaged.
            StorageError: S3 does not answer.
        """
        if sum(value is not None for value in (text, image, vector)) != 1:
            raise InputError("search: expected one of text, image and vector")
        if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= MOST_RESULTS:
            raise InputError(f"top: expected a whole number from 1 to {MOST_RESULTS}, got {top!r}")
        query = self.vector_of(text, image=image) if vector is None else self._checked_vector(vector)
        if not only.one_per_image:
            return self._nearest(query, top, only)
        limit, total = top * _WIDER, len(self)
        while True:
            hits = self._nearest(query, limit, only)
            best = {hit.image: hit for hit in reversed(hits)}
            if len(best) >= top or len(hits) < limit or limit >= total:
                return sorted(best.values(), key=lambda hit: -hit.similarity)[:top]
            limit *= _WIDER

    def vector_of(
        self, text: str | None = None, *, image: Picture | None = None, box_xyxy: Box | None = None
    ) -> Float32[np.ndarray, " d"]:
        """Embed a text, a picture, or a part of a picture, by the model of the index.

        Args:
            text: embedded as it is.
            image: any picture that `umgclip.load(...).embed_images` takes.
            box_xyxy: `x0, y0, x1, y1` in pixels of the picture; None: all of it.

        Raises:
            InputError: the text is empty, the picture is none, the box is outside, or the model is not the index's.
            DataError: the picture cannot be read.
        """
        if text is not None:
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"text: expected words, got {str(text)[:80]!r}")
            return self.model.embed_texts(text)[0]
        if image is None:
            raise InputError("expected a text or an image")
        if box_xyxy is None:
            return self.model.embed_images(image)[0]
        return self.model.embed_boxes(image, [list(box_xyxy)])[0]

    def similar_to(self, hit: Hit, top: int = 20, only: SearchFilter = _EVERYTHING) -> list[Hit]:
        """Return what is most similar to a region or image of the index, by its stored vector; it comes first itself.

        Raises:
            InputError: the index has no such region or image.
        """
        return self.search(vector=self._stored(hit), top=top, only=only)

    @property
    def model(self) -> Model:
        """The model of the index, loaded when it is first used.

        Raises:
            InputError: there is no such model, or it is not the one that made the index.
        """
        with self._lock:
            if self._checked is None:
                self._checked = self._load()
            return self._checked

    def _load(self) -> Model:
        from umgclip.api import load
        from umgclip.search.probes import probe

        mark, given = self.state.model, self._model
        name = given if isinstance(given, str) else mark.source if given is None else repr(given)
        if given is None:
            try:
                model = load(mark.source)
            except InputError as error:
                raise InputError(f"--model: {self.where} was made with {mark.source}: {error}") from error
        else:
            model = load(given) if isinstance(given, str) else given
        require_same_model(self.where, mark, probe(model), name)
        return model

    def _nearest(self, query: Float32[np.ndarray, " d"], limit: int, only: SearchFilter) -> list[Hit]:
        try:
            return self._read_nearest(query, limit, only)
        except (DataError, StorageError):
            if not self._reopened():
                raise
            return self._read_nearest(query, limit, only)

    def _reopened(self) -> bool:
        """Open the index again if a later run has taken the place of this version."""
        state = complete_state(self.where)
        if state.table_version == self.state.table_version or state.model != self.state.model:
            return False
        table = store.open_table(self.where, ROWS)
        with store.explained(self.where):
            table.checkout(state.table_version)
        self.state, self._table = state, table
        return True

    def _read_nearest(self, query: Float32[np.ndarray, " d"], limit: int, only: SearchFilter) -> list[Hit]:
        with store.explained(self.where):
            asked = self._table.search(query, vector_column_name=VECTOR).distance_type("cosine")
            asked = asked.limit(limit + max(_SPARE, limit // 10))
            if (condition := only.sql()) is not None:
                asked = asked.where(condition, prefilter=True)
            if only.exact or not self.state.vectors_trained:
                asked = asked.bypass_vector_index()
            else:
                asked = asked.nprobes(PROBES).refine_factor(REFINE)
            table = asked.select([*SHOWN, VECTOR, "_distance"]).to_arrow()
        return _ordered(table, query)[:limit]

    def _stored(self, hit: Hit) -> Float32[np.ndarray, " d"]:
        region = "region_id IS NULL" if hit.region_id is None else f"region_id = {store.quoted(hit.region_id)}"
        parts = [f"{name} = {store.quoted(getattr(hit, name))}" for name in ("key", "split", "shard")]
        condition = " AND ".join([*parts, f"position = {int(hit.position)}", region])
        with store.explained(self.where):
            rows = list(store.scan(self._table, [VECTOR], condition))
        if not rows:
            raise InputError(f"expected a region or image of {self.where}, got {hit.key!r} {hit.region_id!r}")
        return np.asarray(rows[0][VECTOR], np.float32)

    def _checked_vector(self, vector: Vector) -> Float32[np.ndarray, " d"]:
        array = np.asarray(vector)
        if array.dtype.kind not in _FLOAT_TYPES or array.shape != (self.state.model.embed_dim,):
            raise InputError(
                f"vector: expected {self.state.model.embed_dim} numbers, got an array of {array.dtype} with the shape "
                f"{array.shape}"
            )
        array = array.astype(np.float32)
        length = float(np.linalg.norm(array))
        if not math.isfinite(length) or length == 0:
            raise InputError("vector: expected finite numbers that are not all 0")
        return array / np.float32(length)


def _ordered(table: Any, query: Float32[np.ndarray, " d"]) -> list[Hit]:  # noqa: ANN401 - pyarrow belongs to the extra
    """Compute the cosines of rows with a query again in float32, and return the rows by them."""
    column = table.column(VECTOR).combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), len(query)).astype(np.float32)
    cosines = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    rows = table.select(list(SHOWN)).to_pylist()
    return [Hit.of(rows[index], float(cosines[index])) for index in np.argsort(-cosines, kind="stable")]
