"""Commands that work with a finished model: `promote`, `rollback`, `report`, `predict`, `export`; and `sync`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umgclip.cli.options import ARTIFACTS, METRICS, PARAMS, Adapter, Base, DryRun, Params
from umgclip.errors import InputError


def promote(
    version: Annotated[
        str | None, typer.Argument(help="number or alias of the version; default: the challenger")
    ] = None,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="promote even if the gates fail; requires --reason")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="why the gates are overridden; stored with the version")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Make a version the champion, the one that is served, if it passes its gates.

    The challenger is the version that `umgclip register` made last. The gates
    are `register.gates` in params.yaml: minimum values, the largest allowed
    loss against the champion, the mean gain and the time to answer. Numbers
    are compared only if benchmark and protocol are the same as the
    champion's; a gate that the benchmark cannot measure is skipped. The old
    champion becomes `previous_champion`, and `umgclip rollback` restores it.

    Try it first with `umgclip promote --dry-run`. A version that was rolled
    back is promoted only by its number, as in `umgclip promote 3`. With
    --force --reason TEXT the version is promoted even if gates fail; who did
    it, when and why become tags of the version.

    Exit code 0: it is the champion (with --dry-run: it would be). 7: the gates
    keep the old champion. 2: no such version. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion
    from umgclip.register.force import Force

    promotion.promote(section, version, dry_run=dry_run, force=Force.from_options(force, reason))


def rollback(dry_run: DryRun = False, params: Params = PARAMS) -> None:
    """Make `previous_champion` the champion again, without checking the gates.

    The two swap aliases, so a second rollback undoes the first. The version
    that is replaced is marked: running the pipeline again does not promote
    it, only `umgclip promote` with its number does.

    Exit code 0: the alias moved (with --dry-run: it would). 7: there is no
    previous champion. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion

    promotion.rollback(section, dry_run=dry_run)


def sync() -> None:
    """Send MLflow the data that it missed while it was unreachable.

    Metrics, tags, files and the final status of runs are queued in
    .umgclip/spool (or UMGCLIP_SPOOL). The next stage that runs here sends
    them as well. A run whose process died gets the status KILLED.

    Exit code 0: the queue is empty. 6: something is still queued; the message
    names it.
    """
    from umgclip.cli import session, syncing

    session.show(syncing.sync(Path.cwd()))


def report(
    metrics: Annotated[Path, typer.Option(help="metrics file that evaluate wrote")] = METRICS / "evaluate.json",
    registration: Annotated[Path, typer.Option(help="report that register wrote")] = ARTIFACTS
    / "register"
    / "register.json",
    short: Annotated[bool, typer.Option("--markdown", help="print the README's short Markdown table instead")] = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="metrics file of another run, shown as another column; repeatable")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="with --beside: protocol field that may differ, such as region.resolution; repeatable"),
    ] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="show results that papers published, beside ours if the protocol is the same"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --published: print JSON instead of tables")] = False,
) -> None:
    """Show the results as tables: base against tuned, the annotator, the registered version.

    With --beside the tables compare the tuned models of several runs. Results
    that were measured by different protocols are refused; the error names the
    field that differs. With --published, published results by the same
    protocol are in one table with ours, all others in a table of their own.
    """
    from umgclip.cli.report import markdown, show_beside, show_results
    from umgclip.errors import InputError

    if as_json and not published:
        raise InputError("expected --json with --published, got it alone")
    if published:
        from umgclip.cli.published import published_json, show_published

        if as_json:
            typer.echo(published_json(metrics))
        else:
            show_published(metrics)
    elif beside:
        show_beside(metrics, beside, allow or [])
    elif short:
        typer.echo(markdown(metrics))
    else:
        show_results(metrics, registration)


def predict(
    images: Annotated[list[Path], typer.Argument(help="image files, or folders of them")],
    labels: Annotated[
        list[str], typer.Option("--labels", help="names separated by commas, or @FILE with one name per line")
    ],
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder")
    ] = "artifacts",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help='JSON file of boxes, {"photo.jpg": [\\[x0, y0, x1, y1], ...]} in pixels; images that it does not '
            "name are classified as a whole"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="file for the JSON lines; default: stdout")] = None,
    top: Annotated[int, typer.Option(min=1, help="number of labels per image or box, best first")] = 5,
    as_table: Annotated[bool, typer.Option("--table", help="print a table instead of JSON lines")] = False,
) -> None:
    """Rank labels for photographs, or for boxes in them.

    Print one JSON line per image: {"image": ..., "labels": [{"label": ...,
    "score": ...}, ...]}, or "boxes" with the labels of each box. An image that
    cannot be read gets "error" instead, and the exit code is 3.

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
        raise DataError(f"{failed} of {len(paths)} images could not be classified; the field `error` says why")


def export(
    to: Annotated[str, typer.Option("--to", help="format: open_clip, peft or onnx")],
    model: Annotated[
        str | None, typer.Option("--model", help="models:/NAME@ALIAS or a folder, instead of --base and --adapter")
    ] = None,
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to create; default: artifacts/export/FORMAT")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Export the tuned model for other tools: merged open_clip weights, a peft adapter, or ONNX graphs.

    The file umgclip_preprocess.json in the folder describes how images and
    labels are prepared. The prompt and the part of a box that is read come
    from the section register, or from the version that --model names.

    Without --model the command exports the results of the stages base and
    train. --model takes a version of the registry, or any folder that
    umgclip.load takes.
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
