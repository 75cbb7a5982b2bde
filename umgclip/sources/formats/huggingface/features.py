"""Types of columns: Arrow's own, and what `datasets` adds to them in the schema, beside the files or in the card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from umgclip.errors import DataError
from umgclip.io.json_text import parse
from umgclip.safe_text import brief

SCHEMA_KEY = b"huggingface"
Kind = Literal["image", "class", "text", "number", "bytes", "list", "struct", "other"]
_IMAGE_FIELDS = {"bytes", "path"}


@dataclass(frozen=True)
class Feature:
    """Type of a column or of a part of one.

    Attributes:
        kind: what its values are; `class` is a number with a name (ClassLabel).
        names: of the numbers of a class; empty if nobody says them.
        item: type of the elements of a list.
        fields: types of the fields of a struct.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    item: Feature | None = None
    fields: Mapping[str, Feature] = field(default_factory=dict)

    def leaf(self) -> Feature:
        """Return the type inside all lists."""
        return self if self.item is None else self.item.leaf()


def features_of(schema: pa.Schema, stated: Mapping[str, Any] | None = None) -> dict[str, Feature]:
    """Return the type of each column: of the schema's own metadata, else as stated elsewhere, else as Arrow has it.

    Raises:
        DataError: the metadata is no JSON.
    """
    about = (schema.metadata or {}).get(SCHEMA_KEY)
    if about is not None:
        try:
            stated = parse(about.decode("utf-8", "replace"))["info"]["features"] or stated
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"schema: {SCHEMA_KEY.decode()}: expected info.features as JSON, got {brief(about)}"
            ) from error
    stated = stated if isinstance(stated, Mapping) else {}
    return {each.name: _feature(each.type, stated.get(each.name)) for each in schema}


def _feature(kind: pa.DataType, stated: Any) -> Feature:  # noqa: ANN401 - what JSON held
    """Return the type of values: their form is Arrow's, and their meaning what JSON states about them."""
    meaning = stated.get("_type") if isinstance(stated, Mapping) else None
    if meaning == "Image":
        return Feature("image")
    if _is_list(kind):
        return Feature("list", item=_feature(kind.value_type, _inside(stated)))
    if pa.types.is_struct(kind):
        inner = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
        if meaning is None and set(inner) == _IMAGE_FIELDS and _plain(inner["bytes"]) == "bytes":
            return Feature("image")
        return Feature("struct", fields={name: _feature(of, _field(stated, name)) for name, of in inner.items()})
    if meaning == "ClassLabel" and pa.types.is_integer(kind):
        names = stated.get("names")
        return Feature("class", tuple(map(str, names)) if isinstance(names, list) else ())
    return Feature(_plain(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _plain(kind: pa.DataType) -> Kind:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes"
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return "number" if is_number else "other"


def _inside(stated: Any) -> Any:  # noqa: ANN401 - what JSON held
    """Return what is stated about the elements of a list: `List` and the older `Sequence` and `[...]`."""
    if isinstance(stated, list):
        return stated[0] if stated else None
    return stated.get("feature") if isinstance(stated, Mapping) else None


def _field(stated: Any, name: str) -> Any:  # noqa: ANN401 - what JSON held
    """Return what is stated about a field; a `Sequence` of a struct is stored as a struct of lists."""
    if not isinstance(stated, Mapping):
        return None
    inner = stated.get("feature")
    if stated.get("_type") == "Sequence" and isinstance(inner, Mapping):
        return {"_type": "List", "feature": inner.get(name)}
    return stated.get(name)


def guessed(rows: Iterable[Mapping[str, Any]]) -> dict[str, Feature]:
    """Return the types of the columns of rows without a schema, by the first value of each."""
    features: dict[str, Feature] = {}
    for row in rows:
        for name, value in row.items():
            if (kind := _guess(value)) is not None and (name not in features or features[name].leaf().kind == "other"):
                features[name] = kind
    return features


def _guess(value: Any) -> Feature | None:  # noqa: ANN401 - what JSON held
    if value is None:
        return None
    if isinstance(value, dict):
        return Feature("struct", fields={str(k): _guess(v) or Feature("other") for k, v in value.items()})
    if isinstance(value, list):
        return Feature("list", item=next((of for one in value if (of := _guess(one))), Feature("other")))
    return Feature("text" if isinstance(value, str) else "number" if isinstance(value, int | float) else "other")


def stated_in_card(listed: Any) -> dict[str, Any]:  # noqa: ANN401 - what YAML held
    """Return the features of a card's `dataset_info` in the form of the schema's metadata."""
    named = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            named[one["name"]] = _from_card(one)
    return named


def _from_card(one: Any) -> Any:  # noqa: ANN401 - what YAML held
    if isinstance(one, str):
        return {"_type": "Image"} if one == "image" else {"_type": "Value", "dtype": one}
    if isinstance(one, list):
        return stated_in_card(one)
    if not isinstance(one, dict):
        return None
    for name, wrapper in (("list", "List"), ("sequence", "Sequence"), ("large_list", "LargeList")):
        if name in one:
            return {"_type": wrapper, "feature": _from_card(one[name])}
    if "struct" in one:
        return stated_in_card(one["struct"])
    kind = one.get("dtype")
    label = one.get("class_label") or (kind.get("class_label") if isinstance(kind, dict) else None)
    if isinstance(label, dict):
        names = label.get("names")
        listed = list(names.values()) if isinstance(names, dict) else names
        return {"_type": "ClassLabel", "names": listed}
    return _from_card(kind) if isinstance(kind, str | dict) and kind is not one else None


def card_features(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return features in the form that `dataset_info` of a card has."""
    return [{"name": name, **_to_card(stated)} for name, stated in features.items()]


def _to_card(stated: Mapping[str, Any]) -> dict[str, Any]:
    kind = stated.get("_type")
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "ClassLabel":
        return {"dtype": {"class_label": {"names": {str(n): name for n, name in enumerate(stated["names"])}}}}
    if kind == "List":
        inner = _to_card(stated["feature"])
        length = {"length": stated["length"]} if stated.get("length", -1) > 0 else {}
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner, **length}
    if kind == "Value":
        return {"dtype": stated["dtype"]}
    return {"struct": card_features(stated)}


def metadata_of(features: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the metadata of a schema by which `datasets` knows the features."""
    return {SCHEMA_KEY: json.dumps({"info": {"features": features}}, ensure_ascii=False).encode()}
