"""How a project starts: `init` writes one, `code` tells its pipeline what is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="of the project; made when it is missing")] = Path(),
    name: Annotated[
        str | None, typer.Option(help="of the model in the registry, one for each project; the folder's name")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="base.pretrained: scratch, a tag of open_clip, a checkpoint or a folder")
    ] = None,
    model: Annotated[str | None, typer.Option(help="base.model: name in open_clip, such as ViT-B-32")] = None,
    language: Annotated[
        Literal["en", "none"], typer.Option(help="of captions; none: only concepts of --vocabulary are found")
    ] = "en",
    vocabulary: Annotated[
        str | None, typer.Option(help="file of concepts, such as names.txt with one a line; relative to the project")
    ] = None,
) -> None:
    """Make a folder a project for images of your own: params.yaml, dvc.yaml, .gitignore, git and DVC.

    Values suit photographs (crops of the model's own size, no names held
    out). At a terminal it asks for what is not given. Nothing that is there
    is overwritten. Where data/train is there, `data.dvc` is made as well.

    Example: umgclip init birds --pretrained laion2b_s34b_b79k --model ViT-B-32
    """
    from umgclip.cli import project, session

    asking = sys.stdin.isatty()
    if name is None:
        name = project.default_name(folder)
        name = typer.prompt("Name of the model in the registry", default=name) if asking else name
    if pretrained is None:
        said = "Base: scratch, a tag of open_clip, a checkpoint or a folder"
        pretrained = typer.prompt(said, default="scratch") if asking else "scratch"
        if asking and pretrained != "scratch" and model is None:
            model = typer.prompt("Its model in open_clip", default="ViT-B-32")
    wishes = project.Wishes(name, str(pretrained), model, language, vocabulary)
    session.show(project.make_project(folder, wishes))


def code(out: Annotated[Path, typer.Option("--out", help="the folder for a file a stage")]) -> None:
    """Digests of the code that decides each stage's result; for the pipeline of `umgclip init`."""
    from umgclip.cli import project, session

    session.show(project.write_code_digests(out))
