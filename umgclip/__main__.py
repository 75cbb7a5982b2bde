"""The command line `umgclip`: one command per stage, and those for projects, data, models, serving and diagnosis.

Commands import their heavy packages when they run, so that `umgclip --help` is fast.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from umgclip import __version__
from umgclip.cli import exits, models, stages
from umgclip.cli.comparing import compare
from umgclip.cli.data.commands import data_app
from umgclip.cli.group import Umgclip
from umgclip.cli.habits.output import set_level
from umgclip.cli.lines import PlainFormatter
from umgclip.cli.options import PARAMS, Params
from umgclip.cli.project.commands import code, follow, init
from umgclip.cli.project.recipes import recipe_app
from umgclip.cli.pushing_command import push
from umgclip.cli.reviewing import review_app
from umgclip.cli.searching import index, search
from umgclip.cli.serving import serve
from umgclip.process_end import end_process, threads_may_hold_tensors

STAGES = ("base", "annotate", "validate", "train", "evaluate", "register")
# containers made between two garbage collections; with Python's 700, they took a tenth of the time of large imports
_COLLECT_EVERY = 10_000
app = typer.Typer(
    cls=Umgclip,
    help="Annotate images, then train, evaluate and serve a CLIP for images, regions and pixels. `dvc repro` runs the "
    "stages of the pipeline that are out of date.",
    add_completion=False,  # `umgclip.cli.habits.completion` has its own
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    *(init, follow),
    *(
        stages.base,
        stages.annotate,
        stages.validate,
        stages.train,
        stages.evaluate,
        stages.register,
        stages.segment,
        stages.probe,
    ),
    *(models.promote, models.rollback, models.sync, models.report, compare, models.predict, models.export, push, serve),
    *(index, search),
):
    app.command()(command)
app.command(hidden=True)(code)
app.add_typer(data_app, name="data")
app.add_typer(recipe_app, name="recipe")
app.add_typer(review_app, name="review")


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"umgclip {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _set_up(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    set_level()
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # otherwise MLflow logs every table that it creates


@app.command()
def doctor(
    data: Annotated[
        Path | None, typer.Option("--data", help="check these datasets and the parameters instead of the machine")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Check whether this machine can run the pipeline; with --data, check data and parameters instead.

    Without --data, checks software, memory, disk and the servers that are set
    up. With --data, reads every record of DATA/train and DATA/benchmark, and
    names the key of params.yaml to change for each problem.

    Exit code 1 if the pipeline cannot run, or if a stage will certainly fail
    on these data.

    Example: umgclip doctor --data data
    """
    if data is not None:
        from umgclip.cli.doctor import data as doctor_data

        remarks = doctor_data.examine_data(data, params)
        doctor_data.show(remarks)
        raise typer.Exit(1 if any(remark.weight == "stop" for remark in remarks) else 0)
    from umgclip.cli.doctor import machine as checks

    findings = checks.examine(Path.cwd(), params)
    checks.show(findings)
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)


def main() -> None:
    """Run the command line; an error that the user can fix is one message and an exit code, without traceback."""
    gc.set_threshold(_COLLECT_EVERY)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {str(group.name) for group in app.registered_groups}
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    name = f"umgclip {words[0]}" if words and words[0] in names else "umgclip"
    code = 1  # of an error with a traceback

    def end() -> None:
        if threads_may_hold_tensors():
            end_process(code)

    atexit.register(end)  # first, so what the command registers is done before
    code = exits.run(lambda: app(prog_name="umgclip", standalone_mode=False), name)
    sys.exit(code)


if __name__ == "__main__":
    main()
