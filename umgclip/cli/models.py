"""What is done with a model that is there: `promote`, `rollback`, `report`, `predict`, `export`; and `sync`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umgclip.cli.options import ARTIFACTS, METRICS, PARAMS, Adapter, Base, DryRun, Params
from umgclip.errors import InputError


def promote(
    version: Annotated[
        str | None, typer.Argument(help="number or alias of the version; the challenger when left out")
    ] = None,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="whatever the gates say; asks for --reason")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="why, which is kept with the version")] = None,
    params: Params = PARAMS,
) -> None:
    """Make a version the champion, which is served, if its gates let it.

    The challenger is what `umgclip register` made last. The gates are
    `register.gates` in params.yaml: least values, most that may be lost
    against the champion, mean gain, time to answer. Numbers count only where
    benchmark and protocol are the champion's; what the benchmark has nothing
    for is not asked. The old champion is kept as `previous_champion`, and
    `umgclip rollback` goes back to it.

    Look first with `umgclip promote --dry-run`. A version that was rolled
    back is promoted only by its number, as in `umgclip promote 3`. With
    --force --reason TEXT the gates are asked and passed by: who, when and why
    become tags of the version.

    Exit code 0: it is champion (with --dry-run: it would be). 7: the gates
    keep the champion. 2: no such version. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion
    from umgclip.register.force import Force

    promotion.promote(section, version, dry_run=dry_run, force=Force.from_options(force, reason))


def rollback(dry_run: DryRun = False, params: Params = PARAMS) -> None:
    """Make `previous_champion` the champion again, without asking the gates.

    The two change places, so a second rollback takes the first one back. The
    version that goes is marked: running the pipeline again does not promote
    it, only `umgclip promote` with its number does.

    Exit code 0: it moved (with --dry-run: it would). 7: there is no previous
    champion. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion

    promotion.rollback(section, dry_run=dry_run)


def sync() -> None:
    """Send MLflow what it missed while it was away.

    Values of metrics, tags, files and how a run ended wait in .umgclip/spool
    (or UMGCLIP_SPOOL). The next stage here sends them, too. A run whose
    process died is ended as KILLED.

    Exit code 0: nothing waits any more. 6: something does; it is named.
    """
    from umgclip.cli import session, syncing

    session.show(syncing.sync(Path.cwd()))


def report(
    metrics: Annotated[Path, typer.Option(help="the metrics that evaluate wrote")] = METRICS / "evaluate.json",
    registration: Annotated[Path, typer.Option(help="what register wrote")] = ARTIFACTS / "register" / "register.json",
    short: Annotated[bool, typer.Option("--markdown", help="the short table of the README instead")] = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="metrics of another run, a column of their own; may be repeated")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="field of the protocol that may differ, such as region.resolution")
    ] = None,
) -> None:
    """The results as tables: base against tuned, the annotator, the registered version.

    With --beside, tuned models of several runs. Results of different
    protocols are refused: the error names the field.
    """
    from umgclip.cli.report import markdown, show_beside, show_results

    if beside:
        show_beside(metrics, beside, allow or [])
    elif short:
        typer.echo(markdown(metrics))
    else:
        show_results(metrics, registration)


def predict(
    images: Annotated[list[Path], typer.Argument(help="image files, or folders of them")],
    labels: Annotated[list[str], typer.Option("--labels", help="names parted by commas, or @FILE with one a line")],
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@ALIAS or models:/NAME/VERSION, or a folder")
    ] = "artifacts",
    boxes: Annotated[
        Path | None, typer.Option(help='JSON: {"photo.jpg": [[x0, y0, x1, y1], ...]} in pixels; else whole images')
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="file for the JSON lines; else they go to stdout")] = None,
    top: Annotated[int, typer.Option(min=1, help="labels told of each image or box, the best first")] = 5,
    as_table: Annotated[bool, typer.Option("--table", help="a table instead of JSON lines")] = False,
) -> None:
    """Which labels fit photographs, or boxes in them.

    One JSON line an image: {"image": ..., "labels": [{"label": ..., "score":
    ...}, ...]}, or "boxes" with the labels of each; "error" where it cannot be
    read, and then the exit code is 3.

    Example: umgclip predict photos --labels "robin,wren" --model models:/birds@champion
    """
    from umgclip.cli import predicting, session
    from umgclip.errors import DataError

    query = predicting.LabelQuery(predicting.read_labels(labels), predicting.read_boxes(boxes), top)
    paths = predicting.find_images(images)
    predicting.require_no_image(out, paths)
    query.check(paths)
    import umgclip

    loaded = umgclip.load(model)
    with session.untracked("predict") as opened:
        answered = predicting.answers(loaded, paths, query, opened.counter(len(paths)))
        failed = predicting.write(answered, out, as_table=as_table)
    if failed:
        raise DataError(f"{failed} of {len(paths)} images could not be answered; their lines say why in `error`")


def export(
    to: Annotated[str, typer.Option("--to", help="open_clip, peft or onnx")],
    model: Annotated[
        str | None, typer.Option("--model", help="models:/NAME@ALIAS, or a folder, instead of --base and --adapter")
    ] = None,
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    out: Annotated[Path | None, typer.Option("--out", help="the folder to make; artifacts/export/FORMAT")] = None,
    params: Params = PARAMS,
) -> None:
    """The tuned model for other tools: merged open_clip weights, the peft adapter, or ONNX graphs.

    How images and labels reach the model goes with it, as
    umgclip_preprocess.json: the prompt and what is read of a box are those of
    the section register, or of the version that --model names.

    Without --model it is what the stages base and train wrote. With it, a
    version of the registry or any folder that umgclip.load takes.
    """
    from umgclip.cli import session

    formats = ("open_clip", "peft", "onnx")
    if to not in formats:
        raise InputError(f"--to: expected one of {', '.join(formats)}, got {to!r}")
    folder = out or ARTIFACTS / "export" / to
    reads = (base, adapter) if model is None else () if model.startswith("models:/") else (Path(model),)
    session.check_output(folder, reads)
    from umgclip.cli import exporting

    if model is not None:
        with session.only_writer(folder):
            summary = exporting.export(model, None, to, folder)  # type: ignore[arg-type]
        session.show(summary)
        return
    from umgclip.params import RegisterParams, load_section

    register = load_section(params, RegisterParams) if params.is_file() else None
    with session.only_writer(folder):
        summary = exporting.export(base, adapter, to, folder, register)  # type: ignore[arg-type]
    session.show(summary)
