"""Rounds of the data engine: what is recorded of each, the gate between two of them, and the table of all.

The state is a file beside the checkout's cache. It holds the text of every small file that git tracks and a round
changes, so that a killed run continues after its last finished round, and the best round can be restored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from umgclip.errors import DataError
from umgclip.io.atomic import write_bytes

STATE = Path(".umgclip") / "rounds.json"
_OF_IMAGES = ("scores", "guards")
_LOSS_ERRORS = 2.0  # standard errors of retrieval that a round may lose: as much may be chance
_SHOWN = ("precision", "recall", "box_top1", "mask_top1")  # what fits on a terminal
_MEASURES = {
    "precision": "annotator.precision",
    "recall": "annotator.recall",
    "box_recall": "annotator.box_recall",
    "label_precision": "annotator.label_precision",
    "box_top1": "tuned.region.box_top1",
    "mask_top1": "tuned.region.mask_top1",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Model):
    """The arguments of a run of the engine; a killed run continues only with the same ones."""

    commit: str
    rounds: int
    leave_out: int
    min_gain: float
    overrides: dict[str, Any]


class GateResult(_Model):
    """The decision of the gate after a round, and what it rests on.

    Attributes:
        gain: mean gain of the slice's score over the best round before, image by image; None in the first round.
        error: standard error of that mean.
        retrieval_gain: the same of retrieval, which must not be lost.
        passed: whether the round is better.
        reason: the same in words.
    """

    gain: float | None = None
    error: float | None = None
    retrieval_gain: float | None = None
    passed: bool = True
    reason: str = "the first round"


class Round(_Model):
    """A finished round with its files and its measures.

    Attributes:
        number: 1 for the first.
        teacher: whether a tuned model annotated beside the base.
        files: text of each file that describes the round by its path; null: there is no such file.
        measures: numbers of `metrics/evaluate.json`, by the names of the report; empty without a benchmark.
        slice: `images`, `retrieval`, `tags`, `regions` and `score` of the images that were put aside.
        scores: the score of each of these images.
        guards: the retrieval of each of these images.
        verdict: of the gate.
        experiment: name of the DVC experiment.
        mlflow_run: the run of the round.
    """

    number: int
    teacher: bool
    files: dict[str, str | None]
    measures: dict[str, float]
    slice: dict[str, float | None]
    scores: dict[str, float]
    guards: dict[str, float]
    verdict: GateResult
    experiment: str
    mlflow_run: str


class State(_Model):
    """A run of the engine so far: what was asked, the files before its first round, and its finished rounds."""

    name: str
    asked: Asked
    start: dict[str, str | None]
    rounds: tuple[Round, ...] = ()

    @property
    def best(self) -> Round | None:
        """The last round that the gate let pass; None before the first round has finished."""
        return next((one for one in reversed(self.rounds) if one.verdict.passed), None)

    @property
    def stopped_by(self) -> str | None:
        """Return what ended the rounds, in words; None: another one follows."""
        if self.rounds and not self.rounds[-1].verdict.passed:
            return f"round {self.rounds[-1].number}: {self.rounds[-1].verdict.reason}"
        return f"all {self.asked.rounds} rounds done" if len(self.rounds) >= self.asked.rounds else None


def read_state(root: Path) -> State | None:
    """Return the state of a run that has not ended; None: there is none.

    Raises:
        DataError: the file is not one that the engine wrote.
    """
    path = root / STATE
    if not path.is_file():
        return None
    try:
        return State.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {field}: {first['msg']}; start again with --restart") from error


def rescued(root: Path) -> dict[str, str | None]:
    """Return what a damaged state still holds of the files that were there before its first round."""
    try:
        start = json.loads((root / STATE).read_bytes())["start"]
        return {name: text for name, text in start.items() if text is None or isinstance(text, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def write_state(root: Path, state: State) -> None:
    """Write the state, so that a reader sees the old or the new one."""
    (root / STATE).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(root / STATE, state.model_dump_json().encode())


def read_probe(path: Path) -> dict[str, Any]:
    """Read the report of `umgclip probe`.

    Raises:
        DataError: the file is missing or holds something else, or a score is not finite.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        images = {part: {str(key): float(score) for key, score in content[part].items()} for part in _OF_IMAGES}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected the report of `umgclip probe`, got {type(error).__name__}") from error
    for part, values in images.items():
        wrong = next((key for key, value in values.items() if not math.isfinite(value)), None)
        if wrong is not None:
            raise DataError(f"{path}: {part}.{wrong}: expected a finite number, got {values[wrong]}")
    return content | images


