"""The command line of the claim's measurement: `python -m benchmarks.claim --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.claim import document, figure
from benchmarks.claim.measure import add_foreign, measure
from benchmarks.claim.models import ALPHAS, VARIANTS
from benchmarks.claim.results import targets
from benchmarks.claim.runs import Inputs, Runs, Sections
from umgclip.params import AnnotateParams, DataParams, EvaluateParams, TrainParams, load_section

_PARAMS = Path("params.yaml")
_QUICK_STEPS = 10


def main(
    seeds: Annotated[int, typer.Option(min=1, help="number of trainings of each variant")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="quick trial: ten steps, one seed, no page")] = False,
    work: Annotated[Path, typer.Option(help="folder of the runs; existing runs are reused")] = Path("artifacts/claim"),
    out: Annotated[Path, typer.Option(help="folder of claim.md, whose tables are replaced, and of claim.png")] = Path(
        "docs"
    ),
    foreign: Annotated[
        list[str] | None, typer.Option(help="MODEL=CHECKPOINT: an externally tuned CLIP as an additional model")
    ] = None,
) -> None:
    """Measure the claim of the paper on the demo, and write its tables and its figure.

    Reads the results of `dvc repro validate`. Compares the base, a control
    that sees whole images only, multi-grain tuning on pseudo- and on true
    annotations, full fine-tuning, and weights between base and tuned, on
    six benchmarks with all read-outs. It can be interrupted and restarted.
    """
    sections = Sections(
        load_section(_PARAMS, DataParams),
        load_section(_PARAMS, AnnotateParams),
        load_section(_PARAMS, TrainParams),
        load_section(_PARAMS, EvaluateParams),
    )
    alphas: tuple[float, ...] = ALPHAS
    if quick:
        seeds, alphas = 1, (0.5,)
        short = sections.train.model_copy(update={"steps": _QUICK_STEPS, "stages": []})
        sections = Sections(sections.data, sections.annotate, short, sections.evaluate)
    runs = Runs(sections, Inputs.of(Path()), work)
    claim = measure(runs, range(seeds), alphas, VARIANTS)
    for each in foreign or []:
        model, _, checkpoint = each.partition("=")
        add_foreign(claim, runs, model, Path(checkpoint))
    text = document.markdown(claim)
    print(text)
    if not quick:
        document.put(out / "claim.md", text)
        figure.write(out / "claim.png", claim)
    missed = [target.statement for target in targets(claim) if not target.reached]
    print(
        f"\n{len(missed)} of {len(targets(claim))} targets not reached"
        + "".join(f"\n  {statement}" for statement in missed)
    )


if __name__ == "__main__":
    typer.run(main)
