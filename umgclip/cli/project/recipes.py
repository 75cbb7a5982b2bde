"""The commands `umgclip recipe list`, `show` and `use`: parameter files for runs that people really make."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umgclip.cli.habits import completion
from umgclip.cli.options import PARAMS, Params
from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.recipes.reading import ShippedRecipe

recipe_app = typer.Typer(
    help="Parameter files for runs that people really make: what they need, cost, and should reach.",
    no_args_is_help=True,
)
Name = Annotated[
    str,
    typer.Argument(help="name of the recipe, as `umgclip recipe list` shows it", autocompletion=completion.recipes),
]


@recipe_app.command("list")
def list_recipes() -> None:
    """List the recipes with their images and estimated cost."""
    from umgclip.cli import terminal
    from umgclip.cli.terminal import Sheet
    from umgclip.recipes import reading

    recipes = []
    sheet = Sheet("name", "what it does", "images", "GPU hours (estimate)", title="recipes")
    for name in reading.names():
        facts = reading.load(name).facts
        cost = facts.estimate
        hours = cost.train_gpu_hours + cost.embed_gpu_hours + cost.segment_gpu_hours
        recipes.append({"name": name, "title": facts.title, "images": facts.images, "gpu_hours": hours})
        sheet.add_row(name, facts.title, f"{facts.images:,}", f"{hours:,.2g}" if hours < 10 else f"{hours:,.0f}")
    terminal.show(sheet, document={"recipes": recipes})


@recipe_app.command()
def show(
    name: Name,
    complete: Annotated[bool, typer.Option("--complete", help="print the whole params.yaml that `use` writes")] = False,
) -> None:
    """Show a recipe: what it needs, costs and should reach, and the parameters that it changes.

    Example: umgclip recipe show coco-openai-b16
    """
    from umgclip.cli import terminal
    from umgclip.cli.project import create
    from umgclip.recipes import reading

    recipe = reading.load(name)
    if complete:
        from ruamel.yaml import YAML

        text = params_of(recipe, "NAME").rstrip("\n")
        terminal.write(text, {"name": recipe.name, "params": YAML(typ="safe").load(text)})
        return
    facts = recipe.facts.model_dump()
    changes = f"changes to the defaults of params.yaml:\n\n{create.dumped(recipe.changes)}".rstrip("\n")
    lines = "\n".join(description(recipe))
    document = {"name": recipe.name, "about": recipe.about, **facts, "changes": recipe.changes}
    terminal.write(f"{lines}\n\n{changes}", document)


@recipe_app.command()
def use(
    name: Name,
    params: Params = PARAMS,
    force: Annotated[
        bool, typer.Option("--force", help="replace an existing params.yaml; the model keeps its name in the registry")
    ] = False,
) -> None:
    """Write a recipe as the params.yaml of a project, and say what to do next.

    Make the project first with `umgclip init`, which also writes dvc.yaml.

    Example: umgclip recipe use coco-openai-b16 --force
    """
    from umgclip.cli import session
    from umgclip.recipes import reading
    from umgclip.stage import Summary

    recipe = reading.load(name)
    if params.exists() and not force:
        raise InputError(f"{params}: expected no file, for `recipe use` writes it; --force replaces it")
    write(recipe, params)
    rows = [("written", str(params))]
    if not (params.parent / "dvc.yaml").is_file():
        rows.append(("missing", "dvc.yaml: `umgclip init FOLDER` makes a project; use the recipe there with --force"))
    rows += [(f"{number}. next", command) for number, command in enumerate([*recipe.facts.data, *recipe.facts.run], 1)]
    facts = {"recipe": name, "written": str(params), "next": [*recipe.facts.data, *recipe.facts.run]}
    session.show(Summary(f"recipe: {name}", tuple(rows), facts))


def write(recipe: ShippedRecipe, path: Path) -> None:
    """Write the whole parameter file of a recipe; an existing one gives the model's name in the registry.

    Raises:
        OutputError: the file cannot be written.
        ParamsError: a value is not allowed.
    """
    from umgclip.cli.project import create
    from umgclip.io.atomic import write_bytes
    from umgclip.params import read_params

    name = create.default_name(path.parent)
    if path.is_file():
        name = (read_params(path).get("register") or {}).get("name", name)
    write_bytes(path, params_of(recipe, name).encode())


def params_of(recipe: ShippedRecipe, model_name: str) -> str:
    """Return the whole parameter file of a recipe: the defaults with their comments, and its changes.

    Raises:
        ParamsError: a value is not allowed, or a key is unknown.
    """
    from umgclip.cli.project import create
    from umgclip.params import SECTIONS, overrides, parse_sections

    base = recipe.changes.get("base", {})
    options = create.ProjectOptions(model_name, base.get("pretrained", "scratch"), base.get("model"))
    params = create.adapted(options)
    merge(params, recipe.changes)
    overrides.apply_to(params, SECTIONS)
    parse_sections(params, Path(f"recipe {recipe.name}"))
    head = "".join(f"# {line}\n" for line in description(recipe))
    return f"{head}\n{create.dumped(params)}"


def merge(into: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Replace values by those of `changes`, on every level; `into` keeps the comments beside them."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and value and isinstance(into.get(key), MutableMapping):
            merge(into[key], value)
        else:
            into[key] = value


def description(recipe: ShippedRecipe) -> list[str]:
    """Return what a recipe needs, costs and should reach, a line each."""
    facts, cost = recipe.facts, recipe.facts.estimate
    return [
        f"{recipe.name}: {facts.title}",
        *recipe.about.splitlines(),
        f"images: {facts.images:,}; the batch is meant for {facts.gpus} A100 of 80 GB",
        f"estimated, not measured: {cost.train_gpu_hours:,g} GPU hours for train, {cost.embed_gpu_hours:,g} for the "
        f"embeddings of annotate, {cost.segment_gpu_hours:,g} for segment, {cost.memory_gb:g} GB a GPU in train",
        *(f"published: {one.model}: {one.mark} {one.value:g} ({one.source})" for one in facts.published),
        f"protocol: {facts.protocol}",
    ]
