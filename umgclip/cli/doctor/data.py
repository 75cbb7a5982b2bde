"""Checks of `umgclip doctor --data`: what will stop a stage, or make it learn little, before hours are spent.

Each remark names the key of `params.yaml` to change. Only what certainly stops a stage makes the exit code 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from umgclip.annotate.vocabulary import Names
from umgclip.annotate.words import require_words
from umgclip.cli import terminal
from umgclip.cli.doctor.data_facts import Facts, read_facts
from umgclip.cli.terminal import Sheet, plain
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.vocabulary_file import ConceptParams
from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.params import (
    SCRATCH,
    AnnotateParams,
    BaseParams,
    EvaluateParams,
    RegisterParams,
    Section,
    TrainParams,
    ValidateParams,
    parse_sections,
    read_params,
    threads,
)

Weight = Literal["ok", "look", "stop"]
_MARKS: dict[Weight, tuple[str, str]] = {"ok": ("ok", ""), "look": ("!", "yellow"), "stop": ("!!", "bold red")}
_FEW_IMAGES, _FEW_TRUE, _FEW_NAMED, _MANY_EPOCHS, _LITTLE_ENGLISH = 200, 50, 0.8, 50, 0.2
_GRAINS = {  # the benchmarks that each kind of annotation allows
    "singles": "classification",
    "captions": "retrieval",
    "tags": "tagging",
    "regions": "region, detection",
    "masks": "semantic, panoptic",
    "pairs": "patterns",
}
_NO_TRUTH = (
    "nothing can be measured; import it again: `umgclip data import ... --split benchmark --replace` with "
    "`--labels folders` (each folder is a class) or `--captions TABLE`; docs/benchmarks.md lists all options"
)
_FLOPS = {
    "cpu core": 3.0e10,
    "data-centre GPU": 1.0e14,
}  # operations per second that a run reaches


@dataclass(frozen=True)
class Remark:
    """One remark: what was checked, the result, and the key that changes it.

    Attributes:
        weight: `stop`: a stage will certainly fail; `look`: the result may be poor.
        mend: what to do, with its key.
    """

    what: str
    result: str
    weight: Weight = "ok"
    mend: str = ""


@dataclass(frozen=True)
class _Params:
    base: BaseParams
    annotate: AnnotateParams
    validate: ValidateParams
    train: TrainParams
    evaluate: EvaluateParams
    register: RegisterParams


def examine_data(data: Path, params: Path) -> list[Remark]:
    """Check `data/train` and `data/benchmark` for everything that the stages require.

    Raises:
        ParamsError: the parameter file is invalid.
    """
    sections: dict[str, Section] = parse_sections(read_params(params), params)
    asked = _Params(**{name: sections[name] for name in _Params.__annotations__})  # type: ignore[arg-type]
    remarks, facts = list(_base(asked.base)), {}
    for split, why in (("train", "every stage reads it"), ("benchmark", "annotate, validate and evaluate read it")):
        try:
            facts[split] = read_facts(data / split)
        except DataError as error:
            mend = f"{why}: `umgclip data import ... --split {split}`"
            remarks.append(Remark(f"data/{split}", str(error), "stop", mend))
    if "train" in facts:
        remarks += [*_train(facts["train"], asked), *_concepts(facts["train"], asked)]
    if "benchmark" in facts:
        remarks += _benchmark(facts["benchmark"], asked)
    if len(facts) == 2:
        remarks += _overlap(facts["train"], facts["benchmark"])
    if "train" in facts:
        remarks += _cost(facts["train"], asked)
    return remarks


def show(remarks: list[Remark]) -> None:
    """Print the remarks as a table."""
    sheet = Sheet("", "checked", "found")
    for remark in remarks:
        text = remark.result + (f"\n-> {remark.mend}" if remark.mend else "")
        sheet.add_row(plain(*_MARKS[remark.weight]), remark.what, text)
    checks = [
        {"checked": one.what, "result": one.result, "weight": one.weight, "mend": one.mend or None} for one in remarks
    ]
    terminal.show(sheet, document={"ok": all(one.weight != "stop" for one in remarks), "checks": checks})


def _base(base: BaseParams) -> Iterator[Remark]:
    if base.pretrained != SCRATCH:
        from umgclip.model.clip.pretrained.load import (  # open_clip, with transformers
            named_config,
            read_open_clip_config,
        )

        try:
            if named_config(base.model, base.pretrained) is None:
                read_open_clip_config(Path(base.pretrained))
        except InputError as error:
            yield Remark("base", str(error), "stop", "without a base no stage runs")


def _train(facts: Facts, asked: _Params) -> Iterator[Remark]:
    seen, count = asked.train.images_shown, facts.images
    epochs = seen / count
    result = f"{count} images in {facts.shards} shards; train.steps x train.batch use each {epochs:.1f} times"
    if count < _FEW_IMAGES:
        yield Remark("training images", result, "look", "few images: the model may memorise them; lower train.steps")
    elif epochs > _MANY_EPOCHS or epochs < 1:
        yield Remark("training images", result, "look", "train.steps decides how often images are seen")
    else:
        yield Remark("training images", result)
    if facts.shards < min(threads(), count):
        mend = "annotate gives each worker a shard; lower data.imports.shard_samples and import again with --replace"
        yield Remark("shards", f"{facts.shards} for {threads()} workers", "look", mend)
    yield from _sides(facts, asked)
    yield from _captions(facts, asked)


def _sides(facts: Facts, asked: _Params) -> Iterator[Remark]:
    low, high = asked.validate.side_min_px, asked.validate.side_max_px
    wrong = sum(not (low <= short and long <= high) for short, long in facts.sides)
    result = f"{min(s for s, _ in facts.sides)} to {max(s for _, s in facts.sides)} px"
    if wrong > asked.validate.tolerance * facts.images:
        result += f"; {wrong} of {facts.images} images are outside {low} to {high}"
        yield Remark("sides", result, "stop", "validate.side_min_px, validate.side_max_px, validate.tolerance")
    else:
        yield Remark("sides", result)
    crops = {"annotate.label.crop_px": asked.annotate.label.crop_px, "evaluate.crop_px": asked.evaluate.crop_px}
    fixed = [f"{key} {side}" for key, side in crops.items() if isinstance(side, int)]
    if fixed and asked.base.pretrained != SCRATCH:
        mend = (
            "48 is for the demo's small model; annotate.label.crop_px: auto and evaluate.crop_px: null follow the model"
        )
        yield Remark("crops of regions", ", ".join(fixed), "look", mend)


def _captions(facts: Facts, asked: _Params) -> Iterator[Remark]:
    have, count = len(facts.captioned), facts.images
    if not have:
        mend = "import with --captions, or set base.pretrained to a checkpoint or a tag"
        if asked.base.pretrained == SCRATCH:
            yield Remark("captions", "none", "stop", f"base.pretrained: scratch learns from captions; {mend}")
            return
        try:
            require_words(asked.annotate, Vocabulary((), ()), Names(facts.chunks, facts.given))
        except DataError as error:
            yield Remark("captions", "none", "stop", str(error))
        else:
            yield Remark("captions", "none", "look", "only regions are learnt, from the labels that came with them")
        return
    result = f"on {have} of {count} images, {len(set(facts.captioned))} different ones, of {facts.words:g} words"
    least = asked.validate.captioned_image_share_min
    bounds = asked.validate.image_caption_words_min, asked.validate.image_caption_words_max
    long = 1 - facts.share_with_words(*bounds)
    if have < least * count:
        yield Remark("captions", result, "stop", f"validate.captioned_image_share_min ({least:g})")
    elif long > asked.validate.tolerances.get("image_caption_length", asked.validate.tolerance):
        mend = "validate.image_caption_words_min, validate.image_caption_words_max"
        yield Remark("captions", f"{result}; {long:.0%} do not have {bounds[0]} to {bounds[1]} words", "stop", mend)
    elif len(set(facts.captioned)) < max(2, have // 20):
        mend = "similar captions say little about an image, so train.weights.image_text and retrieval gain little"
        yield Remark("captions", result, "look", mend)
    else:
        yield Remark("captions", result)
    if asked.annotate.language == "en" and facts.words >= 3 and facts.english_share < _LITTLE_ENGLISH:
        result = f"{facts.english_share:.0%} of the captions have an English function word (a, of, on, ...)"
        mend = "list the concepts in annotate.rules.vocabulary (base.vocabulary) and set annotate.language "
        yield Remark("language", result, "look", f"{mend}(base.language) to none")


def _concepts(facts: Facts, asked: _Params) -> Iterator[Remark]:
    a, b = asked.annotate, asked.base
    wishes = [
        ConceptParams("annotate", a.min_concept_count, a.language, a.rules.vocabulary, "annotate.rules.vocabulary")
    ]
    if b.pretrained == SCRATCH:
        wishes.append(ConceptParams("base", b.min_concept_count, b.language, b.vocabulary, "base.vocabulary"))
    for wish in wishes:
        try:
            vocabulary = wish.vocabulary(facts.chunks, a.held_out if wish.section == "annotate" else ())
        except UmgclipError as error:
            yield Remark(f"concepts of {wish.section}", "none", "stop", str(error))
            continue
        if vocabulary.concepts:
            yield _named(facts, wish, vocabulary, asked)
    unknown = sorted(set(a.held_out) - set(facts.chunks.seen) - facts.names)
    if unknown:
        result = f"{len(unknown)} of {len(a.held_out)} names occur in no caption: {', '.join(unknown[:5])}"
        yield Remark("annotate.held_out", result, "look", "if these are the demo's names, set annotate.held_out: []")


def _named(facts: Facts, wish: ConceptParams, vocabulary: Vocabulary, asked: _Params) -> Remark:
    share, what = facts.share_named(vocabulary), f"concepts of {wish.section}"
    least = f", of chunks in {facts.chunks.least(wish.min_count)} captions or more" if wish.language == "en" else ""
    result = (
        f"{len(vocabulary.things)} things, {len(vocabulary.stuff)} stuff{least}; {1 - share:.0%} of images name none"
    )
    mend = f"{wish.section}.min_concept_count, {wish.file_key}"
    by_caption = asked.annotate.roles.region_tagger == ["clip_teacher"] and not facts.with_grain["regions"]
    needed = asked.validate.labelled_image_share_min * len(facts.captioned) / facts.images
    if wish.section == "annotate" and by_caption and share < needed:
        mend = f"only images that name a concept get labelled regions: {mend}, validate.labelled_image_share_min"
        return Remark(what, result, "stop", mend)
    if not share:
        return Remark(what, result, "stop", mend)
    return Remark(what, result, "look", mend) if share < _FEW_NAMED else Remark(what, result)


def _benchmark(facts: Facts, asked: _Params) -> Iterator[Remark]:
    grains = {grain: facts.with_grain[grain] for grain in _GRAINS if facts.with_grain[grain]}
    if not grains:
        result = f"{facts.images} images without captions, classes, tags or regions"
        yield Remark("benchmark", result, "stop", _NO_TRUTH)
        return
    result = "; ".join(f"{_GRAINS[grain]} on {count} images with {grain}" for grain, count in grains.items())
    few = [grain for grain, count in grains.items() if count < _FEW_TRUE]
    weight: Weight = "look" if few else "ok"
    yield Remark(
        "benchmark", result, weight, f"few images ({', '.join(few)}): wide confidence intervals" if few else ""
    )
    measured = {name for grain in grains for name in _GRAINS[grain].split(", ")}
    gates = asked.register.gates
    named = dict.fromkeys([*gates.floors, *gates.max_regression, *gates.metrics, *gates.min_gain_over_base])
    asked_for = [metric for metric in named if metric.partition(".")[0] in measured]
    if asked_for:
        yield Remark("gates", f"measured: {', '.join(asked_for)}; of {len(named)} in register.gates")
    else:
        mend = f"name metrics of {', '.join(sorted(measured))} in register.gates"
        yield Remark("gates", "none of their metrics can be measured", "look", mend)


def _overlap(train: Facts, benchmark: Facts) -> Iterator[Remark]:
    both = len(train.hashes & benchmark.hashes)
    if both:
        result = f"{both} images of the benchmark are training images too"
        yield Remark("training and benchmark", result, "stop", "validate refuses this; remove them from one of the two")
    names = {name.lower() for name in benchmark.names}
    shared = names & ({*train.chunks.seen} | {name.lower() for name in train.names})
    if names and len(shared) < len(names):
        result = f"{len(shared)} of the benchmark's {len(names)} names occur in training captions, tags or regions"
        yield Remark("names", result, "look" if len(shared) < len(names) / 2 else "ok")


def _cost(facts: Facts, asked: _Params) -> Iterator[Remark]:
    """Estimate the cost from the multiplications of the towers' blocks, within a factor of three."""
    flops = _forward_flops(asked.base)
    if flops is None:  # no base, which `_base` reports, or a folder in Hugging Face's format
        return
    label = asked.annotate.label
    looks = label.looks_at_least + label.looks_per_noun + 1
    annotate = facts.images * looks * flops
    train = 3.0 * asked.train.images_shown * flops
    for device, rate in _FLOPS.items():
        spent = (f"annotate {_time(annotate / rate)}", f"train {_time(train / rate)}")
        yield Remark(f"rough cost on one {device}", ", ".join(spent))


def _forward_flops(base: BaseParams) -> float | None:
    """Estimate the operations for one image: twice the weights of all blocks for each token."""
    if base.pretrained == SCRATCH:
        tower = base.tower
        width, layers, side, patch = tower.width, tower.layers, tower.image_px, tower.patch_px
    else:
        from umgclip.model.clip.pretrained.load import named_config, read_open_clip_config

        try:
            config = named_config(base.model, base.pretrained)
            if config is None:
                config = (read_open_clip_config(Path(base.pretrained)) or {}).get("model_cfg")
        except InputError:
            return None
        vision = (config or {}).get("vision_cfg", {})
        width, layers = vision.get("width", 768), vision.get("layers", 12)
        side, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
        if config is None or not isinstance(layers, int):
            return None if config is None else 2 * 9e7 * 50
    return float(2 * 12 * width**2 * layers * (side // patch) ** 2)


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"
