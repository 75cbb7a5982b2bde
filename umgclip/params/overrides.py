"""Values of `--set KEY=VALUE`, which take the place of those of the parameter file in this process.

The command line replaces them when it begins; `umgclip.params.reading` applies them to the file that it reads, so that
every digest of parameters is that of a file that says the same.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import ParamsError
from umgclip.suggestions import closest, did_you_mean

OPTION = "--set"
_ABSENT = object()


@dataclass
class Override:
    """A value given on the command line, and the value of the file that it replaced.

    Attributes:
        key: dotted, such as `train.lora.rank`.
        value: as YAML reads it.
        before: the value of the file; absent until the file was read, and where the file leaves the key out.
    """

    key: str
    value: Any
    before: Any = field(default=_ABSENT)

    def __str__(self) -> str:
        return f"{self.key}={_text(self.value)}"

    def in_words(self) -> str:
        """Return the key, the value, and what the file says instead."""
        return f"{self} (in the file: {'nothing' if self.before is _ABSENT else _text(self.before)})"


_active: list[Override] = []
_used: set[str] = set()


def replace(overrides: Sequence[Override]) -> None:
    """Set the overrides of this process; an empty sequence removes all."""
    _active[:] = overrides
    _used.clear()


def active() -> tuple[Override, ...]:
    """Return the overrides of this process, in the order in which they were given."""
    return tuple(_active)


def use(*sections: str) -> None:
    """Note that the command reads these sections, so that values of all others have no effect on it."""
    _used.update(sections)


def unused() -> list[Override]:
    """Return the overrides of sections that the command has not read."""
    return [one for one in _active if one.key.partition(".")[0] not in _used]


def origin(key: str, path: object) -> str:
    """Return where the value of a dotted key was given: `--set` if it was overridden, else the file."""
    return OPTION if any(f"{key}.".startswith(f"{one.key}.") for one in _active) else str(path)


def read_assignments(words: Sequence[str], sections: Mapping[str, type[BaseModel]]) -> list[Override]:
    """Parse `["train.lora.rank=8"]`; values are YAML, as in the file: numbers, `[1, 2]`, `null`, `{a: 1}`, texts.

    Raises:
        ParamsError: no `=`, no YAML after it, or a key that no section has; suggests the nearest.
    """
    overrides = []
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ParamsError(f"{OPTION}: expected KEY=VALUE, such as train.steps=300, got {word!r}")
        require_key(key, sections)
        try:
            value = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise ParamsError(f"{OPTION} {key}: not valid YAML: {' '.join(str(error).split())}") from error
        overrides.append(Override(key, value))
    return overrides


def apply(content: dict[str, Any], sections: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Return the content of a parameter file with the active overrides in place of its values.

    Raises:
        ParamsError: a key leads through a value that has no keys below it.
    """
    if not _active:
        return content
    content = copy.deepcopy(content)
    apply_to(content, sections)
    return content


def apply_to(content: MutableMapping[str, Any], sections: Mapping[str, type[BaseModel]]) -> None:
    """Put the active overrides into the content of a parameter file, which keeps comments beside other values.

    Raises:
        ParamsError: a key leads through a value that has no keys below it.
    """
    for one in _active:
        *parents, last = split_key(one.key, sections)
        node: Any = content
        for depth, part in enumerate(parents):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
            if not isinstance(node, MutableMapping):
                above = ".".join(parents[: depth + 1])
                raise ParamsError(f"{OPTION} {one.key}: expected keys below {above} in the file, got {node!r}")
        one.before = copy.deepcopy(node[last]) if last in node else _ABSENT
        node[last] = copy.deepcopy(one.value)


def split_key(key: str, sections: Mapping[str, type[BaseModel]]) -> list[str]:
    """Split a dotted key; below a mapping of values by free names (`register.gates.floors`) the rest is one name."""
    parts, fields = key.split("."), dict[str, Any](sections)
    for depth, part in enumerate(parts[:-1]):
        kind = fields.get(part)
        models = models_of(kind)
        if not models:
            return [*parts[: depth + 1], ".".join(parts[depth + 1 :])]
        if is_free(kind):
            return parts
        fields = {name: one.annotation for model in models for name, one in model.model_fields.items()}
    return parts


def require_key(key: str, sections: Mapping[str, type[BaseModel]]) -> None:
    """Check that a section has a key; free names below a mapping are the file's business.

    Raises:
        ParamsError: it has none; names the nearest, or what is allowed there.
    """
    parts, fields = key.split("."), dict[str, Any](sections)
    for depth, part in enumerate(parts):
        if part not in fields:
            names = [".".join([*parts[:depth], name]) for name in fields]
            near = None if depth else closest(key, (known for known, _ in keys(sections)))
            elsewhere = [known for known, _ in keys(sections) if known.endswith(f".{key}")]
            hint = did_you_mean(key, [near] if near else names)
            if elsewhere:
                hint = f"; did you mean {' or '.join(map(repr, elsewhere[:3]))}?"
            raise ParamsError(f"{OPTION}: unknown key {key}{hint or f'; expected one of {_listed(names)}'}")
        kind, rest = fields[part], parts[depth + 1 :]
        if not rest and depth:
            return
        models = models_of(kind)
        if not rest:
            raise ParamsError(f"{OPTION}: {key} is a section; expected one of its keys, such as {key}.{_first(models)}")
        if is_free(kind):
            return
        if not models:
            raise ParamsError(
                f"{OPTION}: unknown key {key}: {'.'.join(parts[: depth + 1])} is one value and has no keys below it"
            )
        fields = {name: one.annotation for model in models for name, one in model.model_fields.items()}


def keys(sections: Mapping[str, type[BaseModel]], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key with its field, down to single values and to mappings with free names."""
    for name, kind in sections.items():
        yield from _keys_below(kind, f"{prefix}{name}.", ())


def _keys_below(model: type[BaseModel], prefix: str, seen: tuple[type[BaseModel], ...]) -> Iterator[tuple[str, Any]]:
    for name, one in model.model_fields.items():
        inner = [] if is_free(one.annotation) else models_of(one.annotation)
        if not inner:
            yield f"{prefix}{name}", one
        for kind in inner:
            if kind not in seen:
                yield from _keys_below(kind, f"{prefix}{name}.", (*seen, model))


def is_free(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    """Return whether an annotation is a mapping or a list, whose keys the file chooses."""
    inner = _without_none(kind)
    return any(get_origin(one) in (dict, list, tuple) or one in (dict, list, tuple) for one in inner)


def models_of(kind: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """Return the models that an annotation allows, in an optional value, a union, a list or a mapping as well."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) is Literal:
        return []
    inner = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
    return [model for one in inner for model in models_of(one)]


def choices_of(kind: Any) -> list[str]:  # noqa: ANN401 - any annotation
    """Return the values that an annotation lists: those of `Literal`, and `true` and `false`."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    if kind is type(None):
        return ["null"]
    inner = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
    return [value for one in inner for value in choices_of(one)] if not is_free(kind) else []


def _without_none(kind: Any) -> list[Any]:  # noqa: ANN401 - any annotation
    if get_origin(kind) is Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [inner for one in get_args(kind) for inner in _without_none(one)]
    return [] if kind is type(None) else [kind]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names))


def _first(models: Sequence[type[BaseModel]]) -> str:
    return next((name for model in models for name in model.model_fields), "KEY")


def _text(value: Any) -> str:  # noqa: ANN401 - any value of YAML
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
