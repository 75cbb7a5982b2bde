"""Models of `--model`, and the names that they choose from, for the gallery's predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from umgclip.browse.classifying import Classifiers
from umgclip.cli.predicting import read_labels
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import Manifest

_VOCABULARY = "vocabulary.json"  # of the stage annotate, in the folder above its datasets


def classifiers(models: Sequence[str], labels: Sequence[str], where: str, manifest: Manifest) -> Classifiers | None:
    """Load models for the gallery; None without any.

    Args:
        models: values of `--model`: MODEL or NAME=MODEL.
        labels: values of `--labels`; none: the dataset's classes, or the concepts that it was annotated with.
        where: the dataset.
        manifest: of the dataset.

    Raises:
        InputError: there are labels without a model, no labels for a model, or two models of one name.
        DataError: a model's files are damaged.
    """
    if not models:
        if labels:
            raise InputError("--labels: expected --model beside them, got none")
        return None
    names = read_labels(labels) if labels else _things(where, manifest)
    if not names:
        raise InputError(f"--model: expected --labels a,b,c or @FILE, because {where} states no classes")
    from umgclip import api

    return Classifiers({name: api.load(source) for name, source in _named(models).items()}, names)


def _things(where: str, manifest: Manifest) -> list[str]:
    if manifest.classes is not None:
        return list(manifest.classes.things)
    beside = Path(where).resolve().parent / _VOCABULARY
    if where.startswith("s3://") or not beside.is_file():
        return []
    try:
        return [str(name) for name in json.loads(beside.read_text(encoding="utf-8"))["things"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{beside}: expected names under things, got something else ({error})") from error


def _named(models: Sequence[str]) -> dict[str, str]:
    """Return the models by the names that the page shows: as given before `=`, or the models themselves."""
    named: dict[str, str] = {}
    for model in models:
        name, given, source = ("", "", model) if Path(model).exists() else model.partition("=")
        column = name if given else model
        if not column or (given and not source):
            raise InputError(f"--model: expected MODEL or NAME=MODEL, got {model!r}")
        if column in named:
            raise InputError(f"--model: expected different models, got {column} twice; NAME=MODEL names them")
        named[column] = source if given else model
    return named
