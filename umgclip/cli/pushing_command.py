"""`umgclip push`: the command that publishes a model in the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umgclip.cli.options import ARTIFACTS, DATA, METRICS, PARAMS, Adapter, Base, DryRun, Params
from umgclip.errors import InputError


def push(
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="repository in the hub; made if it is missing")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="models:/NAME@ALIAS, a folder or hf-hub:USER/NAME, instead of --base and --adapter"
        ),
    ] = None,
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="who sees a new repository; default: the hub's, public")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="branch to push to, made if it is missing; default: main")
    ] = None,
    message: Annotated[str, typer.Option("--message", help="message of the commit")] = "Push model with umgclip",
    license_: Annotated[
        str | None, typer.Option("--license", help="licence of the weights by the hub's name, such as apache-2.0")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="training data in the hub, for the card; repeatable")
    ] = None,
    transformers: Annotated[
        bool | None,
        typer.Option(
            "--transformers/--no-transformers", help="files for transformers too; default: where it has a class"
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="results for the card; default: metrics/evaluate.json, if of this model"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="training data, whose licences the card names; default: data")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="a README.md of your own instead of the written card")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder in which the files are kept as well")] = None,
    force: Annotated[bool, typer.Option("--force", help="write into a repository that another tool filled")] = False,
    dry_run: DryRun = False,
    params: Params = PARAMS,
) -> None:
    """Push the tuned model with its model card to the Hugging Face hub, in one commit.

    umgclip.load and open_clip then read it as hf-hub:USER/NAME, and
    transformers as USER/NAME if it has a class for the tower. The card has the
    metrics of the evaluation with their protocol, and the licences of base and
    data as far as they are recorded.

    Log in first with `hf auth login`, or set HF_TOKEN. Try it with --dry-run,
    which sends nothing; --out FOLDER shows the files. A push that was
    interrupted is run again; what reached the hub is not sent twice.

    Example: umgclip push alice/birds-clip --private --license cc-by-4.0
    """
    from umgclip.cli import pushing, session
    from umgclip.inference.hub.names import require_repo
    from umgclip.inference.hub.push import Destination
    from umgclip.inference.hub.repository import Publication
    from umgclip.io.atomic import MODEL, is_kind
    from umgclip.model.clip.layout import CONFIG
    from umgclip.params import RegisterParams, load_section

    require_repo(repo)
    if model is None and not (base / CONFIG).is_file():
        raise InputError(f"no model here: expected --model, or {CONFIG} of the stage base in {base}, found neither")
    if out is not None:
        session.check_output(out, (base, adapter) if model is None else (), is_kind(MODEL))
    required = frozenset(path for path in (metrics, data) if path is not None)
    if model is None:
        register = load_section(params, RegisterParams) if params.is_file() else None
        source = pushing.PushSource(
            base, adapter, register, metrics or METRICS / "evaluate.json", data or DATA, required
        )
    else:
        source = pushing.PushSource(model, None, None, metrics, data, required)
    text = None if card is None else pushing.read_card(card)
    publication = Publication(repo, transformers, license_, tuple(dataset or ()), text)
    destination = Destination(repo, private, revision, message, None, force)
    session.show(pushing.push(source, publication, destination, out, dry_run=dry_run))
