"""A data engine: rounds of annotate, validate, train and evaluate, in which the student of a round teaches the next.

The first round is the pipeline as it is. Before each further one, the tuned model is copied to `teacher/`, which DVC
tracks, and annotates beside the base. The rounds end when a student is no better than the one before on training
images that no student sees. Run it from a checkout with `python -m flows.engine --rounds 2`.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from umgclip.cli import exits
from umgclip.cli.project import followed
from umgclip.errors import DataError, InputError
from umgclip.flows import runtime
from umgclip.flows.dvc.failures import explain
from umgclip.flows.dvc.graph import Graph, read_graph
from umgclip.flows.dvc.overrides import edited, overridden, read_assignments
from umgclip.flows.dvc.process import CommandSettings
from umgclip.flows.dvc.process import run as run_command
from umgclip.flows.dvc.workspace import PARAMS, Workspace, environment, git
from umgclip.flows.execution import execute, flow_tags
from umgclip.flows.light import flow
from umgclip.flows.plan import RunRequest, WorkspaceKind, make_plan, opened
from umgclip.flows.rounds import (
    STATE,
    Asked,
    Round,
    State,
    judge,
    measures_of,
    read_probe,
    read_state,
    report,
    rescued,
    rows,
    write_state,
)
from umgclip.io.atomic import write_bytes, write_json
from umgclip.io.locks import only_writer
from umgclip.io.manifest import read_manifest
from umgclip.params import AnnotateParams, parse_sections, read_params
from umgclip.register.gates import flatten_metrics
from umgclip.tracking import PARENT_RUN, Run, stage_run
from umgclip.tracking import environment as variables

TARGET = "evaluate"
TEACHER = "teacher"
REPORT = Path("artifacts") / "rounds.json"
TRAINING = Path("data") / "train"
PROBE = ("-m", "umgclip", "probe")
_PIPELINE, _LOCK, _POINTER = "dvc.yaml", "dvc.lock", f"{TEACHER}.dvc"
_STUDENT = Path("artifacts") / "train"
_PROBED = Path(".umgclip") / "probe.json"
_REGIONS = Path(".umgclip") / "probe_regions.json"  # those of the first round, by which all rounds are measured
_METRICS = Path("metrics") / "evaluate.json"


@flow(name="engine", persist_result=False)
def engine(
    rounds: int = 2,
    leave_out: int = 200,
    min_gain: float = 0.0,
    overrides: dict[str, Any] | None = None,
    restart: bool = False,
    workspace: WorkspaceKind = "here",
) -> dict[str, Any]:
    """Run rounds of annotate, validate, train and evaluate while the gate lets them pass, and return the report.

    The workspace then has the files and parameters of the best round, which is an experiment of DVC as all others
    are. A killed run continues after its last finished
    round when it is started again with the same arguments.

    Args:
        rounds: most rounds.
        leave_out: training images that no student sees; the gate measures the students on them.
        min_gain: least mean gain on them that lets the next round begin.
        overrides: values of single parameters for all rounds, as {"train.steps": 300}.
        restart: forget the rounds of a killed run, and put back the files that were there before it.
        workspace: here, or a clone of the commit; the experiments of a clone are those of the checkout as well.
    """
    if rounds < 1 or leave_out < 1:
        raise InputError(f"expected at least 1 round and 1 image to leave out, got {rounds} and {leave_out}")
    if not math.isfinite(min_gain):
        raise InputError(f"--min-gain: expected a finite number, got {min_gain}")
    with (
        opened(workspace, "engine", rounds, leave_out, min_gain, overrides or {}) as (source, root),
        only_writer(root / STATE, "flows.engine"),
    ):
        asked = Asked(
            commit=git(root, "rev-parse", "HEAD"), rounds=rounds, leave_out=leave_out, min_gain=min_gain,
            overrides=dict(overrides or {}),
        )  # fmt: skip
        state = _begun(source, root, asked, restart)
        tags = flow_tags() | {"umgclip.engine": state.name}
        with stage_run("engine", asked.model_dump(), root=source, tags=tags) as run:
            there = _There(source, root, run)
            while state.stopped_by is None:
                state = _in_flow(len(state.rounds) + 1, partial(_next_round, there, state))
                write_state(root, state)
            return _end(there, state)


@dataclass(frozen=True)
class _There:
    """The checkout, the folder in which stages run, and the engine's run in MLflow."""

    source: Path
    root: Path
    run: Run

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root, environment(self.root, self.source, self.run.run_id))


