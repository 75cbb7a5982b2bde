"""The commands `init`, which creates a project, and `code` and `follow`, which keep its DVC pipeline complete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from umgclip.cli.options import PARAMS, Params


def init(
    folder: Annotated[Path, typer.Argument(help="folder of the project; created if it is missing")] = Path(),
    name: Annotated[
        str | None,
        typer.Option(help="name of the model in the registry, one per project; default: the folder's name"),
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="base.pretrained: scratch, a tag of open_clip, a checkpoint or a folder")
    ] = None,
    model: Annotated[str | None, typer.Option(help="base.model: a name of open_clip, such as ViT-B-32")] = None,
    language: Annotated[
        Literal["en", "none"],
        typer.Option(help="language of the captions; with none, only concepts of --vocabulary are recognised"),
    ] = "en",
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="file of concepts, such as names.txt with one name per line; a path from the current folder or from "
            "the project"
        ),
    ] = None,
) -> None:
    """Create a project for your own images: params.yaml, dvc.yaml, .gitignore, git and DVC.

    The parameters suit photographs (crops of the model's own size, no
    held-out names). On a terminal the command asks for missing values. It
    never overwrites existing files. If data/train exists, it also creates
    `data.dvc`.

    Example: umgclip init birds --pretrained laion2b_s34b_b79k --model ViT-B-32
    """
    from umgclip.cli import session
    from umgclip.cli.project import create

    asking = sys.stdin.isatty()
    if name is None:
        name = create.default_name(folder)
        name = typer.prompt("Name of the model in the registry", default=name) if asking else name
    if pretrained is None:
        question = "Base: scratch, a tag of open_clip, a checkpoint or a folder"
        pretrained = typer.prompt(question, default="scratch") if asking else "scratch"
        if asking and pretrained != "scratch" and model is None:
            model = typer.prompt("Name of that model in open_clip", default="ViT-B-32")
    options = create.ProjectOptions(name, str(pretrained), model, language, vocabulary)
    session.show(create.make_project(folder, options))


def code(out: Annotated[Path, typer.Option("--out", help="folder for one digest file per stage")]) -> None:
    """Write digests of the code that decides each stage's result, for the pipeline of `umgclip init`."""
    from umgclip.cli import session
    from umgclip.cli.project import create

    session.show(create.write_code_digests(out))


def follow(
    params: Params = PARAMS,
    pipeline: Annotated[Path, typer.Option("--pipeline", help="dvc.yaml to add the files to")] = Path("dvc.yaml"),
) -> None:
    """Make DVC track the files that params.yaml names: vocabularies, weights, tokenizers.

    DVC notices that params.yaml names another file, but not that a file was
    edited, unless the file is a dependency of the stage that reads it. This
    command adds the missing dependencies to dvc.yaml and changes nothing else.
    """
    from umgclip.cli import session
    from umgclip.cli.project import followed
    from umgclip.params import parse_sections, read_params

    session.show(followed.follow(pipeline, parse_sections(read_params(params), params)))
