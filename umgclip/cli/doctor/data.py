"""`umgclip doctor --data`: what will stop a stage, or make it learn little, before hours are spent.

Each finding names the key of `params.yaml` to change. Only what surely stops a stage makes the exit code 1.
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
_GRAINS = {  # what a benchmark measures of what its images have
    "singles": "classification",
    "captions": "retrieval",
    "tags": "tagging",
    "regions": "region",
    "masks": "semantic, panoptic",
}
_NO_TRUTH = (
    "nothing can be measured; `umgclip data import ... --split benchmark --replace` again with `--labels folders` "
    "(each folder is a class) or `--captions TABLE`; docs/benchmarks.md has all that an import takes"
)
_FLOPS = {"cpu core": 3.0e10, "data-centre GPU": 1.0e14}  # a second, of which a training or annotation run gets


@dataclass(frozen=True)
class Remark:
    """What was looked at, what was found, and which key changes it.

    Attributes:
        weight: `stop`: a stage will surely end there; `look`: it may go badly.
        mend: what to do, with its key.
    """

    what: str
    found: str
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
    """Look at `data/train` and `data/benchmark` with the eyes of every stage.

    Raises:
        ParamsError: the parameter file is not in order.
    """
    sections: dict[str, Section] = parse_sections(read_params(params), params)
    asked = _Params(**{name: sections[name] for name in _Params.__annotations__})  # type: ignore[arg-type]
    remarks, found = list(_base(asked.base)), {}
    for split, why in (("train", "every stage reads it"), ("benchmark", "annotate, validate and evaluate read it")):
        try:
            found[split] = read_facts(data / split)
        except DataError as error:
            mend = f"{why}: `umgclip data import ... --split {split}`"
            remarks.append(Remark(f"data/{split}", str(error), "stop", mend))
    if "train" in found:
        remarks += [*_train(found["train"], asked), *_concepts(found["train"], asked)]
    if "benchmark" in found:
        remarks += _benchmark(found["benchmark"], asked)
    if len(found) == 2:
        remarks += _overlap(found["train"], found["benchmark"])
    if "train" in found:
        remarks += _cost(found["train"], asked)
    return remarks


def show(remarks: list[Remark]) -> None:
    """Print the remarks as a table."""
    sheet = Sheet("", "looked at", "found")
    for remark in remarks:
        said = remark.found + (f"\n-> {remark.mend}" if remark.mend else "")
        sheet.add_row(plain(*_MARKS[remark.weight]), remark.what, said)
    terminal.show(sheet)


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
    seen, count = asked.train.steps * asked.train.batch, facts.images
    epochs = seen / count
    found = f"{count} images in {facts.shards} shards; train.steps x train.batch look at each {epochs:.1f} times"
    if count < _FEW_IMAGES:
        yield Remark("training images", found, "look", "few: it may learn them by heart; lower train.steps")
    elif epochs > _MANY_EPOCHS or epochs < 1:
        yield Remark("training images", found, "look", "train.steps decides how often images are seen")
    else:
        yield Remark("training images", found)
    if facts.shards < min(threads(), count):
        mend = "data.imports.shard_samples: a worker of annotate reads one shard; import again with --replace"
        yield Remark("shards", f"{facts.shards} for {threads()} workers", "look", mend)
    yield from _sides(facts, asked)
    yield from _captions(facts, asked)


def _sides(facts: Facts, asked: _Params) -> Iterator[Remark]:
    low, high = asked.validate.side_min_px, asked.validate.side_max_px
    wrong = sum(not (low <= short and long <= high) for short, long in facts.sides)
    found = f"{min(s for s, _ in facts.sides)} to {max(s for _, s in facts.sides)} px"
    if wrong > asked.validate.tolerance * facts.images:
        found += f"; {wrong} of {facts.images} images are outside {low} to {high}"
        yield Remark("sides", found, "stop", "validate.side_min_px, validate.side_max_px, validate.tolerance")
    else:
        yield Remark("sides", found)
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
        mend = "import with --captions, or name a checkpoint or a tag"
        if asked.base.pretrained == SCRATCH:
            yield Remark("captions", "none", "stop", f"base.pretrained: scratch learns from captions; {mend}")
            return
        try:
            require_words(asked.annotate, Vocabulary((), ()), Names(facts.chunks, facts.given))
        except DataError as error:
            yield Remark("captions", "none", "stop", str(error))
        else:
            yield Remark("captions", "none", "look", "regions alone are learnt, by the labels that came with them")
        return
    found = f"on {have} of {count} images, {len(set(facts.captioned))} different ones, of {facts.words:g} words"
    least = asked.validate.captioned_image_share_min
    bounds = asked.validate.image_caption_words_min, asked.validate.image_caption_words_max
    long = 1 - facts.share_with_words(*bounds)
    if have < least * count:
        yield Remark("captions", found, "stop", f"validate.captioned_image_share_min ({least:g})")
    elif long > asked.validate.tolerances.get("image_caption_length", asked.validate.tolerance):
        mend = "validate.image_caption_words_min, validate.image_caption_words_max"
        yield Remark("captions", f"{found}; {long:.0%} not of {bounds[0]} to {bounds[1]} words", "stop", mend)
    elif len(set(facts.captioned)) < max(2, have // 20):
        mend = "alike captions say little of an image: train.weights.image_text and retrieval gain little from them"
        yield Remark("captions", found, "look", mend)
    else:
        yield Remark("captions", found)
    if asked.annotate.language == "en" and facts.words >= 3 and facts.english_share < _LITTLE_ENGLISH:
        found = f"{facts.english_share:.0%} of the captions have an English function word (a, of, on, ...)"
        mend = "list the concepts in annotate.rules.vocabulary (base.vocabulary) and set annotate.language "
        yield Remark("language", found, "look", f"{mend}(base.language) to none")


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
        found = f"{len(unknown)} of {len(a.held_out)} names stand in no caption: {', '.join(unknown[:5])}"
        yield Remark("annotate.held_out", found, "look", "the demo's names? annotate.held_out: []")


def _named(facts: Facts, wish: ConceptParams, vocabulary: Vocabulary, asked: _Params) -> Remark:
    share, what = facts.share_named(vocabulary), f"concepts of {wish.section}"
    least = f", of chunks in {facts.chunks.least(wish.min_count)} captions or more" if wish.language == "en" else ""
    found = (
        f"{len(vocabulary.things)} things, {len(vocabulary.stuff)} stuff{least}; {1 - share:.0%} of images name none"
    )
    mend = f"{wish.section}.min_concept_count, {wish.file_key}"
    by_caption = asked.annotate.roles.region_tagger == ["clip_teacher"] and not facts.with_grain["regions"]
    needed = asked.validate.labelled_image_share_min * len(facts.captioned) / facts.images
    if wish.section == "annotate" and by_caption and share < needed:
        mend = f"only images that name a concept get labelled regions: {mend}, validate.labelled_image_share_min"
        return Remark(what, found, "stop", mend)
    if not share:
        return Remark(what, found, "stop", mend)
    return Remark(what, found, "look", mend) if share < _FEW_NAMED else Remark(what, found)


def _benchmark(facts: Facts, asked: _Params) -> Iterator[Remark]:
    grains = {grain: facts.with_grain[grain] for grain in _GRAINS if facts.with_grain[grain]}
    if not grains:
        found = f"{facts.images} images without captions, classes, tags or regions"
        yield Remark("benchmark", found, "stop", _NO_TRUTH)
        return
    found = "; ".join(f"{_GRAINS[grain]} on {count} images with {grain}" for grain, count in grains.items())
    few = [grain for grain, count in grains.items() if count < _FEW_TRUE]
    weight: Weight = "look" if few else "ok"
    yield Remark("benchmark", found, weight, f"few images ({', '.join(few)}): wide intervals" if few else "")
    measured = {name for grain in grains for name in _GRAINS[grain].split(", ")}
    gates = asked.register.gates
    named = dict.fromkeys([*gates.floors, *gates.max_regression, *gates.metrics, *gates.min_gain_over_base])
    asked_for = [metric for metric in named if metric.partition(".")[0] in measured]
    if asked_for:
        yield Remark("gates", f"asked: {', '.join(asked_for)}; of {len(named)} in register.gates")
    else:
        mend = f"name metrics of {', '.join(sorted(measured))} in register.gates"
        yield Remark("gates", "none of their metrics can be measured", "look", mend)


def _overlap(train: Facts, benchmark: Facts) -> Iterator[Remark]:
    both = len(train.hashes & benchmark.hashes)
    if both:
        found = f"{both} images of the benchmark are training images too"
        yield Remark("training and benchmark", found, "stop", "validate refuses it; leave them out of one of the two")
    names = {name.lower() for name in benchmark.names}
    said = names & ({*train.chunks.seen} | {name.lower() for name in train.names})
    if names and len(said) < len(names):
        found = f"{len(said)} of the benchmark's {len(names)} names stand in training captions, tags or regions"
        yield Remark("names", found, "look" if len(said) < len(names) / 2 else "ok")


def _cost(facts: Facts, asked: _Params) -> Iterator[Remark]:
    """Multiplications of the towers' blocks, which most of the time goes into; within a factor of three."""
    flops = _forward_flops(asked.base)
    if flops is None:  # no base, of which `_base` speaks, or a folder in Hugging Face's form
        return
    label = asked.annotate.label
    looks = label.looks_at_least + label.looks_per_noun + 1
    annotate = facts.images * looks * flops
    train = 3.0 * asked.train.steps * asked.train.batch * flops
    for device, rate in _FLOPS.items():
        spent = (f"annotate {_time(annotate / rate)}", f"train {_time(train / rate)}")
        yield Remark(f"rough cost on one {device}", ", ".join(spent))


def _forward_flops(base: BaseParams) -> float | None:
    """Of one image: twice the weights of all blocks for each token."""
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
