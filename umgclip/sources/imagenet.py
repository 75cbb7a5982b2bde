"""ImageNet and its relatives: a folder a class, named by synset, or by number as in ImageNetV2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place
from umgclip.sources.found import Found, Note, Problem, shown
from umgclip.sources.homes import IMAGENET
from umgclip.sources.labels import Labels, class_list, distinct, restored
from umgclip.sources.pairs import read_noted
from umgclip.sources.plan import Item, Plan
from umgclip.sources.request import HUMAN, Request


def plan_imagenet(_request: Request, plan: Plan, place: Place, _working: Path) -> None:
    """List the images; the classes are those that have a folder, in the order of ImageNet's synsets."""
    plan.add_files(place.entries())
    plan.plan_files(FORMAT_OF)
    folders = {shown(folder) for folder in plan.folders()}
    labels, templates = imagenet_classes()
    chosen = {key: label for key, label in labels.items() if key in folders}
    if not chosen:
        raise IMAGENET.missing(place, "folders named by synset, such as n01440764, or by number from 0 to 999")
    plan.state("labels", chosen)
    plan.state("classes", class_list(chosen, templates))
    plan.state("other_files", plan.other_files(FORMAT_OF))


def imagenet_classes() -> tuple[Labels, list[str]]:
    """The 1000 classes by synset and by number, with open_clip's names, and OpenAI's 80 templates."""
    # both load torch, which an import of anything else can do without
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
    from timm.data import ImageNetInfo

    synsets = ImageNetInfo("imagenet-1k").label_names()
    by_synset = distinct((synset, [name], True) for synset, name in zip(synsets, IMAGENET_CLASSNAMES, strict=True))
    by_number = {str(number): label for number, label in enumerate(by_synset.values())}
    return by_synset | by_number, [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]


def read_imagenet(_request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions."""
    labels = restored(plan.fact("labels"))
    for found in read_noted(((item, _note(item, labels)) for item in plan.items(*span)), place, limit):
        if found.note.single is None:
            found.data = Problem("no_class", "expected an image in the folder of one of ImageNet's 1000 classes")
        yield found


def _note(item: Item, labels: Labels) -> Note:
    note, label = Note(), labels.get(shown(item.name).partition("/")[0])
    if label is not None:
        note.single = label.label
        note.tag(label.label, HUMAN)
    return note
