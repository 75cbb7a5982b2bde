"""The model card: intended use, limits, data, training and scores of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umgclip.data.image_sources import data_sources
from umgclip.inference.interface import FIELDS
from umgclip.params import RegisterParams
from umgclip.register.gates import Decision, Evidence
from umgclip.register.identity import Identity

_CARD = """# {name}

A CLIP (Radford et al., ICML 2021) tuned with LoRA adapters so that one forward gives embeddings of the whole image,
of boxes and of pixels, all comparable with text, after UMG-CLIP (Shi et al., ECCV 2024).

## Intended use

Ranking texts for images and regions, retrieval, tagging, open-vocabulary labelling of given boxes or masks. Research
and demonstration of the pipeline that made it.

A request is one image (JPEG, PNG or WebP; bytes or base64) with any of the fields {fields}.
Labels are put into the prompt `{template}`, where {{}} is the label and {{a}} its article. Tags come from {concepts}
registered concepts unless a request brings its own. Of a box the middle is read, {box_share:g} of each side.

## Limits

- It knows what its base and its training data show. A model trained on the composed demo scenes knows those sprites
  and says nothing useful about photographs.
- Region and pixel labels in training were written by models, not people, and hold mistakes.
- Scores are a softmax over the labels asked for, tags over the vocabulary: some text always wins, also when none
  fits. A model trained with sigmoids (SigLIP) scores every text alone. Scores are not calibrated.
- Regions are read from the patch grid; what is smaller than a patch is read together with what surrounds it.
- Images are squeezed to a square; very long ones lose detail. Only short English texts were seen.
- The numbers below come from one benchmark, which may be small, and say nothing about other kinds of images. What
  biases base and data hold was not measured.
- Not for deciding about people, and not where a wrong label does harm.

## Data and licences

{data}

A model made from share-alike data (CC BY-SA 4.0: the OpenMoji pictures of the demo data, credit "OpenMoji, the
open-source emoji and icon project") is best passed on with that credit and under the same terms. The base's own
licence applies as well.

## Base and training

Base: {base}.

{training}

## Numbers

Benchmark `{benchmark}`, shares of 1, base and tuned model by the same protocol.

{numbers}

## Protocols

{protocols}

## Gates

{gates}

## Identity

| what | hash |
|---|---|
{identity}
"""


@dataclass(frozen=True)
class CardFacts:
    """The facts about a model that its card states.

    Attributes:
        identity: hashes of the model and its data.
        evidence: metrics of base and tuned model.
        decision: decision of the gates.
        data: folder with the datasets `train` and `benchmark`.
        base: content of `base.json`.
        training: content of `train.json`.
        settings: settings of the evaluation.
        protocols: a description in words of how each benchmark is measured; may be empty.
        concepts: number of concepts registered for tags.
    """

    identity: Identity
    evidence: Evidence
    decision: Decision
    data: Path
    base: Mapping[str, Any]
    training: Mapping[str, Any]
    settings: Mapping[str, Any]
    protocols: Mapping[str, str]
    concepts: int


def model_card(params: RegisterParams, facts: CardFacts) -> str:
    """Write the model card as Markdown.

    Args:
        params: the section `register`.
        facts: facts to state.

    Raises:
        DataError: a dataset is damaged.
    """
    return _CARD.format(
        name=params.name,
        fields=", ".join(f"`{name}`" for name in FIELDS[1:]),
        template=params.template,
        box_share=params.box_share,
        concepts=facts.concepts or "no",
        data="\n".join(
            [*(_describe(facts.data / part, part) for part in ("train", "benchmark")), *_datasets(facts.training)]
        ),
        base=_base(facts.base),
        training=_pairs("parameter of the training", _leaves(facts.training.get("params", {}))),
        benchmark=facts.identity.benchmark_digest[:12],
        numbers=_numbers(facts.evidence.base, facts.evidence.tuned),
        protocols=_protocols(facts),
        gates=_gates(facts.decision),
        identity="\n".join(f"| {name} | `{value}` |" for name, value in vars(facts.identity).items()),
    )


def _base(report: Mapping[str, Any]) -> str:
    model, pretrained = report.get("model", "unknown"), report.get("pretrained", "unknown")
    if pretrained == "scratch":
        return "a small CLIP that this pipeline trained from random weights on the training images and their alt texts"
    return f"open_clip's `{model}` with the weights `{pretrained}`"


def _describe(folder: Path, name: str) -> str:
    """List the sources and licences of a dataset."""
    sources = data_sources(folder)
    listed = "; ".join(f"{dataset}: {licence}" for dataset, licence in sorted(sources.counts))
    return f"- {name}: {sources.images} images. In the {sources.counts.total()} records looked at: {listed}."


def _datasets(training: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each dataset that a mixture was trained on."""
    for name, one in training.get("datasets", {}).items():
        yield (
            f"- trained on {name}: {one['shown']} images shown of {one['images']}, weight {one['weight']:g}, "
            f"annotations {one['digest'][:12]}"
        )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _pairs(what: str, rows: Iterator[tuple[str, Any]]) -> str:
    lines = ["| {} | `{}` |".format(name, str(value).replace("|", "\\|")) for name, value in rows]
    return "\n".join([f"| {what} | value |", "|---|---|", *lines]) if lines else "Nothing was recorded."


def _numbers(base: Mapping[str, float], tuned: Mapping[str, float]) -> str:
    rows = [f"| {name} | {_cell(base.get(name))} | {_cell(tuned.get(name))} |" for name in sorted({*base, *tuned})]
    return "\n".join(["| metric | base | tuned |", "|---|---|---|", *rows])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _protocols(facts: CardFacts) -> str:
    """Describe the protocols of the benchmarks that were measured, and the settings of the evaluation."""
    measured = {metric.partition(".")[0] for metric in facts.evidence.tuned}
    described = "\n".join(f"- {name}: {text}" for name, text in facts.protocols.items() if name in measured)
    settings = _pairs("setting of the evaluation", _leaves(facts.settings))
    return "\n\n".join(part for part in (described, settings) if part)


def _gates(decision: Decision) -> str:
    """Describe the decision at registration; the version's tag `umgclip.gates` holds the latest one."""
    rows = [
        f"| {check.gate} | {check.metric} | {check.expected} | {check.measured} | {check.holds} |"
        for check in decision.checks
    ]
    table = ["", "| gate | of | expected | got | holds |", "|---|---|---|---|---|", *rows] if rows else []
    if decision.forced:
        verdict = "It was made champion without them"
    else:
        verdict = f"It {'passed them' if decision.promote else 'did not pass them'} when it was registered"
    return "\n".join([f"{verdict}: {decision.reason}.", *table])