def _begun(source: Path, root: Path, asked: Asked, restart: bool) -> State:
    """Return the state of a killed run that was asked for the same, or of a new one.

    Raises:
        InputError: a run that was killed was asked for something else, or too many images are to be left out.
        DataError: the state of a killed run is damaged, and `restart` was not asked.
    """
    graph = read_graph(root, environment(root, source))
    state = None if restart else read_state(root)
    _require_enough(root, asked.leave_out)
    if restart:
        _forget(root, _files(graph))
    if state is None:
        overridden(root / PARAMS, asked.overrides)  # wrong keys end the run before it begins
        state = State(name=f"rounds-{uuid.uuid4().hex[:6]}", asked=asked, start=_texts(root, _files(graph)))
        (root / _REGIONS).unlink(missing_ok=True)
        write_state(root, state)
    elif state.asked != asked:
        raise InputError(
            f"a run of the engine was killed here after {len(state.rounds)} rounds; expected its arguments again "
            f"({state.asked.model_dump_json()}), got {asked.model_dump_json()}; to forget it, start with --restart"
        )
    else:
        runtime.log().info("%s continues after round %d", state.name, len(state.rounds))
    return state


def _require_enough(root: Path, leave_out: int) -> None:
    """Compare the images to put aside with the training images, where these are here already."""
    try:
        images = read_manifest(root / TRAINING).samples
    except DataError:  # DVC may still fetch it; `validate` counts again
        return
    if leave_out > images // 2:
        raise InputError(
            f"--leave-out: expected at most {images // 2}, half of the {images} training images, got {leave_out}"
        )


def _forget(root: Path, names: Iterable[str]) -> None:
    """Put the files back that were there before a killed run, as far as its state can be read; say what stays."""
    try:
        old = read_state(root)
        start = {} if old is None else old.start
    except DataError as error:
        known = set(names)
        start = {name: text for name, text in rescued(root).items() if name in known}
        left = ", ".join(sorted(known - set(start))) or "none"
        runtime.log().warning(
            "%s\nforgotten; put back: %s; not put back, since the state does not hold them (`git restore` does): %s",
            error, ", ".join(sorted(start)) or "none", left,
        )  # fmt: skip
    _put_back(root, start)


def _in_flow(number: int, work: Callable[[], State]) -> State:
    """Do a round as a Prefect flow below the engine's or, without a flow run, in plain Python."""
    if not runtime.running():
        return work()
    from prefect import flow as prefect_flow

    @prefect_flow(name="round", flow_run_name=f"round-{number}", persist_result=False)
    def one_round() -> State:
        return work()

    return one_round()


def _next_round(there: _There, state: State) -> State:
    """Do the next round under the engine's run, and return the state with it."""
    number, root, run = len(state.rounds) + 1, there.root, there.run
    teacher = _prepare(there.workspace, state)
    plan = make_plan(there.source, root, RunRequest(TARGET))
    with variables({PARENT_RUN: run.run_id}):
        done = execute(plan, f"round {number}", {"umgclip.round": str(number), "umgclip.engine": state.name})
    probed = _probe(there.workspace)
    scores, guards = probed.pop("scores"), probed.pop("guards")
    experiment = f"{state.name}-{number}"
    _save(there.workspace, experiment)
    finished = Round(
        number=number,
        teacher=teacher,
        files=_texts(root, _files(plan.graph)),
        measures=_measures(root),
        slice=probed,
        scores=scores,
        guards=guards,
        verdict=judge(scores, guards, state.best, state.asked.min_gain),
        experiment=experiment,
        mlflow_run=done["mlflow_run"],
    )
    numbers = {**finished.measures, **{f"slice.{name}": value for name, value in probed.items()}}
    run.log_metrics({_metric(name): value for name, value in numbers.items() if value is not None}, number)
    runtime.log().info("round %d: %s", number, finished.verdict.reason)
    return state.model_copy(update={"rounds": (*state.rounds, finished)})


def _prepare(workspace: Workspace, state: State) -> bool:
    """Write the parameters of the next round, and from the second on its teacher; return whether it has a teacher."""
    root, best = workspace.root, state.best
    changes = {**state.asked.overrides, "validate.leave_out": state.asked.leave_out}
    if best is None:
        _put_back(root, state.start)
    else:
        _put_back(root, best.files)
        workspace.dvc("checkout", "--quiet", "--force", "train")  # a killed attempt may have replaced the student
        _copy(root / _STUDENT, root / TEACHER)
        workspace.dvc("add", "--quiet", TEACHER)
        changes["annotate.teacher"] = TEACHER
        _put_back(root, {name: state.start[name] for name in (PARAMS, _PIPELINE)})
    write_bytes(root / PARAMS, edited(root / PARAMS, changes).encode())
    sections = parse_sections(read_params(root / PARAMS), root / PARAMS)
    followed.follow(root / _PIPELINE, sections)
    annotate = sections["annotate"]
    return isinstance(annotate, AnnotateParams) and annotate.teacher is not None


