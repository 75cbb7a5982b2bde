"""Run trainings and evaluations once and store them; an interrupted run resumes.

The folder of a run is named after its params and inputs, but not its code: delete the folder to measure new code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claim.models import Variant, interpolate
from benchmarks.claim.truth import write_truth
from umgclip.evaluate import stage as evaluation
from umgclip.io import tables
from umgclip.io.atomic import sha256_file, sha256_json, write_json
from umgclip.io.manifest import read_manifest
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS, WEIGHTS
from umgclip.params import AnnotateParams, DataParams, EvaluateParams, TrainParams
from umgclip.params.section import IMPORTS_ONLY
from umgclip.train import stage as training

_DONE = "done.json"
_NO_EFFECT = {"loader", "device", "checkpoint_every", "compile"}


@dataclass(frozen=True)
class Sections:
    """The sections of `params.yaml` that the claim reads."""

    data: DataParams
    annotate: AnnotateParams
    train: TrainParams
    evaluate: EvaluateParams


@dataclass(frozen=True)
class Inputs:
    """The results of the pipeline: data, base, annotations and quarantine."""

    data: Path
    base: Path
    annotate: Path
    quarantine: Path

    @classmethod
    def of(cls, root: Path) -> Inputs:
        """Return the paths that the pipeline uses in a checkout."""
        artifacts = root / "artifacts"
        return cls(
            root / "data", artifacts / "base", artifacts / "annotate", artifacts / "validate" / "quarantine.parquet"
        )


class Runs:
    """The stored runs of one claim's measurement.

    Args:
        sections: sections of `params.yaml`.
        inputs: paths of the pipeline's results.
        work: folder of the runs.
    """

    def __init__(self, sections: Sections, inputs: Inputs, work: Path) -> None:
        self.sections, self.inputs, self.work = sections, inputs, work

    def train(self, variant: Variant, seed: int) -> Path:
        """Train a variant unless it is stored, and return the folder that the stage `train` wrote."""
        params = variant.params(self.sections.train, seed)
        annotations = self._truth() if variant.true else self.inputs.annotate / "train"
        key = {
            "params": params.model_dump(exclude=_NO_EFFECT),
            "data": read_manifest(annotations).digest(),
            "quarantine": None if variant.true else sha256_file(self.inputs.quarantine),
            "base": self._base(),
        }

        def make(folder: Path) -> None:
            quarantine = self.inputs.quarantine
            if variant.true:  # the quarantine lists the annotator's regions, which this dataset lacks
                quarantine = folder / "quarantine.parquet"
                tables.write_table(quarantine, [], tables.QUARANTINE)
            inputs = training.TrainInputs(
                annotations, quarantine, self.inputs.base, folder / "work", folder / "train.json", folder / "train.csv"
            )
            training.run(params, inputs, folder / "train")  # resumes from a checkpoint in `work`

        return self._once(f"train-{variant.name}-{seed}", key, make) / "train"

    def between(self, name: str, tuned: Path, alpha: float) -> Path:
        """Return the folder of weights interpolated between the base and a tuned model."""
        key = {"base": self._base(), "tuned": sha256_file(tuned / ADAPTER / ADAPTER_WEIGHTS), "alpha": alpha}
        return self._once(f"between-{name}-{alpha}", key, lambda out: interpolate(self.inputs.base, tuned, alpha, out))

    def evaluate(self, name: str, tuned: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Evaluate a tuned model unless it is stored; return the contents of `evaluate.json`, and `cost` if measured.

        Args:
            name: name of the run.
            tuned: folder of the model.
            changes: changes to the section `evaluate`.
        """
        params = EvaluateParams.model_validate(self.sections.evaluate.model_dump() | dict(changes or {}))
        data, annotate = self.inputs.data / "benchmark", self.inputs.annotate
        key = {
            "params": params.model_dump(),
            "base": self._base(),
            "tuned": sha256_file(tuned / ADAPTER / ADAPTER_WEIGHTS),
            "inputs": [read_manifest(each).digest() for each in (data, annotate / "benchmark", annotate / "proposals")],
        }

        def make(folder: Path) -> None:
            inputs = evaluation.EvaluateInputs(
                self.inputs.base, tuned, data, annotate / "benchmark", annotate / "proposals", folder / "evaluate.json"
            )
            evaluation.run(params, inputs, folder / "evaluate")

        folder = self._once(f"evaluate-{name}", key, make)
        metrics = _read(folder / "evaluate.json")
        cost = folder / "evaluate" / "cost.json"
        return metrics | ({"cost": _read(cost)} if cost.is_file() else {})

    def _truth(self) -> Path:
        sections = (self.sections.data, self.sections.annotate)
        key = {
            "data": self.sections.data.decisive(IMPORTS_ONLY),
            "annotated": read_manifest(self.inputs.annotate / "train").digest(),
            "base": self._base(),
        }

        def make(folder: Path) -> None:
            write_truth(self.inputs.annotate, self.inputs.base, sections, folder / "train")

        return self._once("truth", key, make) / "train"

    def _base(self) -> str:
        return sha256_file(self.inputs.base / WEIGHTS)

    def _once(self, name: str, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        folder = self.work / f"{name}-{sha256_json(key)[:12]}"
        if not (folder / _DONE).is_file():
            started = time.monotonic()
            folder.mkdir(parents=True, exist_ok=True)
            make(folder)
            write_json(folder / _DONE, {"key": key, "seconds": round(time.monotonic() - started, 1)})
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        return folder


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