def judge(scores: Mapping[str, float], guards: Mapping[str, float], best: Round | None, min_gain: float) -> GateResult:
    """Compare a round with the best one before it, on the images that both were measured on.

    A round is better if the dense map gains and retrieval loses no more than may be chance.

    Args:
        scores: the score of each image that was put aside, by key.
        guards: the retrieval of each of them.
        best: the round to be better than; None: there is none.
        min_gain: least mean gain of the score that lets the next round begin.

    Raises:
        DataError: the two have no image in common.
    """
    if best is None:
        return GateResult()
    gain, error, images = _gain(scores, best.scores, best.number)
    retrieval, its_error, _ = _gain(guards, best.guards, best.number)
    gained = f"{gain:+.4f} (standard error {error:.4f}) over round {best.number} on {images} images put aside"
    numbers = {"gain": gain, "error": error, "retrieval_gain": retrieval}
    if gain < min_gain:
        reason = f"no gain: {gained}, at least {min_gain:g} was asked"
    elif retrieval < -_LOSS_ERRORS * its_error:
        reason = f"gain {gained}, but retrieval lost {-retrieval:.4f} (standard error {its_error:.4f})"
    else:
        return GateResult(
            **numbers, reason=f"gain {gained}, retrieval {retrieval:+.4f} (standard error {its_error:.4f})"
        )
    return GateResult(**numbers, passed=False, reason=reason)


def _gain(now: Mapping[str, float], before: Mapping[str, float], number: int) -> tuple[float, float, int]:
    """Return the mean gain over the images of both, its standard error, and the number of these images."""
    gains = [score - before[key] for key, score in now.items() if key in before]
    if not gains:
        raise DataError(f"round {number}: expected images that both rounds put aside, got none")
    mean = math.fsum(gains) / len(gains)
    spread = math.fsum((gain - mean) ** 2 for gain in gains) / max(len(gains) - 1, 1)
    return mean, math.sqrt(spread / len(gains)), len(gains)


def measures_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the report's numbers out of flattened metrics of `evaluate`; those without a finite value are missing."""
    values = {name: metrics[key] for name, key in _MEASURES.items() if key in metrics}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Return a row for each round with the same columns, for a table on a terminal."""
    return [
        {
            "round": one.number,
            "teacher": "yes" if one.teacher else "no",
            **{name: _rounded(one.measures.get(name)) for name in _SHOWN},
            "slice": _rounded(one.slice.get("score")),
            "gain": _rounded(one.verdict.gain),
            "gate": "passed" if one.verdict.passed else "closed",
        }
        for one in rounds
    ]


def report(state: State) -> dict[str, Any]:
    """Return the report of a run: every number of each round, what stopped it, and the round the workspace has."""
    best = state.best
    rounds = [
        {
            "round": one.number,
            "teacher": one.teacher,
            **{name: _rounded(one.measures.get(name)) for name in _MEASURES},
            "slice": {name: _rounded(value) for name, value in one.slice.items()},
            "gain": _rounded(one.verdict.gain),
            "gain_error": _rounded(one.verdict.error),
            "retrieval_gain": _rounded(one.verdict.retrieval_gain),
            "passed": one.verdict.passed,
            "reason": one.verdict.reason,
            "experiment": one.experiment,
            "mlflow_run": one.mlflow_run,
        }
        for one in state.rounds
    ]
    workspace = None if best is None else best.number
    return {"name": state.name, "rounds": rounds, "stopped_by": state.stopped_by, "workspace": workspace}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