def _copy(student: Path, teacher: Path) -> None:
    shutil.rmtree(teacher, ignore_errors=True)
    shutil.copytree(student, teacher)


def _probe(workspace: Workspace) -> dict[str, Any]:
    """Measure the student on the images put aside, in a process of its own.

    Raises:
        StageFailed: the measurement failed.
    """
    settings = CommandSettings(workspace.root, workspace.environment)
    done = run_command(
        [sys.executable, *PROBE, "--out", str(_PROBED), "--regions", str(_REGIONS)], settings, runtime.log().info
    )
    if done.code != 0:
        raise explain("umgclip probe", done)
    return read_probe(workspace.root / _PROBED)


def _save(workspace: Workspace, name: str) -> None:
    """Make an experiment of DVC out of the workspace."""
    untracked = ["--include-untracked", _POINTER] if (workspace.root / _POINTER).is_file() else []
    workspace.dvc("exp", "save", "--quiet", "--force", "--name", name, *untracked)


def _end(there: _There, state: State) -> dict[str, Any]:
    """Give the workspace the best round's files, show and write the report, and forget the state."""
    root, run, best, content = there.root, there.run, state.best, report(state)
    if best is not None and best is not state.rounds[-1]:
        _put_back(root, best.files)
        there.workspace.dvc("checkout", "--quiet", "--force")
    if not (root / _POINTER).is_file():
        shutil.rmtree(root / TEACHER, ignore_errors=True)
    write_json(there.source / REPORT, content)
    run.log_artifact(there.source / REPORT)
    run.set_tags({"umgclip.stopped_by": content["stopped_by"], "umgclip.best_round": str(content["workspace"])})
    runtime.table("umgclip-rounds", rows(state.rounds), f"Rounds of {state.name}")
    text = f"* stopped by: {content['stopped_by']}\n* the workspace has round {content['workspace']}"
    runtime.markdown("umgclip-rounds-end", text, "Rounds")
    if root != there.source:
        git(root, "push", "--quiet", "--force", str(there.source), "refs/exps/*:refs/exps/*")
        runtime.log().info("to adopt the best round: dvc exp apply %s", best.experiment if best else "")
    (root / _REGIONS).unlink(missing_ok=True)
    (root / STATE).unlink()
    return content | {"engine_run": run.run_id}


def _measures(root: Path) -> dict[str, float]:
    path = root / _METRICS
    return measures_of(flatten_metrics(json.loads(path.read_text(encoding="utf-8")))) if path.is_file() else {}


def _metric(name: str) -> str:
    """Return a name that MLflow takes."""
    return "".join(letter if letter.isalnum() or letter in "._/ -" else "_" for letter in name)


def _files(graph: Graph) -> list[str]:
    """Return the paths of the small files that describe a round: git tracks them, and DVC finds the rest by them."""
    written = [path for stage in graph.stages for path in stage.kept_by_git]
    return sorted({PARAMS, _PIPELINE, _LOCK, _POINTER, *written})


def _texts(root: Path, names: Iterable[str]) -> dict[str, str | None]:
    paths = {name: root / name for name in names}
    return {name: path.read_text(encoding="utf-8") if path.is_file() else None for name, path in paths.items()}


def _put_back(root: Path, texts: Mapping[str, str | None]) -> None:
    """Write files as they were; those that were not there are removed."""
    for name, text in texts.items():
        if text is None:
            (root / name).unlink(missing_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(root / name, text.encode())


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    rounds: Annotated[int, typer.Option(help="most rounds")] = 2,
    leave_out: Annotated[int, typer.Option(help="training images that no student sees, at most half of them")] = 200,
    min_gain: Annotated[float, typer.Option(help="least mean gain on them that lets the next round begin")] = 0.0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="override a parameter, as train.steps=300; may be repeated")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="forget the rounds of a killed run")] = False,
    in_clone: Annotated[
        bool, typer.Option("--clone", help="run in a clone of the commit instead of this checkout")
    ] = False,
) -> None:
    """Annotate and tune in rounds, each taught by the one before, while that helps."""
    workspace: WorkspaceKind = "clone" if in_clone else "here"
    runtime.start(engine, rounds, leave_out, min_gain, read_assignments(overrides or []), restart, workspace)


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.engine")


if __name__ == "__main__":
    sys.exit(main())
