"""The files of a tuned model that annotates beside the base: where they are, whether they fit, and their digest.

Nothing here loads weights or knows the registry: `umgclip annotate --teacher models:/...` downloads a version first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.io.json_file import read_object
from umgclip.model.clip.layout import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    TOKENIZER_FILES,
    TRAIN_REPORT,
    USAGE,
    WEIGHTS,
)

_KEY = "annotate.teacher"
_FORMS = (
    "expected a folder that `umgclip train` wrote, `artifacts` of a pipeline, the files of a registered version, or "
    "what `umgclip export --to open_clip` wrote"
)


@dataclass(frozen=True)
class TeacherFiles:
    """The folders of a tuned model: of its base and of its adapter.

    Attributes:
        base: folder with open_clip's config and the weights that the adapter belongs to; without an adapter, the
            model's own.
        adapter: folder of the adapter; None: the weights are merged.
    """

    base: Path
    adapter: Path | None

    @property
    def described_in(self) -> Path:
        """The folder whose files say how images reach the model."""
        return self.base if self.adapter is None else self.adapter

    def trained_fit(self) -> Literal["squash", "pad"]:
        """Return how images were fitted when the model was tuned: `squash`, unless its `train.json` says `pad`."""
        report = None if self.adapter is None else self.adapter.parent / TRAIN_REPORT
        params = read_object(report).get("params") if report is not None and report.is_file() else None
        return "pad" if isinstance(params, dict) and params.get("resize") == "pad" else "squash"

    def digest(self) -> str:
        """Return the hex SHA-256 over names and contents of the files that decide what the model answers."""
        return sha256_json({name: sha256_file(path) for name, path in self._files()})

    def _files(self) -> Iterator[tuple[str, Path]]:
        folders = {"base": self.base} if self.adapter is None else {"base": self.base, ADAPTER: self.adapter}
        for name, folder in folders.items():
            for file in (CONFIG, WEIGHTS, ADAPTER_CONFIG, ADAPTER_WEIGHTS, USAGE, *TOKENIZER_FILES):
                if (folder / file).is_file():
                    yield f"{name}/{file}", folder / file
        if self.adapter is not None and (report := self.adapter.parent / TRAIN_REPORT).is_file():
            yield TRAIN_REPORT, report


def teacher_files(folder: Path, base: Path) -> TeacherFiles:
    """Find the files of a teacher, and check that it is a tuned version of such a base.

    Args:
        folder: what the stage `train` wrote, which needs the base; a folder with `base` and `train`; a registered
            version's files; or an exported open_clip model.
        base: the base that annotates.

    Raises:
        InputError: there is no such folder, it is another kind of model, weights are missing, its embeddings have
            another size than the base's, or it is that base itself.
        DataError: a config is no JSON object.
    """
    if not folder.is_dir():
        raise InputError(f"{_KEY}: {_FORMS}; found {'a file' if folder.is_file() else 'nothing'} at {folder}")
    files = _located(folder, base)
    for wanted, names in ((files.base, (CONFIG, WEIGHTS)), (files.adapter, (ADAPTER_CONFIG, ADAPTER_WEIGHTS))):
        missing = [name for name in names if wanted is not None and not (wanted / name).is_file()]
        if missing:
            raise InputError(f"{_KEY}: expected {' and '.join(missing)} in {wanted}, found none")
    _require_own_base(files)
    _require_other(files, base, folder)
    sizes = [_embed_dim(one / CONFIG) for one in (base, files.base)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{_KEY}: expected a model with embeddings of {sizes[0]} numbers as the base has them, "
            f"got {sizes[1]} in {folder}"
        )
    return files


def _located(folder: Path, base: Path) -> TeacherFiles:
    if (folder / "base" / CONFIG).is_file() and (folder / "train").is_dir():
        return TeacherFiles(folder / "base", folder / "train" / ADAPTER)
    if (folder / ADAPTER).is_dir():  # a version need not hold the weights of a base that is published
        return TeacherFiles(folder if (folder / WEIGHTS).is_file() else base, folder / ADAPTER)
    if (folder / ADAPTER_CONFIG).is_file():
        return TeacherFiles(base, folder)
    if (folder / CONFIG).is_file():
        return TeacherFiles(folder, None)
    inside = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    raise InputError(f"{_KEY}: {_FORMS}; got {folder} with {inside}")


def _require_own_base(files: TeacherFiles) -> None:
    """Compare the base with the one that training wrote down beside the adapter."""
    if files.adapter is None or not (report := files.adapter.parent / TRAIN_REPORT).is_file():
        return
    wanted, actual = str(read_object(report).get("base_sha256")), sha256_file(files.base / WEIGHTS)
    if wanted != actual:
        raise InputError(
            f"{_KEY}: {files.adapter} was tuned on the base {wanted[:12]}, got {actual[:12]} in {files.base}; give "
            "the base with it: a folder with `base` and `train`, or the files of a registered version"
        )


def _require_other(files: TeacherFiles, base: Path, folder: Path) -> None:
    """Compare the weights with those of the base that annotates: a model agrees with itself on everything."""
    mine, other = files.base / WEIGHTS, base / WEIGHTS
    if files.adapter is not None or not other.is_file() or mine.stat().st_size != other.stat().st_size:
        return
    if mine.samefile(other) or sha256_file(mine) == sha256_file(other):
        raise InputError(
            f"{_KEY}: expected a model that was tuned, got the weights of the base itself in {folder}, which are no "
            f"second opinion; {_FORMS}"
        )


def _embed_dim(path: Path) -> Any:  # noqa: ANN401 - what the file says
    config = read_object(path).get("model_cfg")
    return config.get("embed_dim") if isinstance(config, dict) else None
