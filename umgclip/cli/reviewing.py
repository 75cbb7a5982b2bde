"""Commands of `umgclip review`: images that are worth a look go to a labelling tool, and corrections come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from umgclip.cli.group import Commands
from umgclip.cli.habits import completion
from umgclip.cli.options import Out
from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.review.shown import ShownImages

review_app = typer.Typer(
    cls=Commands, help="Have people look at annotations, in the tools that they have.", no_args_is_help=True
)

_Tool = Literal["label-studio", "fiftyone", "cvat"]
_Vocabulary = Annotated[
    Path | None,
    typer.Option("--vocabulary", help="vocabulary.json with the names to choose from; default: the one above DATASET"),
]


@review_app.command("export")
def export(
    where: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="annotated data set: a folder or s3://BUCKET/PREFIX",
            autocompletion=completion.datasets,
        ),
    ],
    to: Annotated[_Tool, typer.Option("--to", help="tool to write for")],
    out: Out,
    budget: Annotated[int, typer.Option(min=1, help="most images to look at")] = 500,
    by: Annotated[
        Literal["worth", "random"], typer.Option(help="what chooses: what a look is worth, or chance, to compare")
    ] = "worth",
    seed: Annotated[int, typer.Option(help="of the random choice, and of the order of equals")] = 0,
    distance: Annotated[
        int, typer.Option(min=0, max=16, help="bits of 64 within which two images look the same; one of them is chosen")
    ] = 6,
    corrections: Annotated[
        Path | None, typer.Option(help="corrections of earlier imports: their images are left out")
    ] = None,
    image_prefix: Annotated[
        str | None, typer.Option(help="what stands before an image's name in the tool, such as s3://BUCKET/images/")
    ] = None,
    boxes: Annotated[bool, typer.Option("--boxes", help="show boxes alone, no masks")] = False,
    vocabulary: _Vocabulary = None,
) -> None:
    """Choose the images that a look is worth most for, and write them for a labelling tool.

    A look is worth as many annotations as are likely to be wrong or missing:
    labels with a low score or that sources disagree about, things that a
    caption names and no region has, captions that the filter doubts; rare
    names count up to twice. Of images that look the same one is chosen.
    OUT/choice.jsonl has each image with its worth and the reasons, and
    OUT/STEPS.txt says how to go on in the tool.

    Example: umgclip review export artifacts/annotate/train --to label-studio --budget 500 --out review
    """
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.data.corrections import open_corrections
    from umgclip.io.atomic import REVIEW, is_kind
    from umgclip.review.exporting import Wish, run_export

    dataset, manifest = datasets.open_dataset(where)
    reads = [] if where.startswith("s3://") else [Path(where)]
    session.check_output(out, [*reads, *([] if corrections is None else [corrections])], is_kind(REVIEW))
    wish = Wish(to, budget, by, seed, distance, vocabulary, image_prefix, not boxes)
    earlier = open_corrections(corrections, "--corrections")
    with session.only_writer(out), session.untracked("review export") as opened:
        summary = run_export(dataset, manifest, wish, out, earlier, opened.counter(manifest.samples))
    session.show(summary)


@review_app.command("import")
def import_(
    answers: Annotated[
        Path, typer.Argument(metavar="EXPORT", help="what the tool exported, or corrections of another import")
    ],
    out: Annotated[Path, typer.Option("--out", help="folder of corrections, which is made or added to")] = Path(
        "corrections"
    ),
    shown: Annotated[
        Path | None, typer.Option(help="folder that `umgclip review export` wrote; default: the one that EXPORT is in")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="annotated data set instead of --shown, if that is lost; needs --tool")
    ] = None,
    tool: Annotated[_Tool | None, typer.Option(help="tool of EXPORT, for --dataset")] = None,
    looked_at: Annotated[
        Literal["changed", "all"],
        typer.Option(help="images that count as looked at where the tool does not tell: those that differ, or all"),
    ] = "changed",
    asked_for: Annotated[
        list[str] | None,
        typer.Option(
            help="regions, tags, captions or region-captions: a list that people emptied in all images; else one that "
            "no answer has counts as not asked for",
        ),
    ] = None,
    stay_open: Annotated[
        bool, typer.Option("--stay-open", help="models may add labels to images that people looked at")
    ] = False,
    known_names: Annotated[
        bool, typer.Option("--known-names", help="put answers with names of nobody's list into the quarantine")
    ] = False,
    vocabulary: _Vocabulary = None,
) -> None:
    """Read what people corrected, and join it with the corrections in OUT.

    Regions, tags and captions of people come first in the next annotation and
    are not changed by any model, what they removed is not written again, and
    what they left as it was is confirmed. Images that nobody submitted stay as
    they are. Where two people differ the later look wins, and the other is in
    OUT/conflicts.jsonl. What cannot be used is in OUT/quarantine.jsonl.

    Set annotate.corrections to OUT/corrections.jsonl in params.yaml, and run
    `umgclip follow`.

    Example: umgclip review import project-1.json --shown review --out corrections
    """
    from dataclasses import replace

    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.data.corrections import CORRECTIONS
    from umgclip.review.importing import run_import, shown_from, shown_from_dataset
    from umgclip.review.shown import ASKED

    basis: ShownImages | None
    if dataset is not None:
        if tool is None or shown is not None:
            raise InputError("--dataset: expected --tool with it and no --shown, which say what the tool was given")
        with session.untracked("review import"):
            basis = shown_from_dataset(*datasets.open_dataset(dataset), tool, vocabulary)
    else:
        is_ours = answers.name == CORRECTIONS or (answers / CORRECTIONS).is_file()
        basis = None if is_ours else shown_from(answers, shown)
        if basis is None and not is_ours:
            raise InputError(
                f"--shown: expected the folder that `umgclip review export` wrote, since {answers} is in none; or "
                "--dataset with --tool"
            )
    if unknown := [name for name in asked_for or [] if name not in ASKED]:
        raise InputError(f"--asked-for: expected one of {', '.join(ASKED)}, got {unknown[0]!r}")
    if basis is not None:
        basis = replace(basis, asked=frozenset(name for name in ASKED if name in (asked_for or [])))
    with session.only_writer(out):
        summary = run_import(
            answers, basis, out, looked_at, closed=not stay_open,
            new_names=not known_names,
        )  # fmt: skip
    session.show(summary)
