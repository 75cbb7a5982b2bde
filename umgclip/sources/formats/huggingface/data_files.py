"""Files of a data set and their splits: as `save_to_disk` lists them, as the card does, or by their names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import DataError, InputError
from umgclip.io.json_text import parse
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.safe_text import brief
from umgclip.sources.formats.huggingface.features import stated_in_card
from umgclip.sources.formats.huggingface.tables import TABLES
from umgclip.sources.formats.shared.annotation_files import in_folder
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request

CARD, STATE, INFO, DICT = "README.md", "state.json", "dataset_info.json", "dataset_dict.json"
NO_SPLIT = "(none)"
_BYTES = 64 << 20
_SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_SPLIT = re.compile(rf"(?:^|[\W_])({'|'.join(_SPLITS)})(?=[\W_]|$)")
_CACHED = re.compile(r"(^|/)(cache-|tmp)[^/]*\.arrow$")


class DataFile(NamedTuple):
    """A file of rows, and the split that it belongs to."""

    name: str
    split: str


class Card(NamedTuple):
    """The front matter of a data set's card: features by configuration, and the files of each configuration."""

    features: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, list[tuple[str, str]]]  # split and pattern
    default: str | None


def read_card(source: Place) -> Card:
    """Read `README.md`; a card that states nothing about files or features is empty.

    Raises:
        DataError: its front matter is no YAML.
    """
    nothing = Card({}, {}, None)
    if not source.exists(CARD):
        return nothing
    parts = re.split(r"^---\s*$", source.read(CARD, _BYTES).decode("utf-8", "replace"), maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3 or parts[0].strip():
        return nothing
    try:
        about = YAML(typ="safe", pure=True).load(parts[1])
    except (YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{source}/{CARD}: expected YAML between two lines of ---, got other text: {error}") from error
    about = about if isinstance(about, dict) else {}
    infos, configs = (
        each if isinstance(each, list) else [each] for each in (about.get("dataset_info"), about.get("configs"))
    )
    features = {
        str(info.get("config_name", "default")): stated_in_card(info.get("features"))
        for info in infos
        if isinstance(info, dict)
    }
    files = {
        str(config.get("config_name", "default")): list(_patterns(config.get("data_files")))
        for config in configs
        if isinstance(config, dict)
    }
    default = next((str(c.get("config_name")) for c in configs if isinstance(c, dict) and c.get("default")), None)
    return Card(features, {name: patterns for name, patterns in files.items() if patterns}, default)


def _patterns(listed: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - what YAML held
    if isinstance(listed, str):
        yield "train", listed
    elif isinstance(listed, dict):
        for split, paths in listed.items():
            yield from ((str(split), path) for path in (paths if isinstance(paths, list) else [paths]))
    elif isinstance(listed, list):
        for one in listed:
            if isinstance(one, str):
                yield "train", one
            elif isinstance(one, dict) and isinstance(one.get("path"), str | list):
                paths = one["path"] if isinstance(one["path"], list) else [one["path"]]
                yield from ((str(one.get("split", "train")), str(path)) for path in paths)


def chosen_config(card: Card, request: Request) -> str:
    """Return the configuration to read; `default` where a data set has no others.

    Raises:
        InputError: there is no such configuration, or several and none is the default one.
    """
    names = list(dict.fromkeys([*card.files, *card.features]))
    if request.config is not None:
        if names and request.config not in names:
            raise InputError(f"--config: expected one of {', '.join(names)}, got {request.config!r}")
        return request.config
    if len(names) <= 1:
        return names[0] if names else "default"
    default = card.default or next((name for name in names if name == "default"), None)
    if default is None:
        raise InputError(f"{CARD}: expected one configuration, got {', '.join(names)}; --config names one")
    return default


def data_files(plan: ImportPlan, source: Place, request: Request, card: Card, config: str) -> list[DataFile]:
    """List the parquet and Arrow files, in order, each with its split; empty: there are none.

    Raises:
        InputError: a requested file does not exist.
        DataError: what `save_to_disk` lists is damaged or missing.
    """
    names = [name for name in plan.file_names(TABLES) if not _is_metadata(name)]
    cached = [name for name in names if _CACHED.search(name)]
    plan.tell("files that datasets cached, which are not read", len(cached))
    names = [name for name in names if name not in set(cached)]
    if request.files:
        missing = [name for name in request.files if name not in names]
        if missing:
            raise InputError(f"{source}: expected a parquet or arrow file {missing[0]!r}, found none")
        return [DataFile(name, split_of(name)) for name in request.files]
    saved = list(_saved(plan, source, names))
    if saved:
        return saved
    if card.files.get(config):
        return [
            DataFile(name, split) for split, pattern in card.files[config] for name in names if _matches(name, pattern)
        ]
    inside = in_folder(config if request.config is not None and plan.has_folder(config) else "")
    return [DataFile(name, split_of(name)) for name in names if inside(name)]


def _matches(name: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./").lstrip("/").replace("**/", "*")
    return fnmatch.fnmatchcase(name, pattern)


def _is_metadata(name: str) -> bool:
    return PurePosixPath(name).name == "metadata.parquet"


def split_of(name: str) -> str:
    """Return the split that a file's name states, or else the innermost of its folders that does."""
    for part in reversed(name.lower().split("/")):
        stated = _SPLIT.findall(part.rpartition(".")[0] or part)
        if stated:
            return _SPLITS[stated[-1]]
    return NO_SPLIT


def _saved(plan: ImportPlan, source: Place, names: list[str]) -> Iterator[DataFile]:
    """Yield the files that `save_to_disk` lists in `state.json`, for one data set or for several splits."""
    there = set(names)
    splits = _splits_of(source)
    for split in splits if splits is not None else [""]:
        folder = f"{split}/" if split else ""
        if not source.exists(f"{folder}{STATE}"):
            if splits is None:
                return
            raise DataError(f"{source}/{folder}{STATE}: expected the state of a split of {DICT}, found none")
        value = _object(source, f"{folder}{STATE}")
        try:
            listed = [f"{folder}{each['filename']}" for each in value["_data_files"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{source}/{folder}{STATE}: _data_files: expected names of files, lacks {error}") from error
        for name in listed:
            if name not in there:
                raise DataError(f"{source}/{name}: expected a file of rows as in {folder}{STATE}, found none")
            yield DataFile(name, split or NO_SPLIT)


def _splits_of(source: Place) -> list[str] | None:
    if not source.exists(DICT):
        return None
    splits = _object(source, DICT).get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) and "/" not in name for name in splits):
        raise DataError(f"{source}/{DICT}: splits: expected names, got {brief(splits)}")
    return splits


def _object(source: Place, name: str) -> dict[str, Any]:
    try:
        value = parse(decode(source.read(name, _BYTES)))
    except ValueError as error:
        raise DataError(f"{source}/{name}: expected JSON, got other text: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{source}/{name}: expected an object, got {brief(value)}")
    return value


def stated_beside(source: Place, name: str) -> Mapping[str, Any] | None:
    """Return the features that `dataset_info.json` beside a file states; None: there is none."""
    beside = f"{name.rpartition('/')[0]}/{INFO}".lstrip("/")
    if not source.exists(beside):
        return None
    features = _object(source, beside).get("features")
    return features if isinstance(features, dict) else None
