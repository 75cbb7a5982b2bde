"""Compare CLIPs, tuned here or not, on the truth of a benchmark: no annotations, no adapter, one pass a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from umgclip.errors import DataError
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.evaluate.given_boxes import read_boxes
from umgclip.evaluate.presets import with_preset
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.report.intervals import intervals
from umgclip.evaluate.stage import in_pixels, placed, precision_of, rounded
from umgclip.evaluate.suite import Suite
from umgclip.io.atomic import write_json
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.placement import placement
from umgclip.model.clip.usage import Usage
from umgclip.params import EvaluateParams

_WHOLE = ("squash", "pad")  # regions need the whole image: a model that crops is read by `evaluate.resize`


@dataclass(frozen=True)
class Contender:
    """One of the models to compare.

    Attributes:
        clip: an open_clip model, with its adapter merged in if it has one.
        usage: its own preprocessing, prompt and share of a box; None: those of open_clip's config and the section.
    """

    clip: nn.Module
    usage: Usage | None = None


@dataclass(frozen=True)
class ComparedModels:
    """The metrics of several models on one benchmark.

    Attributes:
        metrics: `{model: {benchmark: {metric: value}}}`, shares of 1, in the order of the models.
        change: `{model: {benchmark: {metric: {low, high}}}}`, 95 % intervals of each further model less the first.
        protocols: `{model: {benchmark: {field: value}}}`, how each number was measured.
        per_class: `{model: {readout: {class: {regions, top1}}}}` of the classes with regions.
    """

    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    change: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
    protocols: Mapping[str, Mapping[str, Mapping[str, Any]]]
    per_class: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int | float]]]]

    def write(self, path: Path) -> None:
        """Write everything into a JSON file.

        Raises:
            OutputError: the file cannot be written.
        """
        parts = ("metrics", "change", "protocols", "per_class")
        write_json(path, {name: getattr(self, name) for name in parts})


def compare(
    params: EvaluateParams,
    benchmark: Path,
    models: Mapping[str, Contender],
    *,
    boxes: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ComparedModels:
    """Measure each model on the same images, and the change from the first to each of the others.

    A model has its own side, prompt, share of a box and way of fitting an image, unless `params` was given others.

    Args:
        params: the section `evaluate`; null sides are each model's own.
        benchmark: an imported dataset with truth.
        models: the models by the names that they shall have.
        boxes: COCO results of a detector, whose boxes each model names for detection; None: no detection.
        advance: called with the number of images done, for a progress bar.

    Raises:
        DataError: the benchmark is empty, or holds nothing that can be measured.
        InputError: a side of `params` does not fit a model's patches.
    """
    _, classes = open_benchmark(benchmark)
    device, dtype = placement(params, "evaluate")
    params = with_preset(params.model_copy(update={"dtype": precision_of(dtype)}))
    given = None if boxes is None else read_boxes(boxes, benchmark)
    suites = []
    for name, model in models.items():
        tower = placed(model.clip, device, dtype).eval()
        sized = in_pixels(_as_used(params, model.usage), tower)
        reader = Reader(tower, tower.tokenizer, classes, sized, ImageInput.of(tower, sized.image_px, sized.resize))
        suites.append(Suite(name, reader, {}, None, given))
    for batch in batched(read_examples(benchmark, classes), params.batch):
        for suite in suites:
            suite.add(batch)
        advance(len(batch))
    return _result(suites, benchmark, params)


def _result(suites: Sequence[Suite], benchmark: Path, params: EvaluateParams) -> ComparedModels:
    results = {suite.name: suite.results() for suite in suites}
    if not any(results.values()):
        raise DataError(f"{benchmark}: expected captions, tags, regions, pairs or single objects to measure, got none")
    first, *others = suites
    each = {other.name: intervals([first, other], results, params.resamples).get("change", {}) for other in others}
    change = {name: ends for name, ends in each.items() if ends}
    blocks = {
        suite.name: {name: block for name, block in suite.protocols().items() if name in results[suite.name]}
        for suite in suites
    }
    per_class = {suite.name: _per_class(suite) for suite in suites}
    return ComparedModels(rounded(results), rounded(change), blocks, per_class)


def _as_used(params: EvaluateParams, usage: Usage | None) -> EvaluateParams:
    """Return the section with a model's own settings for the keys that nobody set."""
    if usage is None:
        return params
    usual: dict[str, Any] = {"box_share": usage.box_share, "thing_templates": [usage.template]}
    if usage.preprocess.fit in _WHOLE:
        usual["resize"] = usage.preprocess.fit
    return params.model_copy(update={key: value for key, value in usual.items() if key not in params.model_fields_set})


def _per_class(suite: Suite) -> dict[str, dict[str, dict[str, int | float]]]:
    region = suite.region
    return {
        readout: {name: {"regions": count, "top1": round(top1, 6)} for name, count, top1 in region.per_class(readout)}
        for readout in region.readouts
        if len(region.targets(readout))
    }
