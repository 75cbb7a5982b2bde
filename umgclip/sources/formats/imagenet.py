"""ImageNet and its relatives: one folder per class, by synset, or by number as in ImageNetV2; or Kaggle's table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from umgclip.io.atomic import sha256_file
from umgclip.io.delimited import read_table
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, restored
from umgclip.sources.formats.shared.origins import IMAGENET
from umgclip.sources.formats.shared.paired_folders import read_noted
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import HUMAN, Request


def plan_imagenet(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the images; the classes are those that occur, in the order of ImageNet's synsets."""
    plan.add_files(source.entries())
    plan.plan_files(FORMAT_OF)
    used = _solution(request, plan, working) if request.annotations else {shown(folder) for folder in plan.folders()}
    labels, templates = imagenet_classes()
    chosen = {key: label for key, label in labels.items() if key in used}
    if not chosen:
        expected = "folders named by synset, such as n01440764, or by number from 0 to 999"
        raise IMAGENET.missing(source, f"{expected}, or --annotations LOC_val_solution.csv for images without folders")
    plan.state("labels", chosen)
    plan.state("classes", class_list(chosen, templates))
    plan.state("other_files", plan.other_files(FORMAT_OF))


def _solution(request: Request, plan: ImportPlan, working: Path) -> set[str]:
    """Assign the synsets of Kaggle's table to the images; return the synsets that occur."""
    plan.add_ids((_stem(item.name), item.position) for item in plan.items(0, plan.size()))
    used: set[str] = set()
    for where in request.annotations:
        path = fetch(where, working)
        plan.seen("annotations", sha256_file(path))
        plan.add_rows(_rows(path, used, plan))
    plan.match_ids("synset", each=False)
    return used


def _rows(path: Path, used: set[str], plan: ImportPlan) -> Iterator[tuple[str, str]]:
    """Yield image and synset of each row; the boxes after the synset are not read."""
    for image, boxes in read_table(path, ("ImageId", "PredictionString"), plan.refuse_row):
        synset = boxes.strip().partition(" ")[0]
        used.add(synset)
        yield image, synset


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def imagenet_classes() -> tuple[Labels, list[str]]:
    """Return the 1000 classes by synset and by number, with open_clip's names, and OpenAI's 80 templates."""
    # both import torch, which no other format needs
    from timm.data import ImageNetInfo

    from umgclip.model.clip.light_open_clip import open_clip

    synsets = ImageNetInfo("imagenet-1k").label_names()
    by_synset = distinct(
        (synset, [name], True) for synset, name in zip(synsets, open_clip.IMAGENET_CLASSNAMES, strict=True)
    )
    by_number = {str(number): label for number, label in enumerate(by_synset.values())}
    return by_synset | by_number, [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]


def read_imagenet(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; an image without a class is refused."""
    labels = restored(plan.fact("labels"))
    for image in read_noted(((item, _note(item, plan, labels)) for item in plan.items(*span)), source, limit):
        if image.note.single is None:
            image.data = Problem("no_class", "expected one of ImageNet's 1000 classes as its folder or in the table")
        yield image


def _note(item: PlannedImage, plan: ImportPlan, labels: Labels) -> Note:
    told = [synset for kind, synset in plan.extras(item.position) if kind == "synset"]
    note, label = Note(), labels.get(told[0] if told else shown(item.name).partition("/")[0])
    if label is not None:
        note.single = label.label
        note.tag(label.label, HUMAN)
    return note
