"""What local files an annotator depends on: weights by path and the vocabulary file, by their content."""

from __future__ import annotations

from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.params import AnnotateParams


def weights_digest(folder: Path, where: str) -> str:
    """SHA-256 over names and contents of a model folder's files.

    Raises:
        InputError: no such folder, or no weights in it.
    """
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise InputError(f"{where}.path: expected a folder with config.json and *.safetensors, got {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return sha256_json({path.name: sha256_file(path) for path in files})


def _file_digest(path: Path, where: str) -> str:
    if not path.is_file():
        raise InputError(f"{where}.path: expected a file, found {'a folder' if path.is_dir() else 'none'}: {path}")
    return sha256_file(path)


def file_digests(params: AnnotateParams) -> dict[str, str]:
    """Of every local file or folder that the params name and a role uses.

    Raises:
        InputError: one of them is missing.
    """
    found = {}
    if params.rules.vocabulary is not None:
        found["vocabulary"] = sha256_file(Path(params.rules.vocabulary))
    used = {name for role in type(params.roles).model_fields for name in params.roles.of(role)}
    for name, model in params.models.items():
        path = getattr(model, "path", None)
        if name in used and path is not None:
            where = f"annotate.models.{name}"
            found[name] = _file_digest(Path(path), where) if model.kind == "face" else weights_digest(Path(path), where)
    return found
