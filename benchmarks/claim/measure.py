"""Run the claim's trainings and evaluations in order of importance, so that an interrupted claim has most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from benchmarks.claim.models import BASE, MULTI_GRAIN, VARIANTS, Variant
from benchmarks.claim.results import Claim, readouts_of, side
from benchmarks.claim.runs import Runs
from umgclip.base import stage as base_stage
from umgclip.params import BaseParams, ReadoutName

EVERY_READOUT: Mapping[str, Any] = {"readouts": list(get_args(ReadoutName)), "measure_cost": True}


def measure(runs: Runs, seeds: Sequence[int], alphas: Sequence[float], variants: Sequence[Variant] = VARIANTS) -> Claim:
    """Train and evaluate all missing runs, and return the claim.

    Args:
        runs: the stored runs.
        seeds: seeds of the trainings.
        alphas: shares of the way from the base to the multi-grain model.
        variants: ways to train, including the multi-grain one.
    """
    claim = Claim(seeds)
    refined = {"semantic": runs.sections.evaluate.semantic.model_dump() | {"refine": "pamr"}}
    for seed in seeds:
        for variant in variants:
            tuned = runs.train(variant, seed)
            metrics = runs.evaluate(f"{variant.name}-{seed}", tuned, refined)
            claim.models.setdefault(BASE, [side(metrics, "base")])
            claim.models.setdefault(variant.name, []).append(side(metrics, "tuned"))
            if variant.name == MULTI_GRAIN:
                for alpha in alphas:
                    between = runs.between(str(seed), tuned, alpha)
                    metrics_between = runs.evaluate(f"between-{seed}-{alpha}", between)
                    claim.sweep.setdefault(alpha, []).append(side(metrics_between, "tuned"))
                if seed == seeds[0]:
                    claim.readouts = readouts_of(runs.evaluate("readouts", tuned, EVERY_READOUT))
    return claim


def add_foreign(claim: Claim, runs: Runs, model: str, checkpoint: Path) -> None:
    """Evaluate an externally tuned CLIP without training, and add it to the claim.

    Args:
        claim: receives the model under the name of the checkpoint.
        runs: the stored runs, whose benchmark is used.
        model: open_clip's name of the architecture.
        checkpoint: weights with the names of open_clip, EVA-CLIP or Hugging Face.
    """
    folder = runs.work / f"foreign-{checkpoint.stem}"
    params = BaseParams(pretrained=str(checkpoint), model=model)
    base_stage.run(params, base_stage.BaseInputs(runs.inputs.data), folder / "base")
    evaluate = runs.sections.evaluate.model_copy(update={"image_px": None, "crop_px": None})  # the model's own sizes
    foreign = Runs(replace(runs.sections, evaluate=evaluate), replace(runs.inputs, base=folder / "base"), folder)
    itself = foreign.between("itself", folder / "base", 0.0)
    claim.models[checkpoint.stem] = [side(foreign.evaluate("itself", itself), "base")]
