"""The stage `evaluate`, which measures the base, the tuned model and the annotator on one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.evaluate.benchmarks import annotator
from umgclip.evaluate.benchmarks.annotator import AnnotatorBenchmark, check_proposals, read_proposals
from umgclip.evaluate.benchmarks.segmented import SegmentReader
from umgclip.evaluate.examples import Classes, Example, batched, open_benchmark, read_examples
from umgclip.evaluate.features import FeatureCache
from umgclip.evaluate.given_boxes import read_boxes
from umgclip.evaluate.left_out import regions_left_out
from umgclip.evaluate.presets import with_preset
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.report import page, pictures, plots
from umgclip.evaluate.report.cases import Cases
from umgclip.evaluate.report.intervals import intervals
from umgclip.evaluate.report.pictures import Shown
from umgclip.evaluate.suite import PROTOCOLS, Suite
from umgclip.io.atomic import fresh_folder, sha256_file, write_json
from umgclip.io.manifest import Manifest, read_manifest
from umgclip.metrics.measured import LACKS
from umgclip.metrics.protocol import WEIGHTS
from umgclip.metrics.weighted import FEWEST_IMAGES
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.layout import ADAPTER, ADAPTER_CONFIG, ADAPTER_WEIGHTS
from umgclip.model.clip.placed import PlacedClip
from umgclip.model.clip.placement import placement
from umgclip.model.clip.tower import DenseClip
from umgclip.model.segmenter.files import WEIGHTS as SEGMENTER_WEIGHTS
from umgclip.model.segmenter.files import load as load_segmenter
from umgclip.params import EvaluateParams
from umgclip.params.section import BESIDE_SCORES, NEWER
from umgclip.records import Region
from umgclip.stage import Summary, begin

_DIGITS = 6
_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_SHORT = {getattr(torch, long): short for short, long in _PRECISIONS.items()}
HEADLINES = (
    ("classification", "top1"),
    ("retrieval", "i2t_r1"),
    ("retrieval", "t2i_r1"),
    ("tagging", "map"),
    ("tagging", "map_dense"),
    ("region", "box_top1"),
    ("region", "mask_top1"),
    ("region", "mask_top1_heldout"),
    ("region", "crop_top1"),
    ("region", "maskout_top1"),
    ("region", "raw_box_top1"),
    ("fine_grained", "box_top1"),
    ("fine_grained", "raw_box_top1"),
    ("detection", "ap"),
    ("semantic", "miou"),
    ("semantic", "miou_refined"),
    ("patterns", "t2i"),
    ("panoptic", "pq_true_masks"),
    ("panoptic", "pq_proposals"),
)
_OF_TUNED = (("semantic", "miou_decoder"), ("panoptic", "pq_dense_map"), ("panoptic", "pq_decoder"))


@dataclass(frozen=True)
class EvaluateInputs:
    """The inputs of the stage, and the files of its metrics.

    Attributes:
        base: folder of the base model.
        adapter: folder of the stage `train`, which holds the adapter.
        benchmark: dataset with truth and classes.
        annotations: the annotator's dataset of the benchmark's images, made with their captions; its quality is scored.
        proposals: class-agnostic regions of the same images, made without captions, for panoptic segments.
        metrics: JSON file to write.
        masks: regions of the same images by another masker, for further panoptic segments, or None.
        segmenter: folder that `umgclip segment` wrote for the tuned model, or None.
        headlines: JSON file for the few numbers that `dvc metrics diff` shows; None: not written.
        boxes: COCO results of another detector, whose boxes are named for detection; None: those of the proposals.
    """

    base: Path
    adapter: Path
    benchmark: Path
    annotations: Path
    proposals: Path
    metrics: Path
    masks: Path | None = None
    segmenter: Path | None = None
    headlines: Path | None = None
    boxes: Path | None = None


@dataclass
class FirstExamples:
    """The first few examples of each kind, with their pixels for the pictures, and counts of all examples."""

    size: int
    singles: list[Example] = field(default_factory=list)
    scenes: list[Example] = field(default_factory=list)
    counted: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("singles", "scenes", "things", "annotated_scenes"), 0)
    )

    def add(self, examples: Sequence[Example], proposals: Mapping[str, Sequence[Region]]) -> None:
        """Count a batch and keep its first examples while there is room."""
        examples_of_kind, name = (self.singles, "singles") if examples[0].single else (self.scenes, "scenes")
        examples_of_kind.extend(examples[: max(0, self.size - len(examples_of_kind))])
        self.counted[name] += len(examples)
        if name == "scenes":
            self.counted["things"] += sum(len(example.things) for example in examples)
            self.counted["annotated_scenes"] += sum(example.key in proposals for example in examples)


def run(
    params: EvaluateParams, inputs: EvaluateInputs, out: Path, *, advance: Callable[[int], None] = lambda _: None
) -> Summary:
    """Evaluate both models; write `inputs.metrics` and the folder `out` (report.html, predictions, pictures, plots).

    Args:
        params: the section `evaluate`.
        inputs: what to read, and the files of metrics to write.
        out: the folder to create; an old one is replaced.
        advance: called with the number of images done, for a progress bar.

    Raises:
        DataError: the benchmark is empty, holds nothing to measure or does not fit its classes; proposals, base or
            adapter are missing.
        OutputError: a result cannot be written.
    """
    begin("loading the models")
    manifest, classes = open_benchmark(inputs.benchmark)
    annotations, proposals = read_proposals(inputs.annotations), read_proposals(inputs.proposals)
    models = {"base": files.load(inputs.base)[0], "tuned": load_tuned(inputs.base, inputs.adapter / ADAPTER)}
    device, dtype = placement(params, "evaluate")
    towers = {name: placed(clip, device, dtype).eval() for name, clip in models.items()}
    params = with_preset(params.model_copy(update={"dtype": precision_of(dtype)}))
    of_model = {name: in_pixels(params, tower) for name, tower in towers.items()}
    cut = {"proposals": proposals} | ({} if inputs.masks is None else {"masker": read_proposals(inputs.masks)})
    caches = _caches(params, inputs, device)
    readers = {n: _reader(tower, classes, of_model[n], caches.get(n)) for n, tower in towers.items()}
    params = of_model["tuned"]
    segments = {"tuned": _segments(readers["tuned"], inputs, (device, dtype))}
    boxes = None if inputs.boxes is None else read_boxes(inputs.boxes, inputs.benchmark)
    suites = [Suite(name, reader, cut, segments.get(name), boxes) for name, reader in readers.items()]
    quality = AnnotatorBenchmark(classes, params.match_iou)
    first = FirstExamples(params.pictures)
    cases = Cases([suite.reader for suite in suites], list(towers), proposals, params.pictures)
    examples = _checked(read_examples(inputs.benchmark, classes), proposals, inputs.proposals)
    examples = _checked(examples, annotations, inputs.annotations)
    begin("reading the benchmark")
    for batch in batched(examples, params.batch):
        cases.add(batch, [suite.add(batch) for suite in suites])
        if not batch[0].single:
            quality.add(batch, annotations)
        first.add(batch, proposals)
        advance(len(batch))
    if first.counted["things"] and not first.counted["annotated_scenes"]:
        raise DataError(
            f"{inputs.proposals}: expected proposals on the scenes of {inputs.benchmark}, got none of them; "
            f"run: umgclip annotate"
        )
    if not suites[0].results():
        raise DataError(
            f"{inputs.benchmark}: expected captions, tags, regions, pairs or single objects to measure, got none"
        )
    results = {suite.name: suite.results() for suite in suites}
    metrics = rounded(results | {"annotator": dict(quality.results())})
    begin("resampling for intervals")
    if spread := intervals(suites, results, params.resamples):
        metrics["intervals"] = rounded(spread)
    metrics["protocol"] = _protocol(params, inputs, manifest, first.counted)
    metrics["protocols"] = _blocks(suites, metrics["protocol"], inputs)
    with fresh_folder(out) as working:
        begin("drawing pictures and writing the report")
        plots.write(working / "plots", metrics, suites)
        shown = Shown(metrics, suites, first.singles, first.scenes, proposals)
        pictures.write(working / "pictures", shown)
        page.write(working / page.REPORT, metrics, suites, cases)
        write_json(working / "protocol.json", {**PROTOCOLS, "annotator": annotator.PROTOCOL})
        if params.measure_cost:
            write_json(working / "cost.json", {suite.name: rounded(suite.cost_ms()) for suite in suites})
    write_json(inputs.metrics, metrics)
    if inputs.headlines is not None:
        write_json(inputs.headlines, _headlines(metrics))
    return _summary(metrics, readers["tuned"].clip.texts_read.in_words())


def in_pixels(params: EvaluateParams, tower: DenseClip) -> EvaluateParams:
    """Return the section with a model's own size in place of null.

    A model that was tuned at another side than its base has that side.

    Raises:
        InputError: a side is not a multiple of the model's patch; names the field.
    """
    model_px = tower.image_hw[0]
    sides = {"image_px": params.image_px or model_px, "crop_px": params.crop_px or model_px}
    for name, side in sides.items():
        if any(side % patch for patch in tower.patch_px):
            raise InputError(f"evaluate.{name}: expected a multiple of the model's patch {tower.patch_px}, got {side}")
    return params.model_copy(update=sides)


def precision_of(dtype: torch.dtype) -> str:
    """Return the name of a precision as `evaluate.dtype` has it."""
    return _SHORT[dtype]


def _reader(tower: DenseClip, classes: Classes, params: EvaluateParams, cache: FeatureCache | None = None) -> Reader:
    return Reader(tower, tower.tokenizer, classes, params, ImageInput.of(tower, params.image_px, params.resize), cache)


def placed(clip: nn.Module, device: torch.device, dtype: torch.dtype) -> DenseClip:
    """Return a model with dense features on a device, in a precision."""
    plain = device.type == "cpu" and dtype == torch.float32
    return DenseClip(clip) if plain else PlacedClip(clip, device, dtype)


def _caches(params: EvaluateParams, inputs: EvaluateInputs, device: torch.device) -> dict[str, FeatureCache]:
    """Return the cache of each model's features; none if `evaluate.cache` is null."""
    if params.cache is None:
        return {}
    adapter = inputs.adapter / ADAPTER
    base = " ".join(sha256_file(inputs.base / name) for name in (files.CONFIG, files.WEIGHTS))
    tuned = " ".join(sha256_file(adapter / name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
    # on other devices and in other precisions the last bits differ
    how = "" if (device.type, params.dtype) == ("cpu", "fp32") else f" {device.type} {params.dtype}"
    models = {"base": base, "tuned": base + tuned}
    return {name: FeatureCache(Path(params.cache), model + how) for name, model in models.items()}


def _segments(reader: Reader, inputs: EvaluateInputs, placed: tuple[torch.device, torch.dtype]) -> SegmentReader | None:
    if inputs.segmenter is None:
        return None
    return SegmentReader(reader, *load_segmenter(inputs.segmenter, inputs.base, inputs.adapter), placed)


def _checked(examples: Iterable[Example], proposals: Mapping[str, Sequence[Region]], folder: Path) -> Iterator[Example]:
    for example in examples:
        check_proposals(proposals.get(example.key, ()), example, folder)
        yield example


def _protocol(
    params: EvaluateParams,
    inputs: EvaluateInputs,
    manifest: Manifest,
    counted: Mapping[str, int],
) -> dict[str, Any]:
    """Return what the numbers depend on: settings, benchmark, inputs; lists are joined, because DVC shows none."""
    settings = _without_lists(params.decisive(BESIDE_SCORES, unread=params.at_default(NEWER)))
    return {
        "settings": settings,
        "benchmark": {"sha256": manifest.digest(), **counted},
        "inputs": {
            "base_sha256": sha256_file(inputs.base / files.WEIGHTS),
            "adapter_sha256": sha256_file(inputs.adapter / ADAPTER / ADAPTER_WEIGHTS),
            "annotations_sha256": _digest(inputs.annotations),
            "proposals_sha256": _digest(inputs.proposals),
        },
    }


def _digest(folder: Path) -> str:
    return read_manifest(folder, may_be_empty=True).digest()


def _without_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: " | ".join(value) if isinstance(value, list) else value for name, value in values.items()}


def _blocks(suites: Sequence[Suite], protocol: Mapping[str, Any], inputs: EvaluateInputs) -> dict[str, Any]:
    """Return a block for each measured benchmark, with the fields that a comparable result has to share.

    `split_sha256` identifies the content of the benchmark, `sha256` that of proposals; `weights` identifies the models.
    """
    weights = {"base": protocol["inputs"]["base_sha256"], "tuned": protocol["inputs"]["adapter_sha256"]}
    precision = _PRECISIONS[protocol["settings"].get("dtype", "fp32")]
    common = {"split_sha256": protocol["benchmark"]["sha256"], "precision": precision, WEIGHTS: weights}
    first, suite = suites[0], suites[-1]
    sides = [each.reader.protocol()["resolution"] for each in (first, suite)]
    if sides[0] != sides[1]:  # each model at its own
        common["base_resolution"] = sides[0]
    blocks = {name: {**common, **block} for name, block in suite.protocols().items() if name in suite.results()}
    if "region" in blocks and (lost := regions_left_out(inputs.benchmark)):
        blocks["region"]["left_out_by_import"] = lost
    if "detection" in blocks:
        digest = protocol["inputs"]["proposals_sha256"] if inputs.boxes is None else sha256_file(inputs.boxes)
        blocks["detection"]["boxes"] = {**blocks["detection"]["boxes"], "sha256": digest}
    if "panoptic" in blocks:
        masks = blocks["panoptic"]["masks"]
        masks["proposals"] = {**masks["proposals"], "sha256": protocol["inputs"]["proposals_sha256"]}
        if inputs.masks is not None:
            masks["masker"] = {**masks["masker"], "sha256": _digest(inputs.masks)}
        if inputs.segmenter is not None:
            masks["decoder"] = {**masks["decoder"], "sha256": sha256_file(inputs.segmenter / SEGMENTER_WEIGHTS)}
    return blocks


def rounded(value: Any) -> Any:  # noqa: ANN401 - a tree of numbers
    """Return a tree of numbers with six digits behind the point."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(float(value), _DIGITS)


def _headlines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the summary for each model, by benchmark."""
    headlines: dict[str, Any] = {}
    for model in ("base", "tuned"):
        for benchmark, metric in (*HEADLINES, *_OF_TUNED):
            if metric in (values := metrics[model].get(benchmark, {})):
                headlines.setdefault(model, {}).setdefault(benchmark, {})[metric] = values[metric]
    return headlines


def _summary(metrics: Mapping[str, Any], cut: str | None) -> Summary:
    rows = []
    for benchmark, metric in HEADLINES:
        pair = [metrics[model].get(benchmark, {}).get(metric) for model in ("base", "tuned")]
        if None not in pair:
            rows.append((f"{benchmark} {metric}", f"{pair[0]:.3f} -> {pair[1]:.3f}"))
    for benchmark, metric in _OF_TUNED:
        if metric in (values := metrics["tuned"].get(benchmark, {})):
            rows.append((f"{benchmark} {metric} (tuned)", f"{values[metric]:.3f}"))
    rows.extend((f"annotator {name}", f"{value:.3f}") for name, value in metrics["annotator"].items())
    if cut:
        rows.append(("captions and prompts", cut))
    if lacking := [f"{name} ({what})" for name, what in LACKS.items() if name not in metrics["tuned"]]:
        rows.append(("not measured", f"the benchmark has nothing for {', '.join(lacking)}"))
    few = [f"{n} ({b['images']} images)" for n, b in metrics["protocols"].items() if b["images"] < FEWEST_IMAGES]
    if few:
        rows.append(("no intervals", f"fewer than {FEWEST_IMAGES} images say too little: {', '.join(few)}"))
    return Summary("evaluate: base -> tuned", tuple(rows))
