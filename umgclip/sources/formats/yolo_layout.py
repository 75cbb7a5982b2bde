"""Files around YOLO's images and labels: the names of the classes, and the images of each subset.

Supported are Ultralytics' `data.yaml`, Darknet's `obj.data` and `obj.names` (CVAT writes them too), `classes.txt` of
LabelImg and Label Studio, `_darknet.labels` of Roboflow; lists such as `train.txt`, or folders called train, val, test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import InputError
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.sources.formats.shared.annotation_files import in_folder
from umgclip.sources.note import Problem, shown
from umgclip.sources.plan import ImportPlan

SUBSETS = ("train", "val", "valid", "test")
NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "predefined_classes.txt")
_FILE_BYTES = 256 << 20
Names = dict[int, str]


class Described(NamedTuple):
    """Class names and subsets as one file describes them.

    Attributes:
        where: the file.
        names: class names by number; empty if the file has none.
        subsets: paths of each subset: a folder, a list of images, or several of them.
        root: folder that these paths start from.
    """

    where: str
    names: Names
    subsets: dict[str, list[str]]
    root: str = ""


class Layout(NamedTuple):
    """Class names by number, and a membership test for each subset."""

    names: Names
    divisions: dict[str, Callable[[str], bool]]


def read_layout(plan: ImportPlan, source: Place, encoding: str | None) -> Layout:
    """Find and read the files that describe a source.

    Raises:
        InputError: one of them cannot be read, describes key points or turned boxes, or two of them differ.
    """
    described = [*_yamls(plan, source), *_datas(plan, source, encoding), *_lists(plan, source, encoding)]
    named = [one for one in described if one.names]
    for one in named[1:]:
        if one.names != named[0].names:
            raise InputError(
                f"{one.where}: names: expected those of {named[0].where}, got others ({_short(one.names)}; "
                f"{_short(named[0].names)}); keep one of them, or give --class-names"
            )
    divisions: dict[str, Callable[[str], bool]] = {}
    for one in described:
        for name, places in one.subsets.items():
            divisions.setdefault(name, _Division(plan, source, one, places))
    return Layout(named[0].names if named else {}, divisions or _folders(plan))


def _short(names: Names) -> str:
    return ", ".join(f"{number} {name}" for number, name in list(names.items())[:3])


def _yamls(plan: ImportPlan, source: Place) -> Iterator[Described]:
    """Yield the content of `data.yaml` and of other YAML files with `names`."""
    for name in plan.file_names(["yaml", "yml"]):
        try:
            content = YAML(typ="safe", pure=True).load(decode(source.read(name, _FILE_BYTES)))
        except (YAMLError, ValueError, RecursionError) as error:
            if name.rpartition("/")[2].startswith("data."):
                what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise InputError(f"{shown(name)}: expected YAML in UTF-8, got {what}") from error
            continue
        about_data = name.rpartition("/")[2].startswith("data.")
        if isinstance(content, dict) and ("names" in content or (about_data and set(SUBSETS) & set(content))):
            yield _yaml(name, content)


def _yaml(name: str, content: dict[str, Any]) -> Described:
    listed, where = content.get("names", []), shown(name)
    pairs = enumerate(listed) if isinstance(listed, list) else listed.items() if isinstance(listed, dict) else ()
    try:
        names = {int(number): str(label).strip() for number, label in pairs}
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: names: expected a name for each number, got {str(listed)[:80]}") from error
    if "names" in content and (not names or not all(names.values())):
        raise InputError(f"{where}: names: expected a list of names, or a name for each number, got {str(listed)[:80]}")
    if names and isinstance(content.get("nc"), int) and content["nc"] != len(names):
        raise InputError(f"{where}: nc: expected {len(names)}, the number of names, got {content['nc']}")
    for key, what in (("kpt_shape", "key points (pose)"), ("task", f"the task {content.get('task')}")):
        if content.get(key) not in (None, "detect", "segment"):
            raise InputError(
                f"{where}: {key}: expected boxes or polygons (detect, segment), got {what}, which is not read"
            )
    folder = name.rpartition("/")[0]
    subsets = {key: _places(content[key]) for key in SUBSETS if content.get(key)}
    return Described(where, names, subsets, _joined(folder, str(content.get("path") or "")))


def _places(value: Any) -> list[str]:  # noqa: ANN401 - what YAML held
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _datas(plan: ImportPlan, source: Place, encoding: str | None) -> Iterator[Described]:
    """Yield the content of Darknet's `obj.data`, lines of `key = value`; its names are in another file."""
    for name in plan.file_names(["data"]):
        lines = (line.partition("=") for line in _read(source, name, encoding))
        values = {key.strip(): value.strip() for key, _, value in lines if value.strip()}
        subsets = {key: [values[key]] for key in SUBSETS if key in values}
        if subsets:
            yield Described(shown(name), {}, subsets, name.rpartition("/")[0])


