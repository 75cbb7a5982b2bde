"""Digests of the local files that the parameters name: weights of models, and the vocabulary."""

from __future__ import annotations

from pathlib import Path

from umgclip.annotate.teacher import teacher_files
from umgclip.data.corrections import CORRECTIONS, file_of
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.params import AnnotateParams
from umgclip.params.annotators import WeightsParams


def weights_digest(folder: Path, where: str) -> str:
    """Return the hex SHA-256 over names and contents of the files in a model's folder.

    Args:
        folder: with `config.json` and weights.
        where: name of the model in the params, for messages.

    Raises:
        InputError: there is no such folder, or it holds no weights.
    """
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise InputError(f"{where}.path: expected a folder with config.json and *.safetensors, got {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return sha256_json({path.name: sha256_file(path) for path in files})


def file_digests(params: AnnotateParams, base: Path | None = None) -> dict[str, str]:
    """Return the hex SHA-256 of each local file or folder that the params name and a role uses, by model.

    The file of `rules.vocabulary` is called `vocabulary`, that of `corrections` by its key, and the files of
    `annotate.teacher` `tuned_teacher`.

    Args:
        params: the section `annotate`.
        base: folder with the base's weights, which a teacher's adapter may belong to.

    Raises:
        InputError: one of them is missing, or is no tuned version of the base.
    """
    digests = {}
    if params.rules.vocabulary is not None:
        digests["vocabulary"] = sha256_file(Path(params.rules.vocabulary))
    if params.corrections is not None:
        digests["corrections"] = _corrections_digest(params.corrections)
    if params.teacher is not None and base is not None:
        digests["tuned_teacher"] = teacher_files(Path(params.teacher), base).digest()
    used = {name for role in type(params.roles).model_fields for name in params.roles.of(role)}
    for name, model in params.models.items():
        path = getattr(model, "path", None)
        if name in used and path is not None:
            digest = weights_digest if isinstance(model, WeightsParams) else _file_digest
            digests[name] = digest(Path(path), f"annotate.models.{name}")
    return digests


def _corrections_digest(where: str) -> str:
    path = file_of(where)
    if not path.is_file():
        raise InputError(f"annotate.corrections: expected {CORRECTIONS} or a folder with it, found none at {path}")
    return sha256_file(path)


def _file_digest(path: Path, where: str) -> str:
    if not path.is_file():
        raise InputError(f"{where}.path: expected a file, found {'a folder' if path.is_dir() else 'none'}: {path}")
    return sha256_file(path)
