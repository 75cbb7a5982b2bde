"""How a project starts: `init` writes one; `code` and `follow` tell its pipeline what DVC cannot see itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from umgclip.cli.options import PARAMS, Params


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
        str | None, typer.Option(help="file of concepts, such as names.txt with one a line; here or in the project")
    ] = None,
) -> None:
    """Make a folder a project for images of your own: params.yaml, dvc.yaml, .gitignore, git and DVC.

    Values suit photographs (crops of the model's own size, no names held
    out). At a terminal it asks for what is not given. Nothing that is there
    is overwritten. Where data/train is there, `data.dvc` is made as well.

    Example: umgclip init birds --pretrained laion2b_s34b_b79k --model ViT-B-32
    """
    from umgclip.cli import session
    from umgclip.cli.project import create

    asking = sys.stdin.isatty()
    if name is None:
        name = create.default_name(folder)
        name = typer.prompt("Name of the model in the registry", default=name) if asking else name
    if pretrained is None:
        said = "Base: scratch, a tag of open_clip, a checkpoint or a folder"
        pretrained = typer.prompt(said, default="scratch") if asking else "scratch"
        if asking and pretrained != "scratch" and model is None:
            model = typer.prompt("Its model in open_clip", default="ViT-B-32")
    options = create.ProjectOptions(name, str(pretrained), model, language, vocabulary)
    session.show(create.make_project(folder, options))


def code(out: Annotated[Path, typer.Option("--out", help="the folder for a file a stage")]) -> None:
    """Digests of the code that decides each stage's result; for the pipeline of `umgclip init`."""
    from umgclip.cli import session
    from umgclip.cli.project import create

    session.show(create.write_code_digests(out))


def follow(
    params: Params = PARAMS,
    pipeline: Annotated[Path, typer.Option("--pipeline", help="the dvc.yaml to add them to")] = Path("dvc.yaml"),
) -> None:
    """Have DVC follow the files that params.yaml names: vocabularies, weights, tokenizers.

    DVC sees that another file is named, but not that the file itself was
    edited, unless it is a dependency of the stage that reads it. This adds
    those that are missing to dvc.yaml; all else there stays as it is.
    """
    from umgclip.cli import session
    from umgclip.cli.project import followed
    from umgclip.params import parse_sections, read_params

    session.show(followed.follow(pipeline, parse_sections(read_params(params), params)))
