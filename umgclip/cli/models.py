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
    short: Annotated[bool, typer.Option("--markdown", help="print the README's Markdown lines instead")] = False,
    complete: Annotated[
        bool, typer.Option("--all", help="show every metric with its interval, and the registered version")
    ] = False,
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
) -> None:
    """Show the results: base against tuned, and how good the annotator is.

    The table is the README's. With --all it has every metric of every
    benchmark. With --beside the tables compare the tuned models of several
    runs. Results that were measured by different protocols are refused; the
    error names the field that differs. With --published, published results by
    the same protocol are in one table with ours, all others in a table of
    their own.

    Example: umgclip report --all
    """
    from umgclip.cli import terminal
    from umgclip.cli.report import document, evaluated, markdown, show_beside, show_main, show_results

    if published:
        from umgclip.cli.published import show_published

        show_published(metrics)
    elif beside:
        show_beside(metrics, beside, allow or [])
    elif short:
        terminal.write(markdown(metrics), document(evaluated(metrics), registration))
    elif complete:
        show_results(metrics, registration)
    else:
        show_main(metrics, registration, ARTIFACTS / "evaluate" / "report.html")


def predict(
    images: Annotated[list[Path], typer.Argument(help="image files, or folders of them")],
    labels: Annotated[
        list[str] | None, typer.Option("--labels", help="names separated by commas, or @FILE with one name per line")
    ] = None,
    labels_file: Annotated[
        Path | None, typer.Option("--labels-file", help="file with one name per line; names may hold commas")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder")
    ] = "artifacts",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help='JSON file of boxes, {"photo.jpg": [\\[x0, y0, x1, y1], ...]} in pixels, or a COCO file; images that '
            "it does not name are classified as a whole, or with --out FOLDER get proposals"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="folder for detections, or a file such as x.jsonl for JSON lines; default: stdout"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="with --out FOLDER: least confidence of a detection")
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(help="with --out FOLDER: what else may be in the pictures, names separated by commas"),
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="with --out FOLDER: write no annotated pictures")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="number of labels per image or box, best first")] = 5,
    as_table: Annotated[bool, typer.Option("--table", help="print a table instead of JSON lines")] = False,
) -> None:
    """Rank labels for photographs or boxes, or find things by name: --out FOLDER.

    Print one JSON line per image: {"image": ..., "labels": [{"label": ...,
    "score": ...}, ...]}, or "boxes" with the labels of each box. An image that
    cannot be read gets "error" instead, and the exit code is 3.

    With --out FOLDER the labels are looked for in the pictures: FOLDER gets
    index.html, annotated pictures, predictions.json (COCO with scores and
    masks) and predictions.jsonl. The same command again goes on where it was
    stopped, and takes new images in. Images that cannot be read are listed in
    quarantine.jsonl, and the exit code is 3.

    Example: umgclip predict photos --labels "robin,wren" --model models:/birds@champion
    """
    from umgclip.cli import predicting, session
    from umgclip.errors import DataError

    names = predicting.read_labels(labels or [], labels_file)
    given = predicting.read_boxes(boxes, images)
    if out is not None and predicting.is_folder(out):
        from umgclip.cli import detecting

        if as_table:
            raise InputError("--table: expected without --out FOLDER, which writes a page")
        words = predicting.read_background(background or [])
        options = detecting.FolderOptions(out, threshold, words, not no_pictures)
        detecting.predict(model, images, names, given, options)
        return
    unused = {"--threshold": threshold is not None, "--background": background, "--no-pictures": no_pictures}
    for option, is_given in unused.items():
        if is_given:
            raise InputError(f"{option}: expected with --out FOLDER, which looks for things in the pictures")
    query = predicting.LabelQuery(names, given, top)
    paths, others = predicting.find_images(images, out)
    predicting.require_no_image(out, paths)
    query.check(paths)
    predicting.tell_others(others)
    import umgclip

    loaded = umgclip.load(model)
    predicting.warn_of_drawings(loaded)
    with session.untracked("predict") as opened:
        answered = predicting.answers(loaded, paths, query, opened.counter(len(paths)))
        failed = predicting.write(answered, out, as_table=as_table)
    if failed:
        raise DataError(f"{failed} of {len(paths)} images could not be classified; the field `error` says why")


def export(
    to: Annotated[str, typer.Option("--to", help="format: open_clip, transformers, peft or onnx")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="models:/NAME@ALIAS, hf-hub:USER/NAME or a folder, instead of --base and --adapter"
        ),
    ] = None,
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to create; default: artifacts/export/FORMAT")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Export the tuned model for open_clip, transformers, peft or ONNX.

    open_clip and transformers get merged weights, peft the adapter alone, and
    ONNX an image and a text graph. transformers has classes for ViTs of
    open_clip and for SigLIP; other towers are refused by name.

    The file umgclip_preprocess.json in the folder describes how images and
    labels are prepared. The prompt and the part of a box that is read come
    from the section register, or from the version that --model names.

    Without --model the command exports the results of the stages base and
    train. --model takes a version of the registry, or any folder that
    umgclip.load takes.
    """
    from umgclip.cli import session
    from umgclip.io.atomic import MODEL, is_kind

    formats = ("open_clip", "transformers", "peft", "onnx")
    if to not in formats:
        raise InputError(f"--to: expected one of {', '.join(formats)}, got {to!r}")
    folder = out or ARTIFACTS / "export" / to
    reads = (base, adapter) if model is None else () if model.startswith(("models:/", "hf-hub:")) else (Path(model),)
    session.check_output(folder, reads, is_kind(MODEL))
    from umgclip.cli import exporting

    if model is not None:
        with session.only_writer(folder):
            summary = exporting.export(model, None, to, folder)  # type: ignore[arg-type]
        session.show(summary, out=folder)
        return
    from umgclip.params import RegisterParams, load_section

    register = load_section(params, RegisterParams) if params.is_file() else None
    with session.only_writer(folder):
        summary = exporting.export(base, adapter, to, folder, register)  # type: ignore[arg-type]
    session.show(summary, out=folder)
