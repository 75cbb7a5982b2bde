"""The model card of a repository in the hub: README.md with metadata that the hub reads, and what a reader must know.

Metadata: `ModelCardData` of huggingface_hub. Numbers are copied from the evaluation's own files, with its protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umgclip.inference.hub.licences import OTHER, UNKNOWN, WeightsLicence, licence_of
from umgclip.inference.hub.origin import DRAWN, ModelOrigin
from umgclip.params import SCRATCH

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
else:  # imported where it is used
    EvalResult = Any

README = "README.md"
MARK = "<!-- written by umgclip; a README without this line is kept when the model is pushed again -->"
TASK = "zero-shot-image-classification"
# metrics that the hub shows: by the evaluation's name, what it measures, the hub's task and metric
HEADLINES = (
    ("classification.top1", "top-1 of single objects", TASK, "accuracy"),
    ("retrieval.i2t_r1", "image to text, recall at 1", "zero-shot-retrieval", "recall"),
    ("retrieval.t2i_r1", "text to image, recall at 1", "zero-shot-retrieval", "recall"),
    ("tagging.map", "tags of whole images, mAP", "image-classification", "mean_average_precision"),
    ("region.box_top1", "given boxes read off the dense map, top-1", TASK, "accuracy"),
    ("region.mask_top1", "given masks read off the dense map, top-1", TASK, "accuracy"),
    ("region.crop_top1", "crops of given boxes, top-1", TASK, "accuracy"),
    ("semantic.miou", "semantic segmentation, mIoU", "image-segmentation", "mean_iou"),
    ("panoptic.pq_true_masks", "panoptic quality of given masks", "image-segmentation", "panoptic_quality"),
    ("detection.ap", "detection in given boxes, AP", "object-detection", "mean_average_precision"),
)
_LONGEST = 300
_HIDDEN = ("sha256", "weights")  # of a protocol: hashes, which are in umgclip_origin.json
_PATHS = ("path", "store", "file")


@dataclass(frozen=True)
class CardSettings:
    """Facts of a card beside the model's origin.

    Attributes:
        repo: `USER/NAME`; None for a folder that is not pushed.
        tower: the architecture's name, side and dimension, in words.
        template: prompt around a label.
        image: how images are made ready, in words.
        plain: plain open_clip can build the model.
        transformers_class: class of transformers of the files beside it; None without.
        why_not: why there are no files for transformers.
        pairwise: `softmax` or `sigmoid`.
        licence: what the publisher states.
        datasets: names of training data in the hub.
        base_model: name of the base in the hub.
    """

    repo: str | None
    tower: str
    template: str
    image: str
    plain: bool
    transformers_class: str | None
    why_not: str = ""
    pairwise: str = "softmax"
    licence: str | None = None
    datasets: Sequence[str] = ()
    base_model: str | None = None


def model_readme(origin: ModelOrigin, settings: CardSettings) -> str:
    """Return the text of README.md with its metadata."""
    licence = licence_of(origin.base, origin.data, settings.licence)
    name = settings.repo or "FOLDER"
    parts = [
        MARK,
        f"# {name.rsplit('/', 1)[-1]}",
        _intro(origin, settings),
        "## Use",
        *_uses(settings),
        "## Intended use",
        "Ranking texts for images and regions, retrieval, tagging, open-vocabulary labelling of given boxes or masks.",
        "## Limits",
        _limits(origin, settings),
        "## Licences",
        _licences(licence),
        "## Training",
        _training(origin),
        "## Results",
        _results(origin),
    ]
    return f"---\n{_metadata(origin, settings, licence)}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _metadata(origin: ModelOrigin, settings: CardSettings, licence: WeightsLicence) -> str:
    from huggingface_hub import ModelCardData

    results = list(_eval_results(origin))
    tags = ["umgclip", "clip", "zero-shot", "open-vocabulary", "region-classification"]
    tags += ["open_clip"] * settings.plain + ["transformers"] * (settings.transformers_class is not None)
    data = ModelCardData(
        language="en",
        library_name="open_clip" if settings.plain else "umgclip",
        pipeline_tag=TASK,
        license=licence.identifier,
        license_name="base-and-data" if licence.identifier == OTHER else None,
        license_link="README.md" if licence.identifier == OTHER else None,
        base_model=settings.base_model,
        datasets=list(settings.datasets) or None,
        tags=tags,
        model_name=(settings.repo or "umgclip").rsplit("/", 1)[-1] if results else None,
        eval_results=results or None,
    )
    if settings.base_model is not None:
        data["base_model_relation"] = "finetune"
    return str(data.to_yaml()).strip()


def _eval_results(origin: ModelOrigin) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    for name, described, task, metric in HEADLINES:
        if name in origin.tuned:
            benchmark = name.split(".", maxsplit=1)[0]
            yield EvalResult(
                task_type=task,
                dataset_type="custom",
                dataset_name=_benchmark(origin, benchmark),
                metric_type=metric,
                metric_name=f"{described} ({name})",
                metric_value=origin.tuned[name],
            )


def _benchmark(origin: ModelOrigin, benchmark: str) -> str:
    """Name the data that a benchmark was measured on."""
    names = sorted({str(one.get("dataset")) for one in origin.data if one.get("part") == "benchmark"})
    protocol = origin.protocols.get(benchmark)
    count = protocol.get("images") if isinstance(protocol, Mapping) else None
    digest = str(protocol.get("split_sha256", ""))[:12] if isinstance(protocol, Mapping) else ""
    about = ", ".join(
        part for part in (f"{count} images" if count else "", f"digest {digest}" if digest else "") if part
    )
    return f"{', '.join(names) or 'benchmark'}" + (f" ({about})" if about else "")


def _intro(origin: ModelOrigin, settings: CardSettings) -> str:
    tuned = "tuned" if origin.training else "prepared"
    return (
        f"A CLIP ({settings.tower}), {tuned} with umgclip so that one forward pass gives embeddings of the whole "
        "image, of boxes, masks and cells, all comparable with text, after UMG-CLIP ([arXiv 2401.06397]"
        "(https://arxiv.org/abs/2401.06397))."
    )


def _uses(settings: CardSettings) -> Iterator[str]:
    where = f"hf-hub:{settings.repo}" if settings.repo else "FOLDER"
    yield "With umgclip: whole images, boxes, masks and maps."
    yield _code(
        "import umgclip", "",
        f'model = umgclip.load("{where}")',
        'scores = model.classify("photo.jpg", ["dog", "cat"], boxes_xyxy=[[20, 30, 180, 200]])',
    )  # fmt: skip
    if settings.plain:
        name = where if settings.repo else f"local-dir:{where}"
        yield "With open_clip: whole images and texts."
        yield _code(
            "import open_clip", "",
            f'model, _, preprocess = open_clip.create_model_and_transforms("{name}")',
            f'tokenizer = open_clip.get_tokenizer("{name}")',
        )  # fmt: skip
    else:
        yield "Plain open_clip cannot describe this architecture and refuses its config."
    if settings.transformers_class is not None:
        name = settings.repo or "FOLDER"
        yield f"With transformers, as `{settings.transformers_class}`: whole images and texts."
        yield _code(
            "from transformers import pipeline", "",
            f'classify = pipeline("zero-shot-image-classification", model="{name}")',
            f'classify("photo.jpg", candidate_labels=["dog", "cat"], hypothesis_template="{_hypothesis(settings)}")',
        )  # fmt: skip
    elif settings.why_not:
        yield f"There are no files for transformers: {settings.why_not}."
    yield (
        f"Images: {settings.image}. Labels go into the prompt `{settings.template}`, where `{{}}` is the label and "
        "`{a}` its article. Dense maps and the read-outs of boxes and masks need umgclip."
    )


def _hypothesis(settings: CardSettings) -> str:
    return settings.template.replace("{a}", "a").replace('"', '\\"')


def _code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _limits(origin: ModelOrigin, settings: CardSettings) -> str:
    scores = (
        "Scores are a softmax over the labels asked for: some label always wins, also when none fits."
        if settings.pairwise == "softmax"
        else "Scores are a sigmoid of each label alone and do not add up to 1."
    )
    demo = any(name.startswith(DRAWN) for name in origin.trained_on)
    lines = [
        "It knows what its base and its training data show.",
        "It was trained on composed demo scenes and says nothing useful about photographs." if demo else "",
        "Labels of regions and pixels in training may be written by models and hold mistakes.",
        f"{scores} They are not calibrated.",
        "Regions are read off the patch grid: what is smaller than a patch is read with what surrounds it.",
        "Short English texts only, unless the base was trained on others.",
        "Biases of base and data were not measured. Not for deciding about people, and not where a wrong label harms.",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _licences(licence: WeightsLicence) -> str:
    stated = {
        UNKNOWN: "**Not known.** A part of what these weights are made from has no recorded licence. Ask before reuse.",
        OTHER: "**Several.** Base and data have different licences, and all of them apply.",
    }.get(licence.identifier, f"`{licence.identifier}`")
    credit = ""
    if any("OpenMoji" in reason for reason in licence.reasons):
        credit = "\n\nCredit: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0."
    return stated + "\n\n" + "\n".join(f"- {reason}" for reason in licence.reasons) + credit


def _training(origin: ModelOrigin) -> str:
    base = origin.base
    if not base:
        return "Nothing was recorded about its making."
    pretrained = str(base.get("pretrained") or "unknown")
    if pretrained == SCRATCH:
        first = f"Base: `{base.get('model', 'unknown')}`, trained from random weights on images and their alt texts."
    else:
        shown = pretrained.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        first = f"Base: `{base.get('model', 'unknown')}` with the weights `{shown}`."
    params = origin.training.get("params")
    if not isinstance(params, Mapping):
        return first + " Not tuned."
    chosen = ("adapter", "steps", "batch", "lr_peak", "resize", "image_px", "seed")
    rows = [f"| {name} | `{params[name]}` |" for name in chosen if name in params]
    weights = params.get("weights")
    if isinstance(weights, Mapping):
        terms = ", ".join(f"{name} {value:g}" for name, value in weights.items() if value)
        rows.append(f"| weights of the terms | {terms} |")
    return "\n".join([first, "", "| training | value |", "|---|---|", *rows])


def _results(origin: ModelOrigin) -> str:
    if not origin.tuned:
        return "No results were recorded with this model."
    rows = [
        f"| {described} | `{name}` | {_cell(origin.untuned.get(name))} | {_cell(origin.tuned[name])} |"
        for name, described, _, _ in HEADLINES
        if name in origin.tuned
    ]
    table = ["| measured | name | base | tuned |", "|---|---|---|---|", *rows]
    measured = list(dict.fromkeys(name.partition(".")[0] for name in origin.tuned))
    common = _common([fields for name in measured if isinstance(fields := origin.protocols.get(name), Mapping)])
    lines = [line for name in measured for line in _protocol(origin, name, common)]
    if common:
        lines.insert(0, f"- All benchmarks: {_settings(common)}.")
    return "\n".join(
        [
            "Shares of 1, copied from the evaluation's own file. Base and tuned model: by the same protocol.",
            "All numbers are in `umgclip_origin.json`.",
            "",
            *table,
            "",
            "### Protocol",
            "",
            *(lines or ["Not recorded."]),
        ]
    )


def _common(protocols: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that all benchmarks share."""
    if len(protocols) < 2:
        return {}
    first, *others = protocols
    return {name: value for name, value in first.items() if all(name in one and one[name] == value for one in others)}


def _protocol(origin: ModelOrigin, benchmark: str, common: Mapping[str, Any]) -> Iterator[str]:
    words, fields = origin.in_words.get(benchmark), origin.protocols.get(benchmark)
    if not words and not isinstance(fields, Mapping):
        return
    yield f"- **{benchmark}**, on {_benchmark(origin, benchmark)}." + (f" {words}." if words else "")
    if isinstance(fields, Mapping):
        special = {name: value for name, value in fields.items() if name not in common}
        if settings := _settings(special):
            yield f"  Settings: {settings}."


def _settings(fields: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {_value(value)}" for name, value in fields.items() if not name.endswith(_HIDDEN))


def _value(value: Any) -> str:  # noqa: ANN401 - from a file
    if isinstance(value, Mapping):
        inner = (f"{k} {_value(v)}" for k, v in value.items() if not str(k).endswith((*_HIDDEN, *_PATHS)))
        return f"({', '.join(inner)})"
    return f"`{' '.join(str(value).split())[:_LONGEST]}`"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
