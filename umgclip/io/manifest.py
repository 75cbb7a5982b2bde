"""A dataset is a manifest plus shards. The manifest is written last: without it there is no dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file, sha256_json, write_json
from umgclip.io.places import place_at

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
REMOTE = "s3://"
_MOST_BYTES = 1 << 30
_NAMED = 5  # datasets that a message lists


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _absent(value: object) -> bool:
    return value is None


class ShardInfo(_Closed):
    """One tar of a dataset, as its manifest describes it.

    Attributes:
        path: below the manifest's folder, or an s3:// URL.
        sha256: of the file.
        samples: how many it holds.
        bytes: its size.
        dataset: name of the import that its samples came with, by which a mixture weighs them; None: no name.
    """

    path: str
    sha256: str
    samples: int = Field(ge=0)
    bytes: int = Field(ge=0)
    dataset: str | None = Field(default=None, exclude_if=_absent)

    @field_validator("path")
    @classmethod
    def _stays_below(cls, path: str) -> str:
        inner = path.removeprefix(REMOTE)
        parts = inner.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(not c.isprintable() or c == "\\" for c in path):
            raise ValueError(f"expected a path below the manifest, or {REMOTE}BUCKET/KEY")
        return path


class MadeBy(_Closed):
    """The origin of a dataset: stage, hash of its params, code version, hash of the manifest that it read.

    A stage whose dataset another one is made from leaves params and code out, and writes them beside the dataset:
    what left no trace in the samples is no reason to do the other one again.
    """

    stage: str
    params_sha256: str | None = Field(default=None, exclude_if=_absent)
    code_version: str | None = Field(default=None, exclude_if=_absent)
    input_sha256: str | None = None


class ClassList(_Closed):
    """Labels of a benchmark's classes, and what its layout says about them.

    Attributes:
        things: labels, each once.
        stuff: labels, each once.
        held_out: the labels that training never sees on a region or a pixel.
        names: what a class is called in a prompt, best name first, where that is not its label alone. Two classes may
            share a name ("missile"); their labels differ.
        templates: prompts that belong to the benchmark, `{}` for the name.
        groups: named sets of labels that are measured apart, such as LVIS's `rare`.
    """

    things: list[str]
    stuff: list[str]
    held_out: list[str]
    names: dict[str, list[str]] | None = Field(default=None, exclude_if=_absent)
    templates: list[str] | None = Field(default=None, exclude_if=_absent)
    groups: dict[str, list[str]] | None = Field(default=None, exclude_if=_absent)


class Manifest(_Closed):
    """The table of contents of a dataset."""

    version: int = MANIFEST_VERSION
    made_by: MadeBy
    shards: list[ShardInfo]
    classes: ClassList | None = None
    notes: dict[str, Any] = {}

    @field_validator("version")
    @classmethod
    def _is_known(cls, version: int) -> int:
        if version != MANIFEST_VERSION:
            raise ValueError(f"expected {MANIFEST_VERSION}")
        return version

    @property
    def samples(self) -> int:
        """The number of samples in all shards."""
        return sum(shard.samples for shard in self.shards)

    def digest(self) -> str:
        """Hex SHA-256 over the shards' hashes and the classes: the same for the same content."""
        classes = self.classes.model_dump() if self.classes else None
        return sha256_json({"shards": [s.sha256 for s in self.shards], "classes": classes})


def describe_shard(path: Path, samples: int) -> ShardInfo:
    """Return size, count and hash of one finished shard."""
    return ShardInfo(path=path.name, sha256=sha256_file(path), samples=samples, bytes=path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `folder/manifest.json`, whole or not at all."""
    write_json(folder / MANIFEST, manifest.model_dump())


def read_manifest(folder: Path, *, may_be_empty: bool = False) -> Manifest:
    """Read `folder/manifest.json` and check that every local shard is there and has its size.

    Args:
        folder: the dataset.
        may_be_empty: a dataset without samples will do, such as the annotations of a benchmark of single objects.

    Raises:
        DataError: no folder, no manifest, a missing or truncated shard, no samples at all.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a dataset folder, found none; `umgclip data import` or `umgclip data demo` writes raw "
            "data, and `dvc repro` writes annotated data"
        )
    if not path.is_file():
        if next(folder.glob("*.tar"), None) is not None:
            raise DataError(f"{folder}: expected {MANIFEST} (written last, so the dataset is incomplete), found none")
        if inner := sorted(str(each.parent) for each in folder.glob(f"*/{MANIFEST}")):
            raise DataError(
                f"{folder}: expected one dataset, found a folder of {len(inner)}; give {' or '.join(inner[:_NAMED])}"
            )
        raise DataError(
            f"{folder}: expected a dataset, found no {MANIFEST}; of a folder of images, `umgclip data import folder "
            f"{folder}` makes one"
        )
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: {_first(error)}") from error
    for shard in manifest.shards:
        if not shard.path.startswith(REMOTE):
            _check_size(folder / shard.path, shard)
    if manifest.samples == 0 and not may_be_empty:
        raise DataError(f"{folder}: expected at least one sample, the manifest lists none")
    return manifest


def read_manifest_at(where: Path | str) -> Manifest:
    """Read the manifest of a dataset in a folder, or under an `s3://` prefix, whose shards are not checked.

    Raises:
        DataError: there is none, or it is damaged.
        InputError, StorageError: S3 refuses or does not answer.
    """
    if isinstance(where, Path):
        return read_manifest(where)
    try:
        return Manifest.model_validate_json(place_at(where).read(MANIFEST, _MOST_BYTES))
    except ValidationError as error:
        raise DataError(f"{where}/{MANIFEST}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Return the first error of a manifest as text."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "manifest"
    return f"{where}: {first['msg']}, got {str(first.get('input'))[:80]!r}"


def _check_size(path: Path, shard: ShardInfo) -> None:
    if not path.is_file():
        raise DataError(f"{path}: expected a shard of {shard.samples} samples, the file is missing")
    size = path.stat().st_size
    if size != shard.bytes:
        raise DataError(f"{path}: expected {shard.bytes} bytes as in the manifest, got {size} (truncated or replaced)")


def verify(folder: Path, shards: Iterable[ShardInfo] | None = None) -> None:
    """Compare every shard's SHA-256 with the manifest.

    Raises:
        DataError: naming the first shard that differs, with both hashes.
    """
    for shard in shards if shards is not None else read_manifest(folder).shards:
        actual = sha256_file(folder / shard.path)
        if actual != shard.sha256:
            raise DataError(f"{folder / shard.path}: expected sha256 {shard.sha256}, got {actual}")
