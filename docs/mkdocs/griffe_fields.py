"""Show the fields of Pydantic models as one table in the API reference: name, type, description and default.

Griffe reads the source and imports nothing, so descriptions come from `Field(description=...)` as it is written.
"""

from __future__ import annotations

import ast
from typing import Any

import griffe

MODELS = "umgclip.params", "umgclip.records"
BOUNDS = {"gt": ">", "ge": "at least", "lt": "<", "le": "at most"}


class FieldTables(griffe.Extension):
    """Add a table of its fields to the docstring of each Pydantic model."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:  # noqa: ANN401 - the hook's own signature
        """Add the tables once all modules are read, so that inherited fields can be resolved."""
        for name in MODELS:
            if name.partition(".")[0] == pkg.path:
                add_tables(pkg[name.partition(".")[2]])


def add_tables(module: griffe.Module) -> None:
    """Add a table to each model of a module and of the modules below it."""
    for below in module.modules.values():
        if not below.is_alias:
            add_tables(below)
    for model in module.classes.values():
        if model.is_alias or not model.docstring or not is_model(model):
            continue
        fields: dict[str, griffe.Attribute] = {}
        for owner in [*reversed(model.mro()), model]:
            fields |= {name: each for name, each in owner.attributes.items() if is_field(name, each)}
        if fields:
            rows = [row(name, field) for name, field in fields.items()]
            model.docstring.parsed.append(griffe.DocstringSectionParameters(rows, title="Fields:"))


def is_model(model: griffe.Class) -> bool:
    """Return whether a class inherits from `pydantic.BaseModel`."""
    bases = [base for owner in [model, *model.mro()] for base in owner.bases]
    return any(getattr(base, "canonical_path", base) == "pydantic.BaseModel" for base in bases)


def is_field(name: str, attribute: griffe.Attribute) -> bool:
    """Return whether an attribute of a model is a field: annotated, public and no property."""
    return attribute.annotation is not None and not name.startswith("_") and "property" not in attribute.labels


def row(name: str, field: griffe.Attribute) -> griffe.DocstringParameter:
    """Return the line of the table for one field."""
    annotation = field.annotation
    called = field_call(field.value)
    default = called.get("default", called.get("default_factory")) if called else field.value
    facts = field_call(annotation) | called
    notes = [each["description"] for each in (facts, field_call(resolved(field))) if "description" in each][:1]
    notes = [str(ast.literal_eval(note)) for note in notes]
    notes += [f"{text} {facts[bound]}" for bound, text in BOUNDS.items() if bound in facts]
    return griffe.DocstringParameter(
        name, description="; ".join(notes), annotation=without_metadata(annotation), value=default and str(default)
    )


def field_call(expression: Any) -> dict[str, str]:  # noqa: ANN401 - an expression of griffe, a text or None
    """Return the keyword arguments of the call of `Field` in an expression, as they are written; else nothing."""
    for node in ast.walk(ast.parse(str(expression or None))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field":
            return {each.arg: ast.unparse(each.value) for each in node.keywords if each.arg}
    return {}


def resolved(field: griffe.Attribute) -> Any:  # noqa: ANN401
    """Return what the type alias of a field, such as `Device`, stands for; None where the type is no alias of ours."""
    if not isinstance(field.annotation, griffe.ExprName):
        return None
    try:
        target = field.modules_collection[field.annotation.canonical_path]
    except KeyError:
        return None
    return target.value if target.is_attribute else None


def without_metadata(annotation: Any) -> Any:  # noqa: ANN401
    """Return the type inside `Annotated[type, ...]`; other annotations as they are."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
        return annotation.slice.elements[0]
    return annotation
