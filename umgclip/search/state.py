"""The file `index.json` of an index: its dataset and model, and the version of the table that is complete."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, ValidationError

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import write_bytes
from umgclip.io.places import Folder, place_at, placed

STATE = "index.json"
STATE_VERSION = 1
_MOST_BYTES = 16 << 20
_LEAST_COSINE = 0.9999  # of probes of one model on two machines; another training moves them farther


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelMark(_Closed):
    """The identity of the model of an index: what it makes of a few probes.

    Attributes:
        source: what `--model` named.
        about: the model and its settings in words.
        embed_dim: numbers in a vector.
        probes: embeddings of probe texts, a probe image and a region of it, as base64 of float32.
    """

    source: str
    about: str
    embed_dim: int
    probes: str

    @classmethod
    def of(cls, source: str, about: str, rows: Float[np.ndarray, "probes d"]) -> ModelMark:
        """Describe a model by its embeddings of the probes."""
        text = base64.b64encode(rows.astype("<f4").tobytes()).decode("ascii")
        return cls(source=source, about=about, embed_dim=rows.shape[1], probes=text)

    def is_of(self, rows: Float[np.ndarray, "probes d"]) -> bool:
        """Return whether a model that embeds the probes so is the same one, but for rounding."""
        if rows.shape[1] != self.embed_dim:
            return False
        known = np.frombuffer(base64.b64decode(self.probes), "<f4").reshape(-1, self.embed_dim)
        return known.shape == rows.shape and bool(((known * rows).sum(axis=1) >= _LEAST_COSINE).all())


class IndexCounts(_Closed):
    """Numbers of an index that is complete."""

    images: int
    regions: int
    failed_images: int
    failed_regions: int


class IndexState(_Closed):
    """The content of the file `index.json`.

    Attributes:
        version: of this file's format.
        dataset: path or URL that was indexed; a local path is absolute.
        parts: each part of the dataset by its name, with its path or URL.
        model: identity of the model.
        proposals: proposer of regions that the records did not have; None: the records' regions alone.
        table_version: version of the table that holds all of the dataset; None: no run came to its end yet.
        counts: numbers of that version.
        vectors_trained: rows that the vector index was trained on; 0: there is none.
    """

    version: int = STATE_VERSION
    dataset: str
    parts: dict[str, str]
    model: ModelMark
    proposals: str | None = None
    table_version: int | None = None
    counts: IndexCounts | None = None
    vectors_trained: int = 0


def read_state(where: str | Path) -> IndexState | None:
    """Read the file of an index; None: there is no index.

    Raises:
        DataError: it is damaged, or of another version of this package.
        InputError, StorageError: S3 refuses or does not answer.
    """
    place = place_at(where)
    if not place.exists(STATE):
        return None
    try:
        return IndexState.model_validate_json(place.read(STATE, _MOST_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or STATE
        raise DataError(
            f"{where}/{STATE}: {field}: {first['msg']}; delete {where} and run `umgclip index` again"
        ) from error


def write_state(where: str | Path, state: IndexState) -> None:
    """Write the file, whole or not at all."""
    data = (state.model_dump_json(indent=2) + "\n").encode()
    place = place_at(where)
    if isinstance(place, Folder):
        write_bytes(place.path / STATE, data)
        return
    with placed(place, STATE) as path:
        path.write_bytes(data)


def complete_state(where: str | Path) -> IndexState:
    """Read the file of an index that a search can use.

    Raises:
        InputError: there is no index, or its first run has not come to its end; says what to run.
    """
    state = read_state(where)
    if state is None:
        raise InputError(
            f"--index: expected an index, found none at {where}; make one: umgclip index DATASET --out {where}"
        )
    if state.table_version is None:
        raise InputError(
            f"--index: the run that makes {where} has not come to its end; run it again, it continues: "
            f"umgclip index {state.dataset} --out {where}"
        )
    return state


def nothing_found(state: IndexState, what: str) -> str:
    """Return why a search found nothing, as a sentence without its full stop.

    Args:
        state: of the index that was searched.
        what: `regions`, `images` or `both`.
    """
    if what == "regions" and state.counts is not None and not state.counts.regions:
        return (
            "The index holds no regions: search its images with --what images, or annotate the dataset (umgclip "
            "annotate) and index that"
        )
    return "Nothing in the index fulfils the conditions"


def require_same_model(where: str | Path, mark: ModelMark, rows: Float[np.ndarray, "probes d"], name: str) -> None:
    """Refuse a model that is not the one of an index.

    Raises:
        InputError: names both models, and what to do.
    """
    if not mark.is_of(rows):
        raise InputError(
            f"--model: {where} was made with another model, {mark.source} ({mark.about}); got {name}. Vectors of two "
            f"models cannot be compared: use --model {mark.source}, or make an index of this one with another --out"
        )
