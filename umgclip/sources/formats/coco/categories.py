"""Categories of COCO files as labels: every file has its own ids, and equal names join categories of several files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from umgclip.data.wording import first_spellings, name_key, tidy
from umgclip.errors import InputError
from umgclip.sources.formats.coco.umgclip_fields import is_unlabelled, label_of
from umgclip.sources.formats.shared.labels import Label, Labels, synonyms
from umgclip.sources.values import flag

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}  # frequency of LVIS's classes in its training images
NO_LABEL = Label("", [])  # label of a region without one
_NO_SUPER = "none"  # what Roboflow writes as the supercategory of its root


@dataclass(frozen=True)
class Category:
    """One category as a COCO file lists it.

    Attributes:
        label: the category's label.
        names: names in prompts, best first; empty if it has no name.
        above: its supercategory.
        frequency: frequency group in LVIS.
        ours: whether the label comes from a dataset of this package.
        is_none: whether it stands for regions without label.
    """

    label: str
    names: tuple[str, ...]
    is_thing: bool
    above: str
    frequency: str | None = None
    ours: bool = False
    is_none: bool = False

    @property
    def key(self) -> tuple[str, bool]:
        """Name and kind (thing or stuff); two categories with the same key are one."""
        return name_key(self.label), self.is_thing


@dataclass
class Categories:
    """Categories of one file by their ids, and the number of uses of each."""

    where: str
    by_id: dict[str, Category] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)

    def add(self, number: str, value: dict[str, Any]) -> None:
        """Read a category and store it by its id.

        Raises:
            InputError: another category has the same id.
        """
        category = _category(value)
        known = self.by_id.setdefault(number, category)
        if known.key != category.key:
            raise InputError(
                f"{self.where}: categories: expected an id for each, got {number} for both {known.label!r} and "
                f"{category.label!r}"
            )

    def roots(self) -> set[str]:
        """Return ids of unused categories above all others, as Roboflow writes one."""
        above = {name_key(category.above) for number, category in self.by_id.items()}
        return {
            number
            for number, category in self.by_id.items()
            if name_key(category.above) == _NO_SUPER and not self.used[number] and category.key[0] in above
        }

    def labels(self) -> Labels:
        """Return labels by id, without roots; where two categories share a name, the label ends with the id."""
        usable = self._kept()
        uses = _uses(usable)
        return {number: _label(number, category, uses) for number, category in usable.items()}

    def shared(self) -> int:
        """Count the categories whose name another category of the file has, too."""
        return sum(times for times in _uses(self._kept()).values() if times > 1)

    def _kept(self) -> dict[str, Category]:
        roots = self.roots()
        return {number: c for number, c in self.by_id.items() if number not in roots and (c.names or c.is_none)}


def _uses(usable: dict[str, Category]) -> Counter[str]:
    return Counter(category.key[0] for category in usable.values() if not category.ours and not category.is_none)


def _label(number: str, category: Category, uses: Counter[str]) -> Label:
    if category.is_none:
        return NO_LABEL
    shared = uses[category.key[0]] > 1 and not category.ours
    label = f"{category.label} ({number})" if shared else category.label
    return Label(label, list(category.names), category.is_thing)


def _category(value: dict[str, Any]) -> Category:
    raw, above = value.get("name"), value.get("supercategory")
    above = tidy(above) if isinstance(above, str) else ""
    is_thing = flag(value.get("isthing")) is not False and above != "stuff"
    frequency = value.get("frequency") if isinstance(value.get("frequency"), str) else None
    if is_unlabelled(value):
        return Category("", (), is_thing, above, is_none=True)
    ours = label_of(value)
    if ours is not None:
        return Category(ours, (ours,), is_thing, above, frequency, ours=True)
    name = _plain(raw if isinstance(raw, str) else str(raw) if isinstance(raw, int | float) else "", is_thing=is_thing)
    # ADE20K's JSON has synonyms in the name, LVIS in a field of its own
    others = value.get("synonyms")
    more = [_plain(other, is_thing=is_thing) for other in others or [] if isinstance(other, str)]
    names = first_spellings([*synonyms(name), *(more if isinstance(others, list) else [])])
    return Category(name, tuple(names.values()), is_thing, above, frequency)


def _plain(name: str, *, is_thing: bool) -> str:
    """Return a category's name as people say it: `cell_phone` is a cell phone, the stuff `wall-other-merged` a wall."""
    name = tidy(name)
    if not is_thing:
        for suffix in ("-merged", "-other", "-stuff"):
            name = name.removesuffix(suffix)
        name = name.replace("-", " ")
    return tidy(name.replace("_", " "))


@dataclass(frozen=True)
class JoinedCategories:
    """Labels of all files by `FILE:ID`, spelled as in the first file that has them, and LVIS's frequency groups."""

    labels: Labels
    groups: dict[str, list[str]]

    def classes(self) -> Labels:
        """Return every label of all files once."""
        return {label.label: label for label in self.labels.values() if label.label}


def join(files: Iterable[tuple[int, Categories]]) -> JoinedCategories:
    """Join the categories of all files: categories with the same name get the same label.

    Raises:
        InputError: a name means two things; names both files.
    """
    labels: dict[str, tuple[str, bool]] = {}
    known: dict[tuple[str, bool], Label] = {}
    groups: dict[str, list[str]] = {}
    names = _Names()
    for number, categories in files:
        file_labels = categories.labels()
        names.check(categories, file_labels)
        for key, label in file_labels.items():
            named = name_key(label.label), label.is_thing
            before = known.get(named, label)
            known[named] = Label(before.label, _all_names(before, label), label.is_thing)
            labels[f"{number}:{key}"] = named
            frequency = FREQUENCIES.get(categories.by_id[key].frequency or "")
            if frequency and before.label not in groups.get(frequency, []):
                groups.setdefault(frequency, []).append(before.label)
    return JoinedCategories({key: known[named] for key, named in labels.items()}, groups)


class _Names:
    """Meanings of names in the files so far: a thing or stuff, one category or several."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[bool, str]] = {}
        self._several: dict[str, tuple[bool, str]] = {}

    def check(self, categories: Categories, labels: Labels) -> None:
        """Refuse a file in which a name has another meaning than in an earlier file."""
        uses = Counter(categories.by_id[number].key[0] for number in labels)
        for number, label in labels.items():
            category = categories.by_id[number]
            for meaning, kind, words in (
                (self._kinds, label.is_thing, ("stuff", "a thing")),
                (self._several, uses[category.key[0]] > 1, ("one category", "several")),
            ):
                before, where = meaning.setdefault(category.key[0], (kind, categories.where))
                if label.label and before != kind and where != categories.where:
                    raise InputError(
                        f"categories: expected a name to mean one thing in all files, got {category.label!r} as "
                        f"{words[before]} in {where} and as {words[kind]} in {categories.where}; rename one of them"
                    )


def _all_names(one: Label, other: Label) -> list[str]:
    return list(first_spellings([*one.names, *other.names]).values())