def _lists(plan: ImportPlan, source: Place, encoding: str | None) -> Iterator[Described]:
    """Yield the content of files with one class name per line, and of lists of images in the top folder."""
    for name in plan.file_names(["txt", "names", "labels"]):
        folder, _, base = name.rpartition("/")
        if base.lower() in NAME_FILES or base.endswith(".names"):
            lines = [line for line in _read(source, name, encoding) if line]
            yield Described(shown(name), dict(enumerate(lines)), {})
        elif not folder and base.removesuffix(".txt") in SUBSETS:
            yield Described(shown(name), {}, {base.removesuffix(".txt"): [base]})


def _read(source: Place, name: str, encoding: str | None) -> list[str]:
    try:
        return [line.strip() for line in decode(source.read(name, _FILE_BYTES), encoding).splitlines()]
    except UnicodeError as error:
        raise InputError(f"{shown(name)}: expected lines in UTF-8 or as --encoding says, got other bytes") from error


def _folders(plan: ImportPlan) -> dict[str, Callable[[str], bool]]:
    """Return subsets by folders with their names: `images/train/1.jpg`, `train/images/1.jpg`."""
    subsets: dict[str, Callable[[str], bool]] = {}
    for subset in SUBSETS:
        for folder in (subset, f"images/{subset}"):
            if plan.has_folder(folder):
                subsets.setdefault(subset, in_folder(folder))
    return subsets


class _Division:
    """Membership test of a subset; its folder or list is looked for at the first call."""

    def __init__(self, plan: ImportPlan, source: Place, described: Described, places: list[str]) -> None:
        self._plan, self._source, self._described, self._places = plan, source, described, places
        self._tests: list[Callable[[str], bool]] | None = None

    def __call__(self, name: str) -> bool:
        if self._tests is None:
            self._tests = [self._test(where) for where in self._places]
        return any(test(name) for test in self._tests)

    def _test(self, where: str) -> Callable[[str], bool]:
        """Return the test for a folder or a list; a path from another machine is searched here by its end."""
        for path in self._candidates(where):
            if path.endswith(".txt") and self._plan.has_file(path):
                return self._listed(path)
            if not path or self._plan.has_folder(path):
                return in_folder(path)
        raise InputError(
            f"{self._described.where}: expected a folder or a list of images in {self._source}, got {where!r}"
        )

    def _candidates(self, where: str) -> Iterator[str]:
        given = where.replace("\\", "/").rstrip("/")
        yield _joined(self._described.root, given)
        parts = [part for part in given.split("/") if part not in ("", ".", "..")]
        folder = self._described.where.rpartition("/")[0]
        for first in range(len(parts)):
            yield _joined(folder, "/".join(parts[first:]))
            yield "/".join(parts[first:])
        if not parts:
            yield folder

    def _listed(self, path: str) -> Callable[[str], bool]:
        names: set[str] = set()
        for line in filter(None, _read(self._source, path, None)):
            beside = _joined(path.rpartition("/")[0], line)
            if self._plan.has_file(beside):
                names.add(beside)
                continue
            matches = self._plan.find(line).names
            if len(matches) == 1:
                names.add(matches[0].decode("utf-8", "surrogateescape"))
            else:
                reason, what = ("ambiguous_name", "several images fit") if matches else ("no_image", "no such image")
                self._plan.add_problem(line, Problem(reason, f"a line of {shown(path)}: {what}"))
        return names.__contains__


def _joined(folder: str, path: str) -> str:
    """Join a path to a folder and resolve `.` and `..`; a path that leads out of the source starts at its root."""
    parts: list[str] = []
    for part in ("" if path.startswith("/") else folder).split("/") + path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
